package mdms

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
)

// TestHearing: while batches wait, the outage engine's clock shows when the newest one that was entered came, and never goes back.
func TestHearing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const speed = 60
		clk := clock.New(time.Unix(1_000_000, 0), speed)
		h := hearing{clock: clk}
		turn := func() { h.turn(time.Now()) }
		ago := func(d time.Duration) time.Time { return clk.Now().Add(-d * speed) }
		want := func(what string, late time.Duration) {
			t.Helper()
			if got := clk.Now().Sub(h.Now()); got != late*speed {
				t.Errorf("%s: %v behind, want %v", what, got, late*speed)
			}
			if d := h.Deadline(time.Second).Sub(h.Now()); d != speed*time.Second {
				t.Errorf("%s: a second is %v", what, d)
			}
		}
		turn()
		want("no batch yet", 0)
		time.Sleep(time.Second)
		h.heard(ago(time.Second), time.Second, 3, time.Now())
		want("some wait, but not for long", 0)
		turn()
		time.Sleep(2 * time.Minute) // the MDMS stands still
		h.heard(ago(100*time.Second), 100*time.Second, 3, time.Now())
		want("three wait", 100*time.Second)
		turn()
		time.Sleep(time.Second)
		turn()
		h.heard(ago(40*time.Second), 40*time.Second, 1, time.Now())
		want("one waits", 40*time.Second)
		turn()
		h.heard(ago(60*time.Second), 60*time.Second, 1, time.Now()) // by another of several clocks
		want("one that came before", 40*time.Second)
		turn()
		h.heard(ago(30*time.Second), 30*time.Second, 0, time.Now())
		want("none waits", 0)
		turn()
		h.heard(ago(50*time.Second), 50*time.Second, 2, time.Now())
		want("it does not go back", 0)
		turn()
		time.Sleep(hearsNone + time.Second)
		turn()
		want("the others never came", 0)
	})
}

// TestJudgedByWhenItCame: a meter's will and its return wait on the bus, with other things behind them. The outage engine's time is that of
// the batches, whatever the wall clock says by then.
func TestJudgedByWhenItCame(t *testing.T) {
	t.Parallel()
	clk := clock.New(at(3), 60)
	m := bare(t, clk)
	enter := func(seq uint64, ago time.Duration, behind uint64) {
		b := batch(t, seq, func(add func(path, id, event string, payload []byte)) {
			add("C1", "M1", "reading", record.Reading{Header: record.Header{Time: t0}}.Append(nil))
		})
		b.Time, b.Behind = time.Now().Add(-ago), behind
		if _, err := m.turn(t.Context(), []*work{{batches: []bus.Batch{b}, done: make(chan error, 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	late := func() time.Duration { return clk.Now().Sub(m.hearing.Now()) }
	m.hearing.shown = clk.Now().Add(-time.Hour) // it was an hour ago, a minute of the wall clock, that something was heard last
	m.hearing.at = m.hearing.shown
	m.hearing.since = time.Now()
	enter(1, 40*time.Second, 2)
	if d := late(); d < 39*time.Minute || d > 50*time.Minute {
		t.Errorf("%v late, want 40m", d)
	}
	enter(2, 20*time.Second, 1)
	if d := late(); d < 19*time.Minute || d > 30*time.Minute {
		t.Errorf("%v late, want 20m", d)
	}
	enter(3, 10*time.Second, 0)
	if d := late(); d > time.Minute {
		t.Errorf("%v late, and none waits", d)
	}
}
