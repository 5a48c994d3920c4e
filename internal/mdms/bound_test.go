package mdms

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

// TestRemovalDay: what came on the day on which a meter was removed outlives restarts, on that day and on the next.
func TestRemovalDay(t *testing.T) {
	t.Parallel()
	const slots = 20 // until it was removed
	b := newBook(t, 1, 30, t0)
	start := (cim.DayOf(t0) + 1).Start()
	tr := newTruth(rand.New(rand.NewPCG(1, 2)), start, 1800, 48)
	s := b.series[0]
	must[struct{}](t)(struct{}{}, b.l.expect(s, start))
	b.l.bound(s, start, start+slots*1800)
	for i := range slots + 1 { // the first tells the register only
		b.now = start + uint32(i)*1800 + 5
		must[bool](t)(b.l.reading(s, start+uint32(i)*1800, tr.reg[i], b.now))
		b.commit()
	}
	want := b.values(s, start, start+slots*1800)
	if s.complete != start+slots*1800 || slices.Contains(want, cim.NoValue) {
		t.Fatalf("complete to slot %d: %v", (s.complete-start)/1800, want)
	}
	for _, now := range []uint32{b.now + 60, start + 86400 + 5, start + 2*86400 + 5} {
		b.restart((*series).kept)
		s = b.series[0]
		b.l.bound(s, start, start+slots*1800)
		b.now = now
		b.commit()
		if got := b.values(s, start, start+slots*1800); !slices.Equal(got, want) {
			t.Fatalf("%d s into the day: %v, want %v", now-start, got, want)
		}
	}
}
