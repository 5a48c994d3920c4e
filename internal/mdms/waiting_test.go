package mdms

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

// TestDaysWaitToBeSealed has the day of 40 series end in one commit, which seals some of them, as do those behind it. The account stays
// the same over all of them, with restarts between: what is there, what is missing, what counts as received, and what a late value makes
// of a day that waits.
func TestDaysWaitToBeSealed(t *testing.T) {
	t.Parallel()
	const devices, slots, lack = 20, 48, 7
	day := cim.DayOf(t0) + 1
	b := newBook(t, devices, 30, (day+1).Start()+5)
	b.pieces = 3
	b.l.waiting.atOnce, b.l.waiting.most = b.pieces, 1000
	rnd := rand.New(rand.NewPCG(5, 5))
	truths := make([]truth, len(b.series))
	for k, s := range b.series {
		truths[k] = newTruth(rnd, day.Start(), 1800, slots+2)
		must[struct{}](t)(struct{}{}, b.l.expect(s, day.Start()))
		for i := range slots + 1 {
			if k != lack || i != 20 {
				must[bool](t)(b.l.reading(s, truths[k].start+uint32(i)*1800, truths[k].reg[i], b.now))
			}
		}
	}
	late := 0 // intervals that came again in a profile, with another value
	check := func(when string) {
		t.Helper()
		want := [2]int64{int64(len(b.series)*slots - 2 - late), int64(late)}
		if got := [2]int64{b.l.total.received, b.l.total.recovered}; got != want {
			t.Fatalf("%s: %v received and recovered, want %v", when, got, want)
		}
		for k, s := range b.series {
			missing := 0
			if k == lack {
				missing = 2
			}
			if n := s.missing(s.finished(b.now)); n != missing {
				t.Fatalf("%s: series %d misses %d, want %d", when, k, n, missing)
			}
			if r := s.find(day); r != nil && !r.block && s.kept() >= (day+1).Start() {
				t.Fatalf("%s: series %d is kept as complete to %d, and its day is not sealed", when, k, s.kept())
			}
			for i, wh := range b.values(s, day.Start(), (day + 1).Start()) {
				if want := truths[k].wh(i); wh != want && (k != lack || i != 19 && i != 20) {
					t.Fatalf("%s: series %d slot %d: %d, want %d", when, k, i, wh, want)
				}
			}
		}
	}
	sealed := func() int {
		n := 0
		for _, s := range b.series {
			if s.find(day) == nil {
				n++
			}
		}
		return n
	}
	for turn := 1; ; turn++ {
		c := b.commit()
		check(fmt.Sprintf("turn %d", turn))
		if len(c.Blocks) > b.pieces {
			t.Fatalf("turn %d: %d blocks in a commit, want %d at most", turn, len(c.Blocks), b.pieces)
		}
		switch turn {
		case 4, 8:
			b.restart((*series).kept)
			b.l.waiting.most = 1000
			check("opened again")
		case 5: // of a day that waits, the last one, a value changes
			k := len(b.series) - 1
			for i := 30; i < len(truths[k].reg); i++ {
				truths[k].reg[i] += 10
			}
			late++
			must[int](t)(b.l.profile(b.series[k], truths[k].part(29, 1, b.series[k].channel), b.now))
		}
		if len(b.l.waiting.over) == 0 {
			break
		}
	}
	if n, want := sealed(), len(b.series)-1; n != want {
		t.Fatalf("%d days sealed, want %d", n, want)
	}
	if z, err := b.st.Size(t.Context()); err != nil || z.BlockIntervals != int64(len(b.series)-1)*slots {
		t.Fatalf("%+v, %v", z, err)
	}
}

// TestNoMoreDaysWaitThanMay has days come faster than commits seal them: from some number on as many are sealed as come.
func TestNoMoreDaysWaitThanMay(t *testing.T) {
	t.Parallel()
	const devices, days = 10, 9
	day := cim.DayOf(t0) + 1
	b := newBook(t, devices, 60, (day + days).Start())
	b.l.waiting.atOnce, b.l.waiting.most = 1, 30
	tr := newTruth(rand.New(rand.NewPCG(6, 6)), day.Start(), 3600, days*24)
	for _, s := range b.series {
		must[struct{}](t)(struct{}{}, b.l.expect(s, day.Start()))
	}
	for d := range days {
		for _, s := range b.series {
			for i := range 24 {
				must[int](t)(b.l.profile(s, tr.part(d*24+i, 1, s.channel), b.now))
			}
		}
		b.commit()
		if n := len(b.l.waiting.over); n > 30+len(b.series) {
			t.Fatalf("day %d: %d days wait", d, n)
		}
	}
	b.settle()
	for k, s := range b.series {
		for _, r := range s.rows {
			if r.day < day+days {
				t.Fatalf("series %d: %v is not sealed", k, r.day)
			}
		}
	}
}
