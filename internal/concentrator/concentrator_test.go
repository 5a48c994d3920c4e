package concentrator

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
)

// centre is a broker that stands for the EEB and remembers what it gets.
type centre struct {
	*broker.Broker
	addr string
	stop func()

	mu  sync.Mutex
	got []message
}

type message struct {
	topic   string
	payload []byte
}

func (c *centre) url() string { return "mqtt://" + c.addr }

func newCentre(tb testing.TB, addr string) *centre {
	tb.Helper()
	c := &centre{}
	var err error
	if c.Broker, err = broker.New(broker.Options{}); err != nil {
		tb.Fatal(err)
	}
	c.Handle("up/#", func(m *broker.Inbound) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got = append(c.got, message{m.Topic, slices.Clone(m.Payload)})
	})
	ln := listen(tb, addr)
	c.addr = ln.Addr().String()
	c.stop = background(tb, func(ctx context.Context) error { return c.Run(ctx, ln) })
	return c
}

// received gives the payloads that came to a topic.
func (c *centre) received(topic string) (payloads [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.got {
		if m.topic == topic {
			payloads = append(payloads, m.payload)
		}
	}
	return payloads
}

// words gives them as one string.
func (c *centre) words(topic string) string {
	var s []string
	for _, p := range c.received(topic) {
		s = append(s, string(p))
	}
	return strings.Join(s, " ")
}

func listen(tb testing.TB, addr string) net.Listener {
	tb.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

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

// newConcentrator runs a concentrator in this process.
func newConcentrator(tb testing.TB, o Options) (c *Concentrator, url string, stop func()) {
	tb.Helper()
	ln := listen(tb, "")
	o.Listeners = []net.Listener{ln}
	o.MinBackoff, o.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
	c, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return c, "mqtt://" + ln.Addr().String(), background(tb, c.Run)
}

func newMeter(tb testing.TB, o client.Options) *client.Client {
	tb.Helper()
	o.MinBackoff, o.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
	c, err := client.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	background(tb, c.Run)
	return c
}

func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("not within 30 s: %s", what)
		}
	}
}

func TestCommandsToTheConcentrator(t *testing.T) {
	top := newCentre(t, "")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clk := clock.New(now, 1)
	clk.Pause()
	c, url, _ := newConcentrator(t, Options{ID: "C1", Upstreams: []string{top.url()}, Clock: clk})
	eventually(t, "subscribed", func() bool { return c.Stats().Upstream.Connected && top.Stats().Subscriptions == 5 })
	unix := uint32(now.Unix())
	send := func(topic string, payload []byte) {
		t.Helper()
		if _, err := top.Publish(topic, payload, 1, false); err != nil {
			t.Fatal(err)
		}
	}
	command := func(id uint64, op record.Opcode, expiry uint32) []byte {
		return record.Command{Header: record.Header{Time: unix}, ID: id, Opcode: op, Expiry: expiry}.Append(nil)
	}
	send("dn/concentrator/C1/cmd", command(1, record.OpPing, 0))
	send("dn/concentrator/C1/cmd", command(1, record.OpPing, unix+10)) // a repeat gets the same result
	send("dn/all/concentrator/cmd", command(2, record.OpPing, unix))
	send("dn/concentrator/C1/cmd", command(3, record.OpPing, unix-1))
	send("dn/concentrator/C1/cmd", command(4, record.OpDisconnect, unix+10))
	send("dn/concentrator/C1/cmd", command(5, 99, 0))
	send("dn/concentrator/C1/groups", record.Groups{Header: record.Header{Time: unix}, ID: 6, Count: 1}.Append(nil))
	send("dn/concentrator/C1/cmd", []byte("garbage"))
	send("dn/concentrator/C1/location-ack", record.LocationAck{}.Append(nil))
	send("dn/concentrator/C2/cmd", command(7, record.OpPing, 0))
	// What a device of its own says to it is not a command.
	device := newMeter(t, client.Options{URL: url, ClientID: "M1"})
	if err := device.Publish(t.Context(), client.Message{Topic: "dn/concentrator/C1/cmd", Payload: command(8, record.OpPing, 0), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if err := device.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	send("dn/concentrator/C1/cmd", command(9, record.OpPing, 0))

	want := []string{"1 ping done", "1 ping done", "2 ping done", "3 ping expired", "4 disconnect not supported", "5 opcode 99 not supported",
		"6 groups not supported", "9 ping done"}
	var got []string
	eventually(t, "results", func() bool { return len(top.received("up/concentrator/C1/result")) >= len(want) })
	for _, b := range top.received("up/concentrator/C1/result") {
		r, err := record.DecodeResult(b)
		if err != nil || r.Time != unix || r.Breaker != record.BreakerNone {
			t.Errorf("%+v, %v", r, err)
		}
		got = append(got, fmt.Sprintf("%d %s %s", r.Command, r.Opcode, r.Outcome))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDeadThenAliveUpstream sends 100,000 readings while the upstream has never been there. The queue fills to its bound, the
// meters are not read from any more, and memory stays bounded; then the upstream comes and gets everything in order.
func TestDeadThenAliveUpstream(t *testing.T) {
	const meters, each, bound = 20, 5000, 2 << 20
	addr := freeAddr(t)
	var log strings.Builder
	c, url, stop := newConcentrator(t, Options{ID: "C1", Upstreams: []string{"mqtt://" + addr}, QueueBytes: bound, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	before := heap()
	var wg sync.WaitGroup
	for i := range meters {
		m := newMeter(t, client.Options{URL: url, ClientID: fmt.Sprintf("M%d", i), QueueBytes: 32 << 10})
		wg.Go(func() {
			topic := fmt.Sprintf("up/meter/M%d/reading", i)
			for n := range uint32(each) {
				p := make([]byte, record.ReadingSize)
				binary.BigEndian.PutUint32(p, n)
				if err := m.Publish(t.Context(), client.Message{Topic: topic, Payload: p, QoS: 1}); err != nil {
					t.Error(err)
					return
				}
			}
			if err := m.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "every meter waits", func() bool { return c.Stats().Upstream.Waiting == meters })
	s := c.Stats()
	if s.Upstream.QueuedBytes > bound || s.Upstream.QueuedBytes < bound-1024 || s.Upstream.Connected || s.Broker.Connections != meters {
		t.Errorf("%+v", s)
	}
	if grown := heap() - before; grown > 3*bound {
		t.Errorf("memory grew by %d bytes with a queue of %d", grown, bound)
	} else {
		t.Logf("memory grew by %d bytes, meters included, with a queue of %d", grown, bound)
	}

	var arrived atomic.Int64
	next := map[string]uint32{}
	top, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	top.Handle("up/C1/meter/+/reading", func(m *broker.Inbound) {
		if n := binary.BigEndian.Uint32(m.Payload); n != next[m.Topic] { // one connection, one goroutine
			t.Errorf("%s: got %d, want %d", m.Topic, n, next[m.Topic])
		}
		next[m.Topic]++
		arrived.Add(1)
	})
	ln := listen(t, addr)
	background(t, func(ctx context.Context) error { return top.Run(ctx, ln) })
	wg.Wait()
	eventually(t, "all arrived", func() bool { return arrived.Load() == meters*each })
	eventually(t, "the queue is empty", func() bool { return c.Stats().Upstream.Queued == 0 })
	if s := c.Stats(); s.Upstream.Up != meters*each || s.Upstream.QueuedBytes != 0 {
		t.Errorf("%+v", s)
	}
	stop()
	for _, said := range []string{`msg="upstream away"`, `msg="upstream connected"`} {
		if n := strings.Count(log.String(), said); n != 1 {
			t.Errorf("the log says %s %d times", said, n)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestOrderlyStopPassesOnWhatItHas(t *testing.T) {
	top := newCentre(t, "")
	for range 20 {
		c, url, stop := newConcentrator(t, Options{ID: "C1", Upstreams: []string{top.url()}})
		m := newMeter(t, client.Options{URL: url, ClientID: "M1"})
		eventually(t, "connected", func() bool { return c.Stats().Upstream.Connected && m.Stats().Connected })
		before := len(top.received("up/C1/meter/M1/reading"))
		const messages = 300
		var acked atomic.Int64
		for range messages {
			if err := m.Publish(t.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: []byte("r"), QoS: 1, Acked: func() { acked.Add(1) }}); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		m.Kill()
		if got := len(top.received("up/C1/meter/M1/reading")) - before; got < int(acked.Load()) {
			t.Errorf("%d acknowledged to the meter, %d passed on", acked.Load(), got)
		}
	}
	want := strings.TrimSpace(strings.Repeat("online offline ", 20))
	if got := top.words("up/concentrator/C1/status"); got != want {
		t.Errorf("status %q", got)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	top := newCentre(t, "")
	for _, id := range []string{"C1", "C2"} { // two in a process
		c, _, _ := newConcentrator(t, Options{ID: id, Upstreams: []string{top.url()}, Registerer: reg})
		eventually(t, "connected", func() bool { return c.Stats().Upstream.Connected })
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "concentrator" {
					seen[f.GetName()+" "+l.GetValue()] = true
					if f.GetName() == "wattbus_concentrator_upstream_connected" && m.GetGauge().GetValue() != 1 {
						t.Errorf("%s not connected", l.GetValue())
					}
				}
			}
		}
	}
	for _, want := range []string{"wattbus_concentrator_upstream_connected C1", "wattbus_concentrator_queue_bytes C2", "wattbus_concentrator_dropped_total C1", "wattbus_broker_connections C2"} {
		if !seen[want] {
			t.Errorf("no metric %s in %v", want, seen)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"no id":       {Upstreams: []string{"mqtt://h"}},
		"reserved id": {ID: "group", Upstreams: []string{"mqtt://h"}},
		"id":          {ID: "C/1", Upstreams: []string{"mqtt://h"}},
		"no upstream": {ID: "C1"},
		"upstream":    {ID: "C1", Upstreams: []string{"tcp://h"}},
		"broker":      {ID: "C1", Upstreams: []string{"mqtt://h"}, Broker: broker.Options{MaxInflight: 1 << 20}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAListenerThatFailsEndsTheConcentrator(t *testing.T) {
	ln := listen(t, "")
	c, err := New(Options{ID: "C1", Upstreams: []string{"mqtt://" + freeAddr(t)}, Listeners: []net.Listener{ln}})
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "C1") {
		t.Errorf("Run: %v", err)
	}
}
