package outage

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/record"
)

// TestRecloserWords: a recloser opens three times, nothing of which is noticed, and a meter tells of each by its own word. These are three
// interruptions, none of which ends before it begins.
func TestRecloserWords(t *testing.T) {
	w := newTown(t, 2, 4)
	w.after(10 * time.Minute)
	from := w.at
	var want [][2]uint32
	for _, at := range []uint32{0, 7, 20} {
		w.at = from + at + 5
		w.restored("M1", 5)
		want = append(want, [2]uint32{from + at, from + at + 5})
	}
	w.restored("M1", 5) // comes twice
	w.seconds(5)
	w.wantCuts("M1", want...)
	w.sound()
}

// TestGoesAgainAtOnce: a meter's word that its supply is back, and that it went again, come together. It was away until it came back for good.
func TestGoesAgainAtOnce(t *testing.T) {
	w := newTown(t, 2, 4)
	w.after(10 * time.Minute)
	went := w.at
	w.gasp("M1")
	w.seconds(2)
	w.at++
	w.restored("M1", 3)
	w.at++
	w.gasp("M1")
	w.seconds(2)
	w.after(time.Hour)
	w.back("M1") // its battery was empty: it does not know for how long
	w.seconds(5)
	w.wantCuts("M1", [2]uint32{went, w.at - 5})
	w.sound()

	// The other way round on the way.
	went = w.at
	w.gasp("M2")
	w.seconds(2)
	w.at += 2
	w.gasp("M2")
	w.e.OnPower(w.m("M2"), w.path("M2"), record.Power{Header: record.Header{Time: w.at - 1}, Kind: record.PowerRestored, Sequence: uint16(w.at - 1), OnBattery: 3}, w.at)
	w.seconds(2)
	w.after(time.Hour)
	w.back("M2")
	w.seconds(5)
	w.wantCuts("M2", [2]uint32{went, w.at - 5})
	w.sound()
}
