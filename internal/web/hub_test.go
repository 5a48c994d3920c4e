package web

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/api"
)

// memoryBus matches subjects as NATS does and calls back on the publisher's goroutine.
type memoryBus struct {
	mu   sync.RWMutex
	subs map[int]memorySub
	next int
	fail bool
}

type memorySub struct {
	filter string
	f      func(string, []byte)
}

func (b *memoryBus) SubscribeEvents(filter string, f func(string, []byte)) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail {
		return nil, errors.New("bus is closed")
	}
	b.next++
	id := b.next
	if b.subs == nil {
		b.subs = map[int]memorySub{}
	}
	b.subs[id] = memorySub{filter, f}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, id)
	}, nil
}

func (b *memoryBus) publish(subject string, raw []byte) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.subs {
		want := strings.Split(s.filter, ".")
		have := strings.Split(subject, ".")
		ok := true
		for i, w := range want {
			if w == ">" {
				break
			}
			ok = ok && i < len(have) && (w == "*" || w == have[i]) && (i < len(want)-1 || len(want) == len(have))
		}
		if ok {
			s.f(subject, raw)
		}
	}
}

func testHub(t testing.TB, b eventBus) *hub {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return newHub(b, slog.New(slog.DiscardHandler), 1000, m)
}

// Streams come, change and go while events pass: none gets what it did not ask for, none misses what it asked for all the
// time, and nothing is followed in the end.
func TestHubChurn(t *testing.T) {
	b := &memoryBus{}
	h := testHub(t, b)
	steady, err := h.open("")
	if err != nil {
		t.Fatal(err)
	}
	steadyFilter := api.EventFilter{Types: []string{"command"}, Meter: "M1"}
	if err := steady.edit(func(fs map[string]api.EventFilter) { fs["steady"] = steadyFilter }); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var publisher, clients sync.WaitGroup
	sent := 0
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b.publish(fmt.Sprintf("meter.state.M%d", i%4), fmt.Appendf(nil, `{"id":"%d","source":"/C%d/meter/M%d"}`, i, i%3, i%4))
			if i%64 == 0 && sent < 500 {
				b.publish("meter.command.M1", fmt.Appendf(nil, `{"id":"c%d","source":"/C1/meter/M1"}`, sent))
				sent++
			}
		}
	})
	for c := range 4 {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 7))
			for range 100 {
				st, err := h.open("")
				if err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					f := api.EventFilter{Types: []string{"state"}, Meter: fmt.Sprint("M", r.IntN(4))}
					if r.IntN(3) == 0 {
						f = api.EventFilter{Types: []string{"state", "command"}, Path: "C1"}
					}
					if err := st.edit(func(fs map[string]api.EventFilter) {
						clear(fs)
						fs["f"] = f
					}); err != nil {
						t.Error(err)
					}
				}
				st.leave()
			}
		})
	}
	clients.Wait()
	close(stop)
	publisher.Wait()
	got, _, dropped := drain(steady.out)
	if len(got) != sent || dropped != 0 {
		t.Errorf("%d of %d commands came, %d dropped", len(got), sent, dropped)
	}
	for i, m := range got {
		if m.id != fmt.Sprint("c", i) {
			t.Fatalf("message %d is %s", i, m.id)
		}
	}
	steady.leave()
	h.close()
	h.wait()
	if len(h.subjects) != 0 || len(b.subs) != 0 {
		t.Errorf("%d subjects followed in the end, %d on the bus", len(h.subjects), len(b.subs))
	}
	if _, err := h.open(""); !errors.Is(err, errStopping) {
		t.Errorf("open after close: %v", err)
	}
}

// TestHubOneCaller: who has half of all streams gets no more, others do, and what ended makes room.
func TestHubOneCaller(t *testing.T) {
	h := testHub(t, &memoryBus{})
	h.most = 4
	var mine []*stream
	for range 2 {
		st, err := h.open("a")
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, st)
	}
	if _, err := h.open("a"); !errors.Is(err, errStreamsOfOne) {
		t.Errorf("third of four: %v", err)
	}
	other, err := h.open("b")
	if err != nil {
		t.Fatalf("another caller: %v", err)
	}
	mine[0].leave()
	mine[0].leave() // counts once
	again, err := h.open("a")
	if err != nil {
		t.Fatalf("after one has ended: %v", err)
	}
	if _, err := h.open("a"); !errors.Is(err, errStreamsOfOne) {
		t.Errorf("one too many after one has ended: %v", err)
	}
	for _, st := range []*stream{mine[1], other, again} {
		st.leave()
	}
	if len(h.callers) != 0 {
		t.Errorf("callers kept: %v", h.callers)
	}
}

func TestHubBusFails(t *testing.T) {
	b := &memoryBus{fail: true}
	h := testHub(t, b)
	st, err := h.open("")
	if err != nil {
		t.Fatal(err)
	}
	defer st.leave()
	name, answer := st.obey([]byte(`{"subscribe":{"types":["state"]}}`))
	if name != "error" || answer.Error.Status != 503 {
		t.Errorf("%s %+v", name, answer.Error)
	}
	b.fail = false
	if name, answer = st.obey([]byte(`{"subscribe":{"types":["state"]}}`)); name != "subscribed" {
		t.Errorf("%s %+v", name, answer.Error)
	}
}

func FuzzObey(f *testing.F) {
	f.Add([]byte(`{"subscribe":{"id":"a","types":["state","reading"],"meter":"M1","path":"C1/C7"}}`))
	f.Add([]byte(`{"unsubscribe":{"id":"a"}}`))
	f.Add([]byte(`{"subscribe":null}`))
	h := testHub(f, &memoryBus{})
	f.Fuzz(func(t *testing.T, text []byte) {
		st, err := h.open("")
		if err != nil {
			t.Fatal(err)
		}
		defer st.leave()
		switch name, answer := st.obey(text); name {
		case "subscribed":
			if len(st.filters) != 1 || len(st.follows) == 0 || checkFilter(answer.Subscribed) != nil {
				t.Errorf("%s: %+v", text, answer.Subscribed)
			}
		case "error":
			if answer.Error == nil || answer.Error.Detail == "" || len(st.filters) != 0 {
				t.Errorf("%s: %+v", text, answer.Error)
			}
		default:
			t.Errorf("%s: %s", text, name)
		}
	})
}

// The price of one event for 50 consoles that all follow the states.
func BenchmarkDeliver(b *testing.B) {
	bus := &memoryBus{}
	h := testHub(b, bus)
	var all []*stream
	for range 50 {
		st, err := h.open("")
		if err != nil {
			b.Fatal(err)
		}
		if err := st.edit(func(fs map[string]api.EventFilter) { fs["a"] = api.EventFilter{Types: []string{"state", "totals"}} }); err != nil {
			b.Fatal(err)
		}
		all = append(all, st)
	}
	raw := []byte(`{"specversion":"1.0","id":"abc","type":"wattbus.state.v1","source":"/C1/C7/meter/M1","subject":"M1","data":{` + strings.Repeat(`"x":"y",`, 60) + `"z":1}}`)
	b.ReportAllocs()
	var batch [64]message
	for i := 0; b.Loop(); i++ {
		bus.publish("meter.state.M1", raw)
		if i%16 == 15 {
			for _, st := range all {
				st.out.take(batch[:])
			}
		}
	}
	for _, st := range all {
		st.leave()
	}
}
