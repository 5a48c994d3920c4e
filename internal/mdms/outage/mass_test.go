package outage

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
)

// TestWillsOfManyConcentrators: no meter has a battery, and all meters of some concentrators go within a minute.
func TestWillsOfManyConcentrators(t *testing.T) {
	const perTransformer = 6
	all := func(int) bool { return true }
	for _, tc := range []struct {
		name  string
		conc  func(i int) int // of the meter i, whose transformer is i/6+1: T1 to T4 on lateral L1, the others on L2 to L5
		goes  func(i int) bool
		power bool // L1 is out
	}{
		{"one of them, a transformer each", func(i int) int { return i / perTransformer }, func(i int) bool { return i < perTransformer }, false},
		{"those of a lateral", func(i int) int { return i / perTransformer }, func(i int) bool { return i/perTransformer < 4 }, true},
		{"those of a lateral, and they stay elsewhere", func(i int) int { return i % 4 * 2 / (1 + i/(4*perTransformer)) }, func(i int) bool { return i/perTransformer < 4 }, true},
		{"their concentrators lose the others, too", func(i int) int {
			if i < 8*perTransformer {
				return i % 4
			}
			return 4 + i/perTransformer
		}, func(i int) bool { return i/perTransformer < 8 }, false},
		{"all that there are", func(i int) int { return i / perTransformer }, all, false},
		{"two concentrators of a lateral", func(i int) int { return i / (2 * perTransformer) }, func(i int) bool { return i/perTransformer < 4 }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &town{world: newWorld(t), of: map[string][]string{}}
			const n = 20 * perTransformer
			path := func(i int) string { return fmt.Sprintf("C%d", tc.conc(i)+1) }
			id := func(i int) string { return fmt.Sprintf("M%d", i+1) }
			for i := range n {
				w.status("", path(i), "online")
				w.e.OnLocation(w.m(id(i)), path(i), record.Location{Header: w.head(0), Sequence: 1, Interval: 30, Capabilities: record.CapBreaker}, w.at)
				tr := i/perTransformer + 1
				w.e.Placed(w.m(id(i)), Place{"S1", "F1", fmt.Sprintf("L%d", (tr-1)/4+1), fmt.Sprintf("T%d", tr)})
			}
			w.after(5 * time.Minute)
			for i := range n {
				w.reading(id(i), path(i))
			}
			w.after(5 * time.Minute)
			for i := range n {
				if tc.goes(i) {
					w.will(id(i), path(i), 1)
					if i%3 == 0 {
						w.seconds(1)
					}
				} else {
					w.reading(id(i), path(i))
				}
			}
			for range 150 {
				w.e.Pings()
				w.seconds(1)
			}
			for i := range n {
				if !tc.goes(i) {
					w.reading(id(i), path(i))
				}
			}
			w.seconds(5)
			for i := range n {
				want := api.VerdictSupplied
				if tc.goes(i) {
					want = api.VerdictCommLost
				}
				if tc.power && i/perTransformer < 4 {
					want = api.VerdictPowerLost
				}
				w.verdict(want, id(i))
			}
			if tc.power {
				w.supplyCases("lateral L1, 24 open")
			} else {
				w.supplyCases()
			}
		})
	}
}

// TestMassAndARestart: a lateral that is out by the wills of its concentrators' meters stays out behind a restart, and there is one
// interruption of each meter.
func TestMassAndARestart(t *testing.T) {
	w := &town{world: newWorld(t), of: map[string][]string{}}
	const perTransformer, n = 6, 120
	path := func(i int) string { return fmt.Sprintf("C%d", i/perTransformer+1) }
	id := func(i int) string { return fmt.Sprintf("M%d", i+1) }
	goes := func(i int) bool { return i/perTransformer < 4 }
	place := func(i int) {
		tr := i/perTransformer + 1
		w.e.Placed(w.m(id(i)), Place{"S1", "F1", fmt.Sprintf("L%d", (tr-1)/4+1), fmt.Sprintf("T%d", tr)})
	}
	w.placed = func() {
		for i := range n {
			place(i)
		}
	}
	join := func(i int, seq uint32) {
		w.e.OnLocation(w.m(id(i)), path(i), record.Location{Header: w.head(0), Sequence: seq, Interval: 30, Capabilities: record.CapBreaker}, w.at)
	}
	for i := range n {
		w.status("", path(i), "online")
		join(i, 1)
		place(i)
	}
	w.after(5 * time.Minute)
	for i := range n {
		w.reading(id(i), path(i))
	}
	w.after(5 * time.Minute)
	for i := range n {
		if goes(i) {
			w.will(id(i), path(i), 1)
		} else {
			w.reading(id(i), path(i))
		}
	}
	for range 150 {
		w.e.Pings()
		w.seconds(1)
	}
	w.supplyCases("lateral L1, 24 open")
	for range 2 {
		w.restart()
		for range 120 {
			w.seconds(1)
		}
		for i := range n {
			if !goes(i) {
				w.reading(id(i), path(i))
			}
		}
		w.after(10 * time.Minute)
		for i := range n {
			if goes(i) {
				w.verdict(api.VerdictPowerLost, id(i))
			}
		}
		w.supplyCases("lateral L1, 24 open")
	}
	for i := range n {
		if goes(i) {
			join(i, 2)
			w.seconds(1)
		}
	}
	w.seconds(120)
	for i := range n {
		if got := w.cutsOf(id(i)); goes(i) && (len(got) != 1 || got[0].End == 0) || !goes(i) && len(got) > 0 {
			t.Errorf("%s: %+v", id(i), got)
		}
	}
	w.sound()
}
