package outage

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// still lets the centre stand still for so much wall time: nothing is heard, and nothing ticks.
func (w *town) still(d time.Duration) {
	wall := w.e.o.Wall()
	w.at += uint32(d.Seconds() * w.speed)
	at, begun := w.at, wall.Add(d)
	w.e.o.Wall = func() time.Time { return begun.Add(time.Duration(float64(w.at-at) / w.speed * float64(time.Second))) }
	w.tick()
}

func newStillTown(t *testing.T, transformers, n int, speed float64) *town {
	w := newTown(t, transformers, n)
	w.speed = speed
	at, begun := w.at, time.Unix(0, 0)
	w.o.Wall = func() time.Time { return begun.Add(time.Duration(float64(w.at-at) / speed * float64(time.Second))) }
	w.e.o.Wall = w.o.Wall
	w.e.tokensAt = begun
	w.tick()
	return w
}

// TestStandstillIsNoSilence: what could not be heard while the centre stood still is no silence, however often that is; who is silent
// afterwards is found all the same.
func TestStandstillIsNoSilence(t *testing.T) {
	w := newStillTown(t, 2, 6, 60)
	for range 8 {
		w.wall(10, w.of["T1"]...)
		w.alive(w.of["T2"]...)
		w.still(2 * time.Minute) // two hours of theirs
		w.wall(5)                // their messages are on their way
		w.alive(w.of["T1"]...)
		w.alive(w.of["T2"]...)
	}
	if n := w.e.Stats().Silences; n != 0 {
		t.Errorf("%d silences", n)
	}
	w.wantCases()
	for range 4 { // T2's meters say nothing any more, and the centre stands still again and again
		w.still(20 * time.Second)
		w.wall(60, w.of["T1"]...)
	}
	w.verdict(api.VerdictSupplied, w.of["T1"]...)
	if n := w.e.Stats().Silences; n != 6 {
		t.Errorf("%d silences, want 6", n)
	}
	w.sound()
}

// TestStandstillAmongWills: the links of all meters of a transformer fail, as in TestFewWithoutGasps, and they are back before anybody would
// say more than that; but the centre stands still and hears of that late.
func TestStandstillAmongWills(t *testing.T) {
	for _, still := range []bool{false, true} {
		w := newStillTown(t, 4, 3, 1)
		for _, ids := range w.of {
			w.alive(ids...)
		}
		w.seconds(60)
		for _, id := range w.of["T1"] {
			w.wills(id)
			w.seconds(10)
		}
		if still {
			w.still(3 * time.Minute)
		} else {
			w.seconds(30)
		}
		w.seconds(10)
		w.back(w.of["T1"]...)
		w.seconds(300)
		w.supplyCases()
		if len(w.cuts) != 0 {
			t.Errorf("still %v: %+v", still, w.cuts)
		}
	}
}

// TestStandstillOfAnswers: who was asked cannot be blamed for what the centre did not hear; it is asked anew.
func TestStandstillOfAnswers(t *testing.T) {
	w := newStillTown(t, 2, 12, 1)
	w.alive(w.of["T1"]...)
	w.seconds(60)
	w.wills("M1", "M2", "M3", "M5", "M6")
	w.tick()
	asked := w.e.Pings()
	if len(asked) != 3 {
		t.Fatalf("%d asked", len(asked))
	}
	w.seconds(31)
	w.e.Pings() // the second time
	w.still(time.Minute)
	for _, d := range asked {
		if t := w.e.track(d); w.e.missed(t, w.at) {
			w.t.Errorf("%s did not answer", d.ID)
		}
	}
	w.seconds(2)
	if n := len(w.e.Pings()); n != 3 {
		t.Errorf("%d asked anew", n)
	}
	w.sound()
}

// TestStandstillOfALeave: a concentrator that took its leave, and one that is back, have their time all the same.
func TestStandstillOfALeave(t *testing.T) {
	w := newStillTown(t, 2, 12, 1)
	w.seconds(10)
	w.status("", "C1", "offline")
	w.seconds(20)
	w.still(5 * time.Minute)
	w.seconds(20)
	w.status("", "C1", "online")
	w.seconds(10)
	w.wantCases()
	w.still(5 * time.Minute)
	w.want("M1", api.StateUnreachable) // it settles still
	w.seconds(20)
	w.alive("M1")
	w.want("M1", api.StateOnline)
	w.check()
}
