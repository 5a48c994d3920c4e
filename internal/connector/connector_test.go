package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

func TestParse(t *testing.T) {
	good := "name: a, type: webhook, url: 'https://h/x', events: [reading]"
	for _, tc := range []struct{ text, want string }{
		{"targets:\n- {name: A, type: webhook}", `target A: name: "A", want 1 to 32 of a-z, 0-9 and -`},
		{"targets:\n- {type: webhook}", `target number 1: name: ""`},
		{"targets:\n- {name: a, type: fax}", `target a: type: "fax", want one of `},
		{"targets:\n- {name: a, type: webhook, url: 'https://h'}", "events: none, want some of reading, profile"},
		{"targets:\n- {name: a, type: webhook, url: 'https://h', events: [readings]}", `events: "readings", want some of`},
		{"targets:\n- {name: a, type: webhook, url: 'https://h', events: [reading, reading]}", "each once"},
		{"targets:\n- {name: a, type: webhook, url: 'ftp://h', events: [reading]}", `url: "ftp://h", want https:// or http://host:port`},
		{"targets:\n- {name: a, type: webhook, url: 'https://u:hush@h', events: [reading]}", "url: it holds a user name; give username and password-file"},
		{"targets:\n- {" + good + ", encoding: xml}", `encoding: "xml", want structured or binary`},
		{"targets:\n- {" + good + ", filter: {paths: ['C1//C2']}}", "filter.paths"},
		{"targets:\n- {" + good + ", filter: {meters: ['a b']}}", "filter.meters"},
		{"targets:\n- {" + good + ", colour: red}", "line 2: field colour not found"},
		{"targets:\n- {" + good + ", timeout: 5}", `"5", want a duration above 0 such as 30s`},
		{"targets:\n- {" + good + ", address: x}", "address"},
		{"targets:\n- {" + good + ", files: {dir: x}}", "files: want these settings with type files"},
		{"targets:\n- {" + good + ", tls: {cert: x}}", "tls.cert and tls.key"},
		{"targets:\n- {" + good + ", password-file: x, password-env: y}", "want one of them"},
		{"targets:\n- {" + good + ", webhook: {parallel: 99}}", "webhook.parallel: 99, want 1 to 64"},
		{"targets:\n- {" + good + "}\n- {" + good + "}", "target a: there are two of this name"},
		{"targets:\n- {name: a, type: files, events: [state]}", "files: want these settings"},
		{"targets:\n- {name: a, type: files, events: [state], files: {}}", "files.dir: want a directory"},
		{"targets:\n- {name: a, type: files, events: [state], files: {dir: x, format: csv}}", `files.format: "csv"`},
		{"targets: 5", "cannot unmarshal"},
		{"a: b", "field a not found"},
	} {
		_, err := Parse([]byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.text, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("secret in %v", err)
		}
	}
	if all, err := Parse([]byte("targets:\n- {" + good + "}")); err != nil || len(all) != 1 || all[0].Encoding != Structured {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := Parse(nil); err != nil || len(all) != 0 {
		t.Errorf("an empty file: %+v, %v", all, err)
	}
}

func TestFilter(t *testing.T) {
	e := bus.OutEvent{Kind: "meter", Name: "reading", ID: "M1", Path: "C1/C7"}
	for _, tc := range []struct {
		s    Spec
		want bool
	}{
		{Spec{Events: []string{"reading"}}, true},
		{Spec{Events: []string{"state"}}, false},
		{Spec{Events: []string{"reading"}, Filter: Filter{Kinds: []string{"ev"}}}, false},
		{Spec{Events: []string{"reading"}, Filter: Filter{Kinds: []string{"ev", "meter"}, Meters: []string{"M1"}}}, true},
		{Spec{Events: []string{"reading"}, Filter: Filter{Meters: []string{"M2"}}}, false},
		{Spec{Events: []string{"reading"}, Filter: Filter{Paths: []string{"C2", "C1"}}}, true},
		{Spec{Events: []string{"reading"}, Filter: Filter{Paths: []string{"C1/C"}}}, false},
	} {
		if got := newFilter(&tc.s).match(&e); got != tc.want {
			t.Errorf("%+v: %v", tc.s, got)
		}
	}
	a, err := parseAddress("wb.{kind}.{name}.{id}")
	if err != nil || a.of(&e) != "wb.meter.reading.M1" || a.fixed() {
		t.Errorf("%v, %v", a, err)
	}
	for _, bad := range []string{"a.{x}", "a.{id"} {
		if _, err := parseAddress(bad); err == nil {
			t.Error(bad)
		}
	}
}

// TestReload: targets come, change, pause and go while the connector runs, and keep their place.
func TestReload(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	one := fmt.Sprintf("targets:\n- {name: hook, type: webhook, url: %q, events: [reading], paused: %%v, filter: {kinds: [meter]}}\n", h.URL)
	r := newRig(t, "")
	r.publish(10) // nobody wants them
	r.reload(fmt.Sprintf(one, false))
	r.until("declared", func() bool { return r.status("hook").State == api.TargetConnected })
	r.publish(10)
	r.until("delivered", func() bool { return h.count() == 10 && r.status("hook").PendingBatches == 0 })
	r.reload(fmt.Sprintf(one, true))
	r.until("paused", func() bool { return r.status("hook").State == api.TargetPaused })
	r.publish(10)
	r.until("they wait", func() bool { return r.status("hook").PendingBatches == 1 })
	r.declare("targets:\n- {name: hook, type: fax}\n")
	if err := r.c.Load(); err == nil || !strings.Contains(err.Error(), r.file) {
		t.Error(err)
	}
	r.reload(fmt.Sprintf(one, false))
	r.until("delivered", func() bool { return h.count() == 20 && r.status("hook").PendingBatches == 0 })
	r.reload("targets: []\n")
	r.until("forgotten", func() bool {
		all, err := r.bus.Targets(t.Context())
		return err == nil && len(all) == 0 && r.bus.Wanted() == nil
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := range 30 {
		if (h.ledger.seen[n] == 1) != (n >= 10) {
			t.Errorf("event %d came %d times", n, h.ledger.seen[n])
		}
	}
}

// TestReplay delivers from a time on once more, to a target that goes on afterwards.
func TestReplay(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	r := newRig(t, fmt.Sprintf("targets:\n- {name: hook, type: webhook, url: %q, events: [reading]}\n", h.URL))
	r.publish(10)
	r.until("delivered", func() bool { return h.count() == 10 })
	mark := time.Now()
	r.publish(10)
	r.until("delivered", func() bool { return h.count() == 20 && r.status("hook").PendingBatches == 0 })
	got, err := bus.Request[api.TargetReplay, api.TargetStatus](t.Context(), r.bus, api.QueryTargetReplay, api.TargetReplay{Name: "hook", From: mark})
	if err != nil || got.Name != "hook" {
		t.Fatalf("%+v, %v", got, err)
	}
	r.publish(10)
	r.until("delivered", func() bool { return h.count() == 30 })
	h.mu.Lock()
	for n := range 30 {
		want := 1
		if n >= 10 && n < 20 {
			want = 2
		}
		if h.ledger.seen[n] != want {
			t.Errorf("event %d came %d times, want %d", n, h.ledger.seen[n], want)
		}
	}
	h.mu.Unlock()
	var p *api.Problem
	if _, err := bus.Request[api.TargetReplay, api.TargetStatus](t.Context(), r.bus, api.QueryTargetReplay, api.TargetReplay{Name: "none", From: mark}); !errors.As(err, &p) || p.Status != 404 {
		t.Error(err)
	}
	if _, err := bus.Request[api.TargetReplay, api.TargetStatus](t.Context(), r.bus, api.QueryTargetReplay, api.TargetReplay{Name: "hook"}); !errors.As(err, &p) || p.Field != "from" {
		t.Error(err)
	}
}

// TestLag: the age of what waits is told from the moment it waits, also for a target that was never there, and over a restart.
func TestLag(t *testing.T) {
	t.Parallel()
	addr := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	r := newRig(t, fmt.Sprintf("targets:\n- {name: hook, type: webhook, url: 'http://%s', events: [reading]}\n- {name: rest, type: webhook, url: 'http://%s', events: [reading], paused: true}\n", addr, addr))
	if s := r.status("hook"); s.LagSeconds != 0 || s.PendingBatches != 0 {
		t.Errorf("%+v", s)
	}
	began := time.Now()
	r.publish(10)
	r.waits("hook", "refused")
	since := r.status("hook").Since
	r.until("it lags", func() bool { s := r.status("hook"); return s.LagSeconds > 0 && s.PendingBatches == 1 })
	time.Sleep(2 * minWait) // it was tried again
	if s := r.status("hook"); !s.Since.Equal(since) || s.State != api.TargetWaiting {
		t.Errorf("away since %v: %+v", since, s)
	}
	r.stop()
	r.run()
	r.publish(10)
	r.waits("hook", "refused")
	for _, name := range []string{"hook", "rest"} {
		var s api.TargetStatus
		r.until("what waits longest counts", func() bool { s = r.status(name); return s.PendingBatches == 2 })
		if age := time.Since(began).Seconds(); s.LagSeconds <= 0 || s.LagSeconds > age {
			t.Errorf("%s: a lag of %v s, after %v s", name, s.LagSeconds, age)
		}
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })}
	served := make(chan error, 1)
	go func() { served <- h.Serve(ln) }()
	t.Cleanup(func() { h.Close(); <-served })
	r.until("all is delivered", func() bool {
		s := r.status("hook")
		return s.Sent == 20 && s.LagSeconds == 0 && s.PendingBatches == 0 && s.State == api.TargetConnected
	})
	if s := r.status("rest"); s.LagSeconds <= 0 || s.PendingBatches != 2 || s.State != api.TargetPaused {
		t.Errorf("%+v", s)
	}
}

// taker is a session that takes so many events and then fails.
type taker struct{ n int }

func (s *taker) gone() <-chan struct{} { return nil }
func (s *taker) close() error          { return nil }
func (s *taker) deliver(_ context.Context, events []bus.OutEvent) (int, []refusal, error) {
	n := min(s.n, len(events))
	if s.n -= n; n < len(events) {
		return n, nil, errors.New("away")
	}
	return n, nil, nil
}

// TestDeliver: what was not kept long enough is counted once, and of a message that was delivered in part only the rest is sent.
func TestDeliver(t *testing.T) {
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Parse([]byte("targets:\n- {name: a, type: webhook, url: 'http://127.0.0.1:1', events: [reading]}"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRunner(all[0], &deps{log: slog.New(slog.DiscardHandler)}, nil, m)
	if err != nil {
		t.Fatal(err)
	}
	batch := func(seq uint64, events int) *bus.OutBatch {
		var enc bus.OutEncoder
		for n := range events {
			e := event(n)
			enc.Append(&e)
		}
		b, err := bus.DecodeOut(enc.Take()[0])
		if err != nil {
			t.Fatal(err)
		}
		b.Sequence, b.Time = seq, time.Now()
		return &b
	}
	r.last = 3
	for _, tc := range []struct {
		seq         uint64
		takes, want int
		fails       bool
		lost        int64
	}{
		{4, 10, 10, false, 0},
		{8, 4, 4, true, 3}, // 5, 6 and 7 are gone
		{8, 2, 2, true, 3},
		{8, 9, 4, false, 3},
		{9, 10, 10, false, 3},
		{12, 0, 0, true, 5},
		{13, 10, 10, false, 6}, // 12 went meanwhile
		{13, 10, 0, false, 6},  // comes again
		{9, 10, 0, false, 6},
	} {
		n, err := r.deliver(t.Context(), &taker{tc.takes}, batch(tc.seq, 10))
		if n != tc.want || (err != nil) != tc.fails || r.status.LostBatches != tc.lost {
			t.Errorf("message %d: %d delivered, %v, %d lost; want %+v", tc.seq, n, err, r.status.LostBatches, tc)
		}
	}
	if r.status.Sent != 40 {
		t.Errorf("%d sent", r.status.Sent)
	}
}

func TestTry(t *testing.T) {
	dir := t.TempDir()
	part := filepath.Join(dir, "a-20261129T010203.123Z.jsonl.part")
	if err := os.WriteFile(part, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Parse(fmt.Appendf(nil, "targets:\n- {name: a, type: files, events: [state], files: {dir: %q}}\n- {name: b, type: webhook, url: 'http://127.0.0.1:1', events: [state], webhook: {secret-env: WATTBUS_TEST_NONE}}", dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := Try(t.Context(), all[0], true); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(part); err != nil || string(text) != "half" {
		t.Errorf("looking at a target finished its file: %q, %v", text, err)
	}
	if all[1].Webhook.SecretEnv = ""; Try(t.Context(), all[1], true) == nil {
		t.Error("a webhook that is not there was reached")
	}
	all[1].Webhook.SecretEnv = "WATTBUS_TEST_NONE"
	if err := Try(t.Context(), all[1], false); err == nil || !strings.Contains(err.Error(), "the environment has no WATTBUS_TEST_NONE") {
		t.Error(err)
	}
}
