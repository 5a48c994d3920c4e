package outage

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestRestartLongAfter: the centre is restarted an hour after an outage began, which changes nothing: neither the verdicts nor the
// interruptions.
func TestRestartLongAfter(t *testing.T) {
	for _, tc := range []struct {
		name  string
		gasps int // of each transformer
		goes  func(i int) bool
		trs   int
		back  int // transformers whose supply comes back before the restart
	}{
		{"feeder by last gasps", 2, func(int) bool { return true }, 6, 0},
		{"feeder, some stay", 2, func(i int) bool { return i != 5 }, 6, 0},
		{"feeder, half of it is back", 2, func(int) bool { return true }, 6, 3},
		{"feeder, all but one transformer is back", 2, func(int) bool { return true }, 6, 5},
		{"transformer by last gasps", 2, func(int) bool { return true }, 1, 0},
		{"transformer by wills", 0, func(int) bool { return true }, 1, 0},
		{"phase by last gasps", 2, func(i int) bool { return i < 3 }, 1, 0},
		{"meter by its last gasp", 1, func(i int) bool { return i < 1 }, 1, 0},
		{"meter by its will", 0, func(i int) bool { return i < 1 }, 1, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var first string
			for _, restarts := range []int{0, 1, 2} {
				w := newTown(t, 6, 9)
				w.after(10 * time.Minute)
				var names, gone []string
				for tr := range w.of {
					names = append(names, tr)
				}
				slices.Sort(names)
				var rest []string
				for n, tr := range names {
					ids := w.of[tr]
					for i, id := range ids {
						if n < tc.trs && tc.goes(i) {
							gone = append(gone, id)
							if i < tc.gasps {
								w.gasp(id)
							}
						} else {
							rest = append(rest, id)
						}
					}
				}
				w.seconds(60)
				w.wills(gone...)
				more := func(minutes int) {
					for range minutes {
						for range 6 {
							w.after(10 * time.Second)
						}
						w.alive(rest...)
					}
				}
				more(60)
				for _, tr := range names[:tc.back] {
					w.back(w.of[tr]...)
					gone = slices.DeleteFunc(gone, func(id string) bool { return slices.Contains(w.of[tr], id) })
					rest = append(rest, w.of[tr]...)
				}
				if tc.back > 0 {
					more(1)
				}
				for range restarts {
					w.restart()
					more(30)
				}
				if restarts < 2 {
					more(30 * (2 - restarts))
				}
				got := ""
				for _, id := range append(slices.Clone(gone), rest...) {
					got += fmt.Sprint(id, " ", w.e.Verdict(w.m(id), true).State, "\n")
				}
				w.back(gone...)
				more(5)
				for _, id := range append(slices.Clone(gone), rest...) {
					for _, c := range w.cutsOf(id) {
						got += fmt.Sprint(id, " ", c.Start, " ", c.End, "\n")
					}
				}
				w.sound()
				if restarts == 0 {
					first = got
				} else if got != first {
					t.Errorf("%d restarts:\n%s\nnone:\n%s", restarts, got, first)
				}
			}
		})
	}
}

// TestNoAnswerStays: what a meter's interruption rests on, pings that it did not answer, does not lapse while it is not heard, and is not lost at
// a restart.
func TestNoAnswerStays(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newStillTown(t, 2, 9, 1)
		w.after(10 * time.Minute)
		all, went := w.of["T1"], w.at
		w.gasp(all[:6]...)
		seconds := func(n int) {
			for range n {
				w.e.Pings()
				w.seconds(1)
			}
		}
		seconds(90)
		w.verdict("power-lost", all...)
		if restart {
			w.restart()
		}
		seconds(20 * 60)
		w.wills(all[0]) // something that has all be looked at
		seconds(60)
		w.verdict("power-lost", all...)
		w.back(all...)
		seconds(60)
		for _, id := range all {
			if c := w.cutsOf(id); len(c) != 1 || c[0].Start != went || c[0].End < w.at-60 {
				t.Errorf("%s: %+v", id, c)
			}
		}
		w.sound()
	}
}
