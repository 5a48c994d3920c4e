package cli

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/fleet"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
)

// pages is a writer that can be waited on.
type pages struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *pages) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *pages) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// await waits until what was written holds want.
func (p *pages) await(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(p.String(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q in:\n%s", want, p.String())
		}
	}
}

// start runs a command line until the returned function is called, which returns its exit status.
func start(t *testing.T, args ...string) (out, errs *pages, stop func() int) {
	t.Helper()
	out, errs = &pages{}, &pages{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- Main(ctx, args, Stdio{Out: out, Err: errs, Env: func(string) (string, bool) { return "", false }})
	}()
	stop = sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	return out, errs, stop
}

// freeAddress is one where nothing listens, most likely for a while.
func freeAddress(t *testing.T) string {
	t.Helper()
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

func TestMeterTells(t *testing.T) {
	addr := freeAddress(t)
	_, errs, stop := start(t, "meter", "--id", "M1", "--concentrator", "mqtt://"+addr)
	errs.await(t, `msg="meter starts" meter=M1 concentrator=mqtt://`+addr)
	errs.await(t, `msg="cannot reach the concentrator, trying again" meter=M1`)
	_, berrs, bstop := start(t, "broker", "--mqtt", addr)
	_ = berrs
	errs.await(t, "msg=connected meter=M1")
	bstop()
	errs.await(t, `msg="connection lost, trying again" meter=M1`)
	if status := stop(); status != ExitDone {
		t.Errorf("status %d", status)
	}
	errs.await(t, `msg="meter stopped" meter=M1 readings=0`)
}

func TestFleetTells(t *testing.T) {
	_, errs, stop := start(t, "fleet", "--meters", "3", "--concentrator", "mqtt://"+freeAddress(t))
	errs.await(t, `msg="fleet starts" meters=3`)
	if status := stop(); status != ExitDone {
		t.Errorf("status %d", status)
	}
	errs.await(t, `msg="fleet stopped" meters=3 connected=0 registered=0 readings=0`)
}

func TestMeterTale(t *testing.T) {
	var text pages
	tale := newMeterTale(slog.New(slog.NewTextHandler(&text, nil)), "M1")
	s := meter.Status{Powered: true, Breaker: record.BreakerClosed, Interval: 30, URL: "mqtt://x"}
	step := func(change func()) string {
		before := len(text.String())
		change()
		tale.changed(s)
		return text.String()[before:]
	}
	refused := errors.New("connection refused")
	for _, tc := range []struct {
		name, want string
		change     func()
	}{
		{"nothing yet", "", func() {}},
		{"a failure", "cannot reach the concentrator", func() { tale.disconnected("mqtt://x", refused) }},
		{"the same again", "", func() { tale.disconnected("mqtt://x", refused) }},
		{"another", "cannot reach", func() { tale.disconnected("mqtt://x", errors.New("no route")) }},
		{"connected", "msg=connected", func() { s.Connected = true }},
		{"registered", "msg=\"registered; by which path is the centre's to know\" meter=M1 sequence=7", func() { s.Registered, s.Sequence = true, 7 }},
		{"breaker", "breaker=open", func() { s.Breaker = record.BreakerOpen }},
		{"interval", "minutes=15", func() { s.Interval = 15 }},
		{"groups", "groups=[12]", func() { s.Groups = []uint32{12} }},
		{"left in order", "", func() { tale.disconnected("mqtt://x", nil) }},
		{"lost", "connection lost", func() { tale.disconnected("mqtt://x", refused); s.Connected, s.Registered = false, false }},
	} {
		if got := step(tc.change); tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	attrs := fleetAttrs(fleet.Stats{Meters: 2, Moves: 1})
	if len(attrs) != 14 || attrs[12] != "moves" {
		t.Errorf("%v", attrs)
	}
}

// TestMeterTaleBreaker: a breaker that was open when the meter started was not switched.
func TestMeterTaleBreaker(t *testing.T) {
	p := &pages{}
	tale := newMeterTale(slog.New(slog.NewTextHandler(p, nil)), "M1")
	tale.changed(meter.Status{Powered: true, Breaker: record.BreakerOpen, Groups: []uint32{7}})
	if s := p.String(); !strings.Contains(s, "breaker as it was before") || strings.Contains(s, "switched") || strings.Contains(s, "groups") {
		t.Error(s)
	}
	tale.changed(meter.Status{Powered: true, Breaker: record.BreakerClosed, Groups: []uint32{7}})
	if s := p.String(); strings.Count(s, "breaker switched") != 1 {
		t.Error(s)
	}
}
