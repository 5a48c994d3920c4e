package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a broker of our own that can be stopped and started at one address, and remembers what it gets below up/.
type node struct {
	*broker.Broker
	addr string
	stop func()

	mu  sync.Mutex
	got []string
}

func (n *node) url() string { return "mqtt://" + n.addr }

// newNode starts a broker at addr, or at a free port if addr is "".
func newNode(tb testing.TB, addr string) *node {
	tb.Helper()
	n := &node{addr: addr}
	var err error
	if n.Broker, err = broker.New(broker.Options{}); err != nil {
		tb.Fatal(err)
	}
	n.Handle("up/#", func(m *broker.Inbound) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.got = append(n.got, fmt.Sprintf("%s=%s q%d", m.Topic, m.Payload, m.QoS))
	})
	if addr == "" {
		n.addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", n.addr)
	if err != nil {
		tb.Fatal(err)
	}
	n.addr = ln.Addr().String()
	n.stop = background(tb, func(ctx context.Context) error { return n.Run(ctx, ln) })
	return n
}

// serveNode runs a broker and gives its URL.
func serveNode(tb testing.TB, b *broker.Broker) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	background(tb, func(ctx context.Context) error { return b.Run(ctx, ln) })
	return "mqtt://" + ln.Addr().String()
}

func (n *node) received() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

// background runs something to the end of the test or to the call of stop.
func background(tb testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return stop
}

func newBridge(tb testing.TB, local *node, upstreams ...string) (b *Bridge, stop func()) {
	tb.Helper()
	b, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: upstreams, MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond,
		FailBack: 50 * time.Millisecond})
	if err != nil {
		tb.Fatal(err)
	}
	return b, background(tb, b.Run)
}

func newClient(tb testing.TB, o client.Options) (c *client.Client, stop func()) {
	tb.Helper()
	o.MinBackoff, o.MaxBackoff = 5*time.Millisecond, 20*time.Millisecond
	c, err := client.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return c, background(tb, c.Run)
}

func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(40 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("not within 40 s: %s", what)
		}
	}
}

// freeAddr gives an address that nobody listens at for now.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	// Not one that the system gives to connections: until somebody listens here, another test's could get it.
	for {
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000))))
		if err != nil {
			continue
		}
		defer ln.Close()
		return ln.Addr().String()
	}
}

func TestUpDownAndStatus(t *testing.T) {
	up, local := newNode(t, ""), newNode(t, "")
	b, stop := newBridge(t, local, up.url())
	var mu sync.Mutex
	var down []string
	meter, _ := newClient(t, client.Options{URL: local.url(), ClientID: "M1",
		Subscriptions: []client.Subscription{{Filter: "dn/meter/M1/#", QoS: 1}, {Filter: "dn/all/meter/#", QoS: 1}, {Filter: "dn/group/12/#", QoS: 1}},
		OnMessage: func(m *client.Message) {
			mu.Lock()
			defer mu.Unlock()
			down = append(down, fmt.Sprintf("%s=%s q%d", m.Topic, m.Payload, m.QoS))
		}})
	eventually(t, "both connected", func() bool {
		return b.Stats().Connected && local.Stats().Subscriptions == 5 && up.Stats().Subscriptions == 5
	})
	// M1 --PUBLISH--> C7 --PUBLISH--> upstream
	for qos := range byte(3) {
		if err := meter.Publish(t.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: []byte("r"), QoS: qos}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"up/concentrator/C7/status=online q1", "up/C7/meter/M1/reading=r q0", "up/C7/meter/M1/reading=r q1", "up/C7/meter/M1/reading=r q1"}
	eventually(t, "readings at the upstream", func() bool { return len(up.received()) == len(want) })
	// upstream --PUBLISH--> C7 --PUBLISH--> M1
	for _, topic := range []string{"dn/C7/meter/M1/cmd", "dn/all/meter/cmd", "dn/C7/all/meter/cmd", "dn/group/12/cmd", "dn/C7/group/12/cmd",
		"dn/C70/meter/M1/cmd", "dn/concentrator/C7/cmd"} {
		if _, err := up.Publish(topic, []byte("c"), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	wantDown := []string{"dn/meter/M1/cmd=c q1", "dn/all/meter/cmd=c q1", "dn/all/meter/cmd=c q1", "dn/group/12/cmd=c q1", "dn/group/12/cmd=c q1"}
	eventually(t, "commands at the meter", func() bool { mu.Lock(); defer mu.Unlock(); return len(down) == len(wantDown) })
	eventually(t, "all commands counted", func() bool { return b.Stats().Down == 6 })
	stop()
	want = append(want, "up/concentrator/C7/status=offline q1")
	if got := up.received(); !slices.Equal(got, want) {
		t.Errorf("upstream got %q, want %q", got, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(down, wantDown) {
		t.Errorf("meter got %q, want %q", down, wantDown)
	}
}

func TestWillWhenTheLinkIsLost(t *testing.T) {
	up, local := newNode(t, ""), newNode(t, "")
	b, _ := newBridge(t, local, up.url())
	eventually(t, "connected", func() bool { return len(up.received()) == 1 })
	b.client.Kill()
	eventually(t, "lost", func() bool { return len(up.received()) == 2 })
	// The upstream keeps the session of the bridge, and in it what is for the devices below.
	if n, err := up.Publish("dn/C7/meter/M1/cmd", nil, 1, false); n != 1 || err != nil {
		t.Errorf("%d receivers, %v", n, err)
	}
	b.client.Resume()
	eventually(t, "the command kept for the bridge", func() bool { return b.Stats().Down == 1 })
	want := []string{"up/concentrator/C7/status=online q1", "up/concentrator/C7/status=lost q1", "up/concentrator/C7/status=online q1"}
	eventually(t, "online again", func() bool { return slices.Equal(up.received(), want) })
}

// TestNothingIsLostBeforeTheFirstConnection publishes before the upstream was ever there.
func TestNothingIsLostBeforeTheFirstConnection(t *testing.T) {
	local, addr := newNode(t, ""), freeAddr(t)
	b, _ := newBridge(t, local, "mqtt://"+addr)
	meter, _ := newClient(t, client.Options{URL: local.url(), ClientID: "M1"})
	for i := range 1000 {
		if err := meter.Publish(t.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: []byte(strconv.Itoa(i)), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := meter.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a failed attempt", func() bool { return b.Stats().Error != "" })
	if s := b.Stats(); s.Queued != 1000 || s.Connected {
		t.Errorf("%+v", s)
	}
	up := newNode(t, addr)
	eventually(t, "all arrived", func() bool { return len(up.received()) == 1001 })
	got := up.received()
	if got[0] != "up/concentrator/C7/status=online q1" {
		t.Errorf("first came %s", got[0])
	}
	for i, s := range got[1:] {
		if want := fmt.Sprintf("up/C7/meter/M1/reading=%d q1", i); s != want {
			t.Fatalf("message %d is %s", i, s)
		}
	}
}

// TestUpstreamsInOrderOfPreference: the second upstream is used while the first is not there.
func TestUpstreamsInOrderOfPreference(t *testing.T) {
	local, addr, second := newNode(t, ""), freeAddr(t), newNode(t, "")
	b, _ := newBridge(t, local, "mqtt://"+addr, second.url())
	eventually(t, "on the second", func() bool { return b.Stats().Upstream == second.url() })
	first := newNode(t, addr)
	eventually(t, "on the first", func() bool { return b.Stats().Upstream == first.url() })
	first.stop()
	eventually(t, "on the second again", func() bool { return b.Stats().Upstream == second.url() })
}

// TestUnacknowledgedWhileStopping: what arrives while the queue is full and the bridge stops is not acknowledged, so its sender
// sends it again to whoever comes next.
func TestUnacknowledgedWhileStopping(t *testing.T) {
	local := newNode(t, "")
	b, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{"mqtt://" + freeAddr(t)}, QueueBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, b.Run)
	meter, stopMeter := newClient(t, client.Options{URL: local.url(), ClientID: "M1"})
	const messages = 200
	for range messages {
		if err := meter.Publish(t.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: make([]byte, 32), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the queue is full", func() bool { return b.Stats().Waiting == 1 })
	stop()
	eventually(t, "all handled", func() bool { return local.Stats().Published >= messages })
	eventually(t, "what is held acknowledged", func() bool { return meter.Stats().Queued+b.Stats().Queued <= messages })
	time.Sleep(20 * time.Millisecond) // and not more
	kept, held := meter.Stats().Queued, b.Stats().Queued
	if kept+held != messages || held == 0 || kept == 0 || b.Stats().QueuedBytes > 4096 {
		t.Errorf("the meter keeps %d, the bridge holds %d of %d", kept, held, messages)
	}
	stopMeter()
}

func TestARingAndTooLargeMessagesAreDroppedAndCounted(t *testing.T) {
	local := newNode(t, "")
	b, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{"mqtt://localhost"}, MaxPacketSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for topic, size := range map[string]int{"up/C9/C7/meter/M1/reading": 1, "up/meter/M1/event": 1000, "up": 1, "up/meter/M1/reading": 1} {
		if _, err := local.Publish(topic, make([]byte, size), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := local.Publish("up/meter/M1/location", nil, 0, false); err != nil {
		t.Fatal(err)
	}
	s := b.Stats()
	if s.Up != 1 || s.Dropped["loop"] != 1 || s.Dropped["too_large"] != 1 || s.Dropped["bad_topic"] != 1 || s.Dropped["not_connected"] != 1 {
		t.Errorf("%+v", s)
	}
}

// noEvents is an upstream that refuses one kind of message.
type noEvents struct{}

func (noEvents) Authenticate(*broker.Login) (broker.Access, mqtt.ReturnCode) {
	return noEvents{}, mqtt.Accepted
}
func (noEvents) Publish(topic string) bool { return !strings.HasSuffix(topic, "/event") }
func (noEvents) Subscribe(string) bool     { return true }

// TestWhatTheUpstreamRefusesIsCounted: what is acknowledged to a device and then not taken above, and what has become too old.
func TestWhatTheUpstreamRefusesIsCounted(t *testing.T) {
	up, err := broker.New(broker.Options{Auth: noEvents{}, MaxPacketSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	local := newNode(t, "")
	b, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{serveNode(t, up)}, Version: mqtt.V5, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	say := func(event string, size int, p *mqtt.Properties) {
		t.Helper()
		if _, err := local.Send(&broker.Message{Topic: "up/meter/M1/" + event, Payload: make([]byte, size), QoS: 1, Properties: p}); err != nil {
			t.Fatal(err)
		}
	}
	say("reading", 2000, nil) // queued before the upstream says that it takes 1000
	say("reading", 1, &mqtt.Properties{Present: mqtt.Present(mqtt.PropMessageExpiry)})
	say("event", 1, nil)
	say("event", 2, nil)
	say("reading", 2, nil)
	background(t, b.Run)
	eventually(t, "all done with", func() bool { return b.Stats().Connected && b.Stats().Queued == 0 })
	if s := b.Stats(); s.Dropped["refused"] != 3 || s.Dropped["expired"] != 1 {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(log.String(), "message refused by the upstream"); n != 1 {
		t.Errorf("the log says %d times that messages are refused, want once for a while:\n%s", n, log.String())
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *lines) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func TestOptionsAreChecked(t *testing.T) {
	local := newNode(t, "")
	for name, o := range map[string]Options{
		"id":          {ID: "all", Local: local.Broker, Upstreams: []string{"mqtt://h"}},
		"no broker":   {ID: "C7", Upstreams: []string{"mqtt://h"}},
		"no upstream": {ID: "C7", Local: local.Broker},
		"scheme":      {ID: "C7", Local: local.Broker, Upstreams: []string{"mqtt://h", "http://h"}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
