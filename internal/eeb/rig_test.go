package eeb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

const helperEnv = "WATTBUS_EEB_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper()
	}
	goleak.VerifyTestMain(m)
}

// locations is a store for locations in memory that can fail.
type locations struct {
	mu    sync.Mutex
	all   map[[2]string]store.Location
	fail  error
	tries int
}

func (l *locations) PutLocations(_ context.Context, ls []store.Location) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	if l.fail != nil {
		return l.fail
	}
	for _, x := range ls {
		l.all[[2]string{x.Kind, x.ID}] = x
	}
	return nil
}

func (l *locations) Locations(_ context.Context, f func(store.Location) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.all {
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

func (l *locations) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *locations) get(kind, id string) (store.Location, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, ok := l.all[[2]string{kind, id}]
	return x, ok
}

// rig is a centre without an MDMS: a broker on a socket, an EEB, an embedded bus, and a reader of what comes out.
type rig struct {
	t    testing.TB
	e    *EEB
	b    *bus.Bus
	br   *broker.Broker
	reg  *prometheus.Registry
	keep *locations
	addr string
	clk  *clock.Clock
	stop context.CancelFunc // of the EEB
	done chan error         // of the EEB

	mu      sync.Mutex
	entries []string // path|kind/id|event|payload in hex or word
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newRig(t testing.TB, change func(*Options), busChange func(*bus.Options)) *rig {
	t.Helper()
	r := &rig{t: t, reg: prometheus.NewRegistry(), keep: &locations{all: map[[2]string]store.Location{}}, done: make(chan error, 1)}
	bo := bus.Options{Dir: t.TempDir()}
	if busChange != nil {
		busChange(&bo)
	}
	var err error
	if r.b, err = bus.Open(t.Context(), bo); err != nil {
		t.Fatal(err)
	}
	if r.br, err = broker.New(broker.Options{}); err != nil {
		t.Fatal(err)
	}
	r.clk = clock.New(start, 1)
	r.clk.Pause()
	o := Options{Broker: r.br, Bus: r.b, Locations: r.keep, Clock: r.clk, Registerer: r.reg}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if change != nil {
		change(&o)
	}
	if r.e, err = New(o); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = "mqtt://" + ln.Addr().String()
	brCtx, brStop := context.WithCancel(context.Background())
	brDone := make(chan error, 1)
	go func() { brDone <- r.br.Run(brCtx, ln) }()
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.done <- r.e.Run(ctx) }()
	t.Cleanup(func() {
		r.stop()
		if err := <-r.done; err != nil && !errors.Is(err, context.Canceled) {
			t.Logf("eeb: %v", err)
		}
		brStop()
		if err := <-brDone; err != nil {
			t.Errorf("broker: %v", err)
		}
		r.b.Close()
	})
	return r
}

// read begins to collect what comes out of the bus.
func (r *rig) read() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- r.b.ConsumeBatches(ctx, bus.DurableMDMS, func(_ context.Context, bs []bus.Batch) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			for i := range bs {
				for e := range bs[i].All() {
					p := fmt.Sprintf("%x", e.Payload)
					if e.Event == "status" {
						p = string(e.Payload)
					} else if h := record.DecodeHeader(e.Payload); h.Time != 0 {
						p = fmt.Sprint(h.Time)
					}
					r.entries = append(r.entries, fmt.Sprintf("%s|%s/%s|%s|%s", e.Path, e.Kind, e.ID, e.Event, p))
				}
			}
			return nil
		})
	}()
	r.t.Cleanup(func() { cancel(); <-done })
}

func (r *rig) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

func (r *rig) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries)
}

// want waits until exactly these entries came, and forgets them.
func (r *rig) want(entries ...string) {
	r.t.Helper()
	ok := func() bool { return r.count() >= len(entries) }
	for end := time.Now().Add(30 * time.Second); !ok() && time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
	}
	if got := r.seen(); !slices.Equal(got, entries) {
		r.t.Fatalf("on the bus:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(entries, "\n  "))
	}
	r.mu.Lock()
	r.entries = nil
	r.mu.Unlock()
}

func (r *rig) metric(name string, labels ...string) float64 {
	r.t.Helper()
	fs, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range fs {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.Metric {
			for i, l := range m.Label {
				if i < len(labels) && l.GetValue() != labels[i] {
					continue next
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

// peer is a concentrator's link, or a meter, at the broker.
type peer struct {
	r     *rig
	c     *client.Client
	mu    sync.Mutex
	acked []string // topics, in the order of the acknowledgements
	got   chan client.Message
	stop  func()
}

func (r *rig) connect(id string, filters ...string) *peer {
	r.t.Helper()
	p := &peer{r: r, got: make(chan client.Message, 100)}
	up := make(chan struct{})
	var once sync.Once
	o := client.Options{URL: r.addr, ClientID: id, Clean: true, MaxInflight: 4096, QueueBytes: 1 << 20,
		OnConnect: func(bool) { once.Do(func() { close(up) }) },
		OnMessage: func(m *client.Message) {
			p.got <- client.Message{Topic: m.Topic, Payload: slices.Clone(m.Payload), QoS: m.QoS}
		}}
	for _, f := range filters {
		o.Subscriptions = append(o.Subscriptions, client.Subscription{Filter: f, QoS: 1})
	}
	c, err := client.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	p.c = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	p.stop = sync.OnceFunc(func() { cancel(); <-done })
	r.t.Cleanup(p.stop)
	select {
	case <-up:
	case <-time.After(30 * time.Second):
		r.t.Fatal("not connected within 30 s")
	}
	if len(filters) > 0 {
		eventually(r.t, "subscribed", func() bool { return r.br.Stats().Subscriptions >= len(filters)+1 })
	}
	return p
}

func (p *peer) message(topic string, payload []byte) client.Message {
	return client.Message{Topic: topic, Payload: payload, QoS: 1, Acked: func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.acked = append(p.acked, topic)
	}}
}

// send publishes at QoS 1 and does not wait for the acknowledgement.
func (p *peer) send(topic string, payload []byte) {
	p.r.t.Helper()
	if err := p.c.Publish(p.r.t.Context(), p.message(topic, payload)); err != nil {
		p.r.t.Fatal(err)
	}
}

// put publishes at QoS 1 and waits for the acknowledgement.
func (p *peer) put(topic string, payload []byte) {
	p.r.t.Helper()
	p.send(topic, payload)
	p.flush()
}

func (p *peer) flush() {
	p.r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := p.c.Flush(ctx); err != nil {
		p.r.t.Fatalf("not acknowledged: %v", err)
	}
}

func (p *peer) acks() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.acked)
}

// next waits for a message downward.
func (p *peer) next() client.Message {
	p.r.t.Helper()
	select {
	case m := <-p.got:
		return m
	case <-time.After(30 * time.Second):
		p.r.t.Fatal("no message within 30 s")
		return client.Message{}
	}
}

func (p *peer) nothing() {
	p.r.t.Helper()
	select {
	case m := <-p.got:
		p.r.t.Fatalf("unexpected %s", m.Topic)
	case <-time.After(100 * time.Millisecond):
	}
}

func reading(at uint32) []byte {
	return record.Reading{Header: record.Header{Time: at}, Import: 1, Sequence: 1}.Append(nil)
}

func location(seq uint32) []byte {
	return record.Location{Header: record.Header{Time: seq}, Sequence: seq, Interval: 30}.Append(nil)
}

func lost(seq uint32) []byte {
	return record.Lost{Header: record.Header{Time: seq}, Sequence: seq}.Append(nil)
}
