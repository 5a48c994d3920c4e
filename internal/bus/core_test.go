package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/topic"
)

func TestDown(t *testing.T) {
	b := open(t, nil)
	got := make(chan Down, 10)
	stop, err := b.OnDown(func(d Down) { got <- d })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.nc.Publish(DownSubject, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	want := Down{Target: topic.Group, Path: "C1/C7", Group: 12, Event: "cmd", QoS: 1, Payload: []byte{1, 2, 3}}
	if err := b.SendDown(want); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-got:
		if !reflect.DeepEqual(d, want) {
			t.Fatalf("got %+v", d)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
	}
	stop()
	if err := b.SendDown(want); err != nil {
		t.Fatal(err)
	}
	if err := b.SendDown(Down{QoS: 2}); !errors.Is(err, ErrDown) {
		t.Fatalf("QoS 2: %v", err)
	}
	time.Sleep(20 * time.Millisecond)
	if len(got) != 0 {
		t.Fatal("came after stop")
	}
}

func TestNow(t *testing.T) {
	b := open(t, nil)
	got := make(chan Batch, 10)
	stop, err := b.OnNow(func(x Batch) { got <- x })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.nc.Publish(NowSubject, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	want := Entry{Received: 1_700_000_000_000, Path: "C1/C7", Kind: "meter", ID: "M1", Event: "result", Payload: []byte{1, 2, 3}}
	var e Encoder
	if err := e.Append(&want); err != nil {
		t.Fatal(err)
	}
	if err := b.SendNow(e.Take(nil)); err != nil {
		t.Fatal(err)
	}
	select {
	case x := <-got:
		if es := slices.Collect(x.All()); x.Stream != "" || x.Sequence != 0 || len(es) != 1 || !reflect.DeepEqual(es[0], want) {
			t.Fatalf("%+v: %+v", x, es)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
	}
	stop()
}

func TestEvents(t *testing.T) {
	b := open(t, nil)
	type seen struct{ subject, id string }
	got := make(chan seen, 10)
	stop, err := b.SubscribeEvents("meter.state.>", func(subject string, raw []byte) {
		var ev api.Event
		if err := json.Unmarshal(raw, &ev); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
		got <- seen{subject, ev.Subject}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ev, err := NewEvent("state", "/C1/meter/M.1", "M.1", time.Now(), map[string]int{"a": 1})
	if err != nil || ev.Type != "wattbus.state.v1" || ev.ID == "" || ev.SpecVersion != "1.0" || string(ev.Data) != `{"a":1}` {
		t.Fatalf("%+v, %v", ev, err)
	}
	for _, name := range []string{"reading", "state"} {
		if err := b.PublishEvent("meter", name, "M.1", ev); err != nil {
			t.Fatal(err)
		}
	}
	if s := <-got; s != (seen{"meter.state.M.1", "M.1"}) {
		t.Fatalf("got %+v", s)
	}
	if _, err := NewEvent("x", "", "", time.Now(), make(chan int)); err == nil {
		t.Fatal("a channel was encoded")
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatal("not within 30 s: " + what)
}

func TestEventInterest(t *testing.T) {
	b := open(t, func(o *Options) { o.Listen = "127.0.0.1:0" })
	if b.EventInterest("meter", "reading") {
		t.Fatal("interest without a subscriber")
	}
	// A subscriber in this process to one meter only.
	var calls sync.Map
	stop, err := b.SubscribeEvents("meter.reading.M1", func(s string, _ []byte) { calls.Store(s, true) })
	if err != nil {
		t.Fatal(err)
	}
	if !b.EventInterest("meter", "reading") || b.EventInterest("meter", "state") {
		t.Fatal("the subscriber is not seen")
	}
	stop()
	eventually(t, "interest ends", func() bool { return !b.EventInterest("meter", "reading") })

	// A stranger on the wire.
	nc, err := nats.Connect("nats://" + b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.SubscribeSync("wb.ev.meter.*.*"); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "interest of a stranger", func() bool { return b.EventInterest("meter", "reading") })
	nc.Close()
	eventually(t, "the stranger goes", func() bool { return !b.EventInterest("meter", "reading") })
	calls.Range(func(k, _ any) bool { t.Errorf("a probe reached a subscriber: %v", k); return true })
}

// TestInterestEnds: nothing of a question whether somebody listens outlives the bus.
func TestInterestEnds(t *testing.T) {
	b := open(t, nil)
	x := b.Interest("meter", "reading")
	eventually(t, "the server is asked", func() bool {
		x.Somebody()
		b.interest.mu.Lock()
		defer b.interest.mu.Unlock()
		return x.age != nil
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if x.age.Stop() {
		t.Error("a timer was left running")
	}
	x.fresh.Store(false)
	if x.Somebody() {
		t.Error("somebody listens to a bus that is closed")
	}
}

type sum struct{ A, B int }

func TestRequest(t *testing.T) {
	b := open(t, nil)
	stop, err := Serve(b, "sum", func(ctx context.Context, s sum) (int, error) {
		switch {
		case s.A == 0:
			return 0, fmt.Errorf("sum: %w", api.BadRequest("A", "is 0"))
		case s.A < -1:
			panic("no")
		case s.A < 0:
			return 0, errors.New("secret")
		case s.A == 99:
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return s.A + s.B, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := 1; i <= 20; i++ {
		wg.Go(func() {
			if n, err := Request[sum, int](t.Context(), b, "sum", sum{i, 1}); err != nil || n != i+1 {
				t.Errorf("%d: %d, %v", i, n, err)
			}
		})
	}
	wg.Wait()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, tc := range []struct {
		ctx    context.Context
		name   string
		req    any
		status int
		detail string
	}{
		{t.Context(), "sum", sum{0, 1}, 400, "is 0"},
		{t.Context(), "sum", sum{-1, 1}, 500, "see the log"},
		{t.Context(), "sum", sum{-2, 1}, 500, "see the log"},
		{t.Context(), "sum", "text", 400, "cannot unmarshal"},
		{t.Context(), "nobody", 1, 503, "nobody"},
		{short, "sum", sum{99, 1}, 504, ""},
	} {
		_, err := Request[any, int](tc.ctx, b, tc.name, tc.req)
		var p *api.Problem
		if !errors.As(err, &p) || p.Status != tc.status || !strings.Contains(p.Detail, tc.detail) || strings.Contains(p.Detail, "secret") {
			t.Errorf("%s %v: %v", tc.name, tc.req, err)
		}
	}
	stop()
	if _, err := Request[sum, int](t.Context(), b, "sum", sum{1, 1}); err == nil {
		t.Fatal("answered after stop")
	}
}

func TestAnswerTooLarge(t *testing.T) {
	b := open(t, nil)
	stop, err := Serve(b, "large", func(context.Context, struct{}) (string, error) { return strings.Repeat("x", MaxMessage), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var p *api.Problem
	if _, err := Request[struct{}, string](t.Context(), b, "large", struct{}{}); !errors.As(err, &p) || p.Status != 500 {
		t.Fatal(err)
	}
}

func TestCloseWaitsForAnswers(t *testing.T) {
	b := open(t, nil)
	began, ended := make(chan struct{}), false
	if _, err := Serve(b, "slow", func(context.Context, struct{}) (int, error) {
		close(began)
		time.Sleep(200 * time.Millisecond)
		ended = true
		return 1, nil
	}); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = Request[struct{}, int](context.Background(), b, "slow", struct{}{}) }()
	<-began
	b.Close()
	if !ended {
		t.Fatal("closed under a running handler")
	}
}

func TestListenerNeedsCredentials(t *testing.T) {
	b := open(t, func(o *Options) { o.Listen, o.Username, o.Password = "127.0.0.1:0", "u", "p" })
	if _, err := nats.Connect("nats://" + b.Address()); err == nil {
		t.Fatal("connected without credentials")
	}
	c, err := Open(t.Context(), Options{URL: "nats://" + b.Address(), Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestRequestWithoutTheBus says that the bus is away, in words that need no knowledge of it.
func TestRequestWithoutTheBus(t *testing.T) {
	b := open(t, func(o *Options) { o.Listen, o.Username, o.Password = "127.0.0.1:0", "u", "p" })
	c, err := Open(t.Context(), Options{URL: "nats://" + b.Address(), Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b.Close()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := Request[struct{}, int](t.Context(), c, "meters", struct{}{})
		var p *api.Problem
		if errors.As(err, &p) && p.Status == 503 && p.Detail == "the bus cannot be reached; meters was not asked" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
