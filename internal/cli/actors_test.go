package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

func (j *journal) actor(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		j.add(name)
		return ctx.Err()
	}
}

func TestActorsStopInOppositeOrder(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	a := actors{stopping: func(n string) { j.add("stop " + n) }}
	a.addReady("centre", j.actor("centre"), func(context.Context) error { return nil })
	a.add("concentrator", j.actor("concentrator"))
	a.addReady("meters", j.actor("meters"), func(context.Context) error { cancel(); return nil })
	if err := a.run(ctx); err != nil {
		t.Fatal(err)
	}
	want := []string{"stop meters", "meters", "stop concentrator", "concentrator", "stop centre", "centre"}
	if !slices.Equal(j.lines, want) {
		t.Fatalf("%q, want %q", j.lines, want)
	}
}

func TestActorThatFailsStopsTheRest(t *testing.T) {
	var j journal
	boom := errors.New("boom")
	a := actors{}
	a.add("centre", j.actor("centre"))
	a.addReady("meters", func(context.Context) error { return boom }, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	a.add("never", j.actor("never"))
	err := a.run(t.Context())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "meters: boom") {
		t.Fatal(err)
	}
	if !slices.Equal(j.lines, []string{"centre"}) {
		t.Fatalf("%q", j.lines)
	}
}

func TestActorNotReady(t *testing.T) {
	var j journal
	a := actors{}
	a.addReady("centre", j.actor("centre"), func(context.Context) error { return errors.New("port in use") })
	a.add("never", j.actor("never"))
	if err := a.run(t.Context()); err == nil || err.Error() != "centre: port in use" {
		t.Fatal(err)
	}
	if !slices.Equal(j.lines, []string{"centre"}) {
		t.Fatalf("%q", j.lines)
	}
}
