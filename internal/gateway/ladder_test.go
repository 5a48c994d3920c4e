package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestMain runs the tests, or the load generator that a benchmark started as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv(asGenerator) != "" {
		os.Exit(generate())
	}
	goleak.VerifyTestMain(m)
}

// where is an address of a test: a name.
type where string

func (where) Network() string  { return "test" }
func (w where) String() string { return string(w) }

// owned is one whose owner was authenticated.
type owned struct{ where }

func (o owned) String() string { return string(o.where) + "@" }

func (o owned) Identity() string { return string(o.where) }

// air is a link without loss inside the process.
type air struct {
	in     chan frame
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	out  map[net.Addr]chan []byte
	lose func(to net.Addr, m mqttsn.Message) bool // of what the gateway sends
}

type frame struct {
	from net.Addr
	b    []byte
}

func newAir() *air {
	return &air{in: make(chan frame, 4096), closed: make(chan struct{}), out: map[net.Addr]chan []byte{}}
}

func (a *air) at(to net.Addr) chan []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out[to] == nil {
		a.out[to] = make(chan []byte, 1024)
	}
	return a.out[to]
}

func (a *air) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case f := <-a.in:
		return copy(b, f.b), f.from, nil
	case <-a.closed:
		return 0, nil, net.ErrClosed
	}
}

func (a *air) WriteTo(b []byte, to net.Addr) (int, error) {
	a.mu.Lock()
	lose := a.lose
	a.mu.Unlock()
	if lose != nil {
		if m, err := mqttsn.Decode(b); err == nil && lose(to, m) {
			return len(b), nil
		}
	}
	a.at(to) <- append([]byte(nil), b...)
	return len(b), nil
}

// Find gives back the addresses that nobody has to prove.
func (a *air) Find(text string) (net.Addr, bool) {
	return where(text), !strings.Contains(text, "@")
}

func (a *air) LocalAddr() net.Addr { return where("gateway") }
func (a *air) Close() error        { a.once.Do(func() { close(a.closed) }); return nil }

type table struct{}

func (table) Name(id string, code uint16) (string, bool) { return topic.Predefined(id, code) }
func (table) ID(id, name string) (uint16, bool)          { return topic.PredefinedID(id, name) }

// bench is a gateway in front of a broker, and what was published there.
type bench struct {
	t      *testing.T
	g      *Gateway
	broker *broker.Broker
	air    *air
	cancel context.CancelFunc
	done   chan error

	mu  sync.Mutex
	got []string
}

// ladder runs a test in a bubble of its own time.
func ladder(t *testing.T, o Options, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		br, err := broker.New(broker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{t: t, broker: br}
		br.Handle("#", func(m *broker.Inbound) {
			b.mu.Lock()
			defer b.mu.Unlock()
			s := fmt.Sprintf("%s=%s q%d", m.Topic, m.Payload, m.QoS)
			if m.Retain {
				s += " retain"
			}
			if m.Will {
				s += " will"
			}
			b.got = append(b.got, s)
		})
		b.start(o)
		defer b.stop()
		test(b)
	})
}

func (b *bench) start(o Options) {
	b.t.Helper()
	a := newAir()
	if o.Links == nil {
		o.Links = []Link{{}}
	}
	o.Links = append([]Link(nil), o.Links...)
	o.Links[0].Conn = a
	b.startOn(a, o)
}

func (b *bench) startOn(a *air, o Options) {
	b.t.Helper()
	b.air = a
	if o.Server == nil {
		o.Server = InProcess{Broker: b.broker}
	}
	if o.Predefined == nil {
		o.Predefined = table{}
	}
	g, err := New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.g = g
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.done = cancel, make(chan error, 1)
	go func() { b.done <- g.Run(ctx) }()
	synctest.Wait()
}

func (b *bench) stop() {
	b.t.Helper()
	b.cancel()
	if err := <-b.done; err != nil {
		b.t.Error(err)
	}
	if b.t.Failed() {
		return
	}
	b.air.mu.Lock()
	defer b.air.mu.Unlock()
	for at, c := range b.air.out {
		if len(c) > 0 {
			b.t.Errorf("%s was not asked for %s", at, say(b.t, <-c))
		}
	}
}

// published gives what came to the broker since the last call.
func (b *bench) published() string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.Join(b.got, ", ")
	b.got = nil
	return s
}

func (b *bench) wantPublished(want string) {
	b.t.Helper()
	if s := b.published(); s != want {
		b.t.Fatalf("at the broker: %q, want %q", s, want)
	}
}

func (b *bench) wantDropped(reason dropReason, want uint64) {
	b.t.Helper()
	synctest.Wait()
	if n := b.g.Stats().Dropped[reason.String()]; n != want {
		b.t.Fatalf("%d dropped as %s, want %d: %v", n, reason, want, b.g.Stats().Dropped)
	}
}

func (b *bench) wantState(id string, want state) {
	b.t.Helper()
	synctest.Wait()
	b.g.mu.Lock()
	defer b.g.mu.Unlock()
	if c := b.g.clients[id]; c == nil || c.state != want {
		b.t.Fatalf("%s: %+v, want %s", id, c, want)
	}
}

// publish is somebody else's message at the broker.
func (b *bench) publish(topic, payload string, qos byte) {
	b.t.Helper()
	if _, err := b.broker.Publish(topic, []byte(payload), qos, false); err != nil {
		b.t.Fatal(err)
	}
	b.published()
}

// device is a peer of the gateway that says what the test says.
type device struct {
	b  *bench
	at net.Addr
}

func (b *bench) device(at string) *device { return &device{b, where(at)} }

// says sends messages: device --m--> gateway.
func (d *device) says(messages ...mqttsn.Message) {
	d.b.t.Helper()
	for _, m := range messages {
		p, err := m.Append(nil)
		if err != nil {
			d.b.t.Fatal(err)
		}
		d.b.air.in <- frame{d.at, p}
	}
	synctest.Wait()
}

func say(t *testing.T, p []byte) string {
	t.Helper()
	m, err := mqttsn.Decode(p)
	if err != nil {
		t.Fatalf("the gateway sent %x: %v", p, err)
	}
	return fmt.Sprintf("%s%+v", m.Type(), m)
}

// hears wants exactly these messages, in order: device <--m-- gateway.
func (d *device) hears(messages ...mqttsn.Message) {
	d.b.t.Helper()
	synctest.Wait()
	c := d.b.air.at(d.at)
	for _, m := range messages {
		want, err := m.Append(nil)
		if err != nil {
			d.b.t.Fatal(err)
		}
		select {
		case p := <-c:
			if got := say(d.b.t, p); got != say(d.b.t, want) {
				d.b.t.Fatalf("%s hears %s, want %s", d.at, got, say(d.b.t, want))
			}
		default:
			d.b.t.Fatalf("%s hears nothing, want %s", d.at, say(d.b.t, want))
		}
	}
	select {
	case p := <-c:
		d.b.t.Fatalf("%s hears %s, want no more", d.at, say(d.b.t, p))
	default:
	}
}

func (d *device) connects(c mqttsn.Connect) *device {
	d.b.t.Helper()
	d.says(c)
	d.hears(mqttsn.Connack{})
	return d
}

// meter is a device that is connected as M1, with a keep-alive of a minute.
func (b *bench) meter() *device {
	b.t.Helper()
	return b.device("a").connects(mqttsn.Connect{ClientID: "M1", Duration: 60, Clean: true})
}

func (b *bench) sleeps(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var _ snlink.Conn = (*air)(nil)
