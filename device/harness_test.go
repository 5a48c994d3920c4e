package device_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/concentrator"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// driver is hardware that a test holds in its hand.
type driver struct {
	mu       sync.Mutex
	reading  device.Reading
	position device.Breaker
	switched []device.Breaker
	stuck    bool // the breaker does not move
	fail     error
	reads    int
}

func (d *driver) Read(context.Context) (device.Reading, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	d.reading.Import += 10
	return d.reading, d.fail
}

func (d *driver) SetBreaker(_ context.Context, to device.Breaker) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.switched = append(d.switched, to)
	if !d.stuck {
		d.position = to
	}
	return nil
}

func (d *driver) Breaker(context.Context) (device.Breaker, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.position, nil
}

func (d *driver) with(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// centre is a broker that stands for the EEB: it acknowledges registrations, but not the first, which gets lost.
type centre struct {
	t *testing.T
	*broker.Broker
	path string // of the meter's concentrators, with a slash behind it

	patience time.Duration // for an answer to a command

	mu       sync.Mutex
	got      map[string][][]byte // by event
	deaf     int                 // registrations that are still to be lost
	sequence uint32              // of the last registration
}

func newCentre(t *testing.T, path string) *centre {
	t.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &centre{t: t, Broker: b, path: path, patience: time.Minute, got: map[string][][]byte{}, deaf: 1}
	b.Handle("up/"+path+"meter/M1/+", func(m *broker.Inbound) {
		event := m.Topic[len("up/"+path+"meter/M1/"):]
		if _, err := record.Validate(event, m.Payload); err != nil && event != "json" {
			t.Errorf("%s: %v", m.Topic, err)
		}
		c.mu.Lock()
		c.got[event] = append(c.got[event], append([]byte(nil), m.Payload...))
		ack := event == "location" && c.deaf == 0
		if event == "location" && c.deaf > 0 {
			c.deaf--
		}
		c.mu.Unlock()
		if ack {
			l, _ := record.DecodeLocation(m.Payload)
			c.mu.Lock()
			c.sequence = l.Sequence
			c.mu.Unlock()
			c.down("location-ack", record.LocationAck{Header: record.Header{Time: l.Time}, Sequence: l.Sequence}.Append(nil))
		}
	})
	return c
}

func (c *centre) down(event string, payload []byte) {
	qos := byte(1)
	if event == "location-ack" {
		qos = 0
	}
	if _, err := c.Publish("dn/"+c.path+"meter/M1/"+event, payload, qos, false); err != nil {
		c.t.Error(err)
	}
}

func (c *centre) events(event string) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[event]
}

// result waits for the n-th answer to a command.
func (c *centre) result(id uint64, n int) (r record.Result) {
	c.t.Helper()
	within(c.t, c.patience, "the result", func() bool {
		seen := 0
		for _, b := range c.events("result") {
			got, err := record.DecodeResult(b)
			if err == nil && got.Command == id && got.Outcome != record.Delivered {
				if seen++; seen == n {
					r = got
					return true
				}
			}
		}
		return false
	})
	return r
}

// command sends one and repeats it until it is answered, as the centre does.
func (c *centre) command(cmd record.Command) record.Result {
	c.t.Helper()
	var r record.Result
	sent := time.Time{}
	within(c.t, c.patience, "the result", func() bool {
		if time.Since(sent) > c.patience/4 {
			sent = time.Now()
			c.down("cmd", cmd.Append(nil))
		}
		for _, b := range c.events("result") {
			if got, err := record.DecodeResult(b); err == nil && got.Command == cmd.ID {
				r = got
				return true
			}
		}
		return false
	})
	return r
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, time.Minute, what, ok)
}

func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(max(5*time.Millisecond, d/6000)) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, d)
		}
	}
}

// background runs something until the end of the test, or until stop is called.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// pipes are a listener for connections inside of the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return air("pipe") }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return mine, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// concentratorAt runs a concentrator below a centre.
func concentratorAt(t *testing.T, c *centre, o concentrator.Options) (stop func()) {
	t.Helper()
	up := newPipes()
	background(t, func(ctx context.Context) error { return c.Run(ctx, up) })
	o.ID, o.Upstreams, o.Dial = "C1", []string{"mqtt://centre"}, up.dial
	o.MinBackoff, o.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
	conc, err := concentrator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	stop = background(t, conc.Run)
	eventually(t, "the concentrator's connection", func() bool { return conc.Stats().Upstream.Connected && c.Stats().Subscriptions >= 5 })
	return stop
}

// table are the contract's predefined topic ids, as a concentrator has them.
type table struct{}

func (table) Name(id string, code uint16) (string, bool) { return topic.Predefined(id, code) }
func (table) ID(id, name string) (uint16, bool)          { return topic.PredefinedID(id, name) }

// air is a link between a meter with a radio and a gateway, and an address on it.
type air string

func (air) Network() string  { return "air" }
func (a air) String() string { return string(a) }

type radio struct {
	up, down chan []byte
	closed   chan struct{}
	once     *sync.Once
	mine     chan struct{} // closed with the meter's end
	mineOnce *sync.Once
	loss     *atomic.Int64 // in how many frames one is lost, 0: in none
}

func newRadio() *radio {
	return &radio{up: make(chan []byte, 256), down: make(chan []byte, 256), closed: make(chan struct{}), once: &sync.Once{}, loss: &atomic.Int64{}}
}

func (r *radio) lost() bool {
	n := r.loss.Load()
	return n > 0 && rand.N(n) == 0
}

// end is the meter's end, a new one each time it is opened.
func (r *radio) end() *radio {
	e := *r
	e.mine, e.mineOnce = make(chan struct{}), &sync.Once{}
	return &e
}

func (r *radio) Send(b []byte) error {
	if !r.lost() {
		r.up <- append([]byte(nil), b...)
	}
	return nil
}

func (r *radio) Receive(b []byte) (int, error) {
	select {
	case f := <-r.down:
		return copy(b, f), nil
	case <-r.mine:
		return 0, errors.New("the radio is off")
	}
}

func (r *radio) Close() error { r.mineOnce.Do(func() { close(r.mine) }); return nil }

// gatewaySide is the other end.
type gatewaySide struct{ *radio }

func (g gatewaySide) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case f := <-g.up:
		return copy(b, f), air("M1"), nil
	case <-g.closed:
		return 0, nil, net.ErrClosed
	}
}

func (g gatewaySide) WriteTo(b []byte, _ net.Addr) (int, error) {
	if !g.lost() {
		g.down <- append([]byte(nil), b...)
	}
	return len(b), nil
}

func (g gatewaySide) LocalAddr() net.Addr { return air("gateway") }
func (g gatewaySide) Close() error        { g.once.Do(func() { close(g.closed) }); return nil }
