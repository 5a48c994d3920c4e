package mdms

import (
	"cmp"
	"math"
	"slices"
)

const (
	sealAtOnce = 256     // days that a commit seals at least, if so many wait
	sealPart   = 256     // or one of so many that wait
	sealMost   = 1 << 17 // days that may wait before as many are sealed as come
)

// waiting are days that are to be sealed. For all meters a day ends at the same moment; sealed in one commit, their days would hold up
// everything else for a second. So they wait, in chunks like any open day, and each commit seals some of them, those that came first.
//
//	whole ──> ahead ──> over ──> block
//	whole, the day over ──┘
//	gaps given up ────────┘
//
// Ahead are the days of meters whose clocks are ahead: they are not over for the centre.
type waiting struct {
	over, ahead []*dayRow
	look        uint32 // when one of ahead may be over
	came        int    // into over since the last commit, not from ahead
	atOnce      int
	most        int
}

// add has a day wait, unless it does.
func (w *waiting) add(r *dayRow, now uint32) {
	switch {
	case r.waits:
		return
	case r.end() <= now:
		w.over = append(w.over, r)
		w.came++
	default:
		w.ahead = append(w.ahead, r)
		w.look = min(w.look, r.end())
	}
	r.waits = true
}

// turn looks for days of ahead that are over by now, and returns how many days the next commit may seal.
func (w *waiting) turn(now uint32) int {
	if len(w.ahead) > 0 && w.look <= now {
		w.look = math.MaxUint32
		w.ahead = slices.DeleteFunc(w.ahead, func(r *dayRow) bool {
			if r.end() <= now {
				w.over = append(w.over, r)
				return true
			}
			w.look = min(w.look, r.end())
			return false
		})
	}
	n := max(w.atOnce, len(w.over)/sealPart)
	if len(w.over) > w.most {
		n = max(n, w.came)
	}
	w.came = 0
	return n
}

// take returns up to n days that are to be sealed now, in the order in which the store keeps them.
func (w *waiting) take(n int) (due []*dayRow) {
	for len(w.over) > 0 && len(due) < n {
		r := w.over[0]
		w.over[0] = nil
		w.over = w.over[1:]
		r.waits = false
		switch {
		case r.block || r.s.find(r.day) != r || !r.whole() && !r.closing: // by now
		case r.whole() && !r.s.reaches(r.day):
			r.waits = true
			w.ahead = append(w.ahead, r)
			w.look = 0
		default:
			due = append(due, r)
		}
	}
	if len(w.over) == 0 {
		w.over = nil
	}
	slices.SortFunc(due, byDay)
	return due
}

// byDay is the order in which the store keeps days.
func byDay(a, b *dayRow) int {
	return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.s.device, b.s.device), cmp.Compare(a.s.channel, b.s.channel))
}
