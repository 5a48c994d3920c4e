package mdms

import (
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// arrival says which deadlines the first value of an interval missed: bit i for deadline i of the ledger. What came later, the
// same value again or a better one, does not change it.
type arrival uint8

// arrivalUnknown marks a value of which is not known when it came; it counts for no deadline.
const arrivalUnknown arrival = 1 << maxDeadlines

// byDeadline counts first arrivals of expected intervals.
type byDeadline struct{ inTime, late int64 }

// setDeadlines sets what arrivals are counted by, before anything is entered.
func (l *ledger) setDeadlines(ds []Deadline) {
	l.deadlines = make([]due, len(ds))
	for i, d := range ds {
		l.deadlines[i] = due{Deadline: d, name: d.String()}
	}
}

// arrival judges an interval that ended at end and arrived at the time at.
func (l *ledger) arrival(end, at uint32) (a arrival) {
	for i := range l.deadlines {
		if int64(at) > l.deadlines[i].by(end) {
			a |= 1 << i
		}
	}
	return a
}

// arrive counts an arrival, or takes it back for by = -1.
func (l *ledger) arrive(t *tally, a arrival, by int64) {
	if a&arrivalUnknown != 0 {
		return
	}
	for i := range l.deadlines {
		for _, x := range []*tally{t, &l.total} {
			if a&(1<<i) != 0 {
				x.arrived[i].late += by
			} else {
				x.arrived[i].inTime += by
			}
		}
	}
}

// arrivals is what the store keeps of a day, that of deadlines which are no longer used included.
func (l *ledger) arrivals(t *tally) (out []store.Arrivals) {
	for i := range l.deadlines {
		if n := t.arrived[i]; n != (byDeadline{}) {
			out = append(out, store.Arrivals{Deadline: l.deadlines[i].name, InTime: n.inTime, Late: n.late})
		}
	}
	return append(out, t.unused...)
}

// restoreArrivals takes over what arrivals returned, maybe of other deadlines.
func (l *ledger) restoreArrivals(t *tally, kept []store.Arrivals) {
next:
	for _, k := range kept {
		for i := range l.deadlines {
			if l.deadlines[i].name == k.Deadline {
				n := byDeadline{k.InTime, k.Late}
				t.arrived[i] = n
				l.total.arrived[i].inTime += n.inTime
				l.total.arrived[i].late += n.late
				continue next
			}
		}
		t.unused = append(t.unused, k)
	}
}

func (r *dayRow) arrived(i int) arrival {
	if r.arrivals == nil {
		return r.came
	}
	return r.arrivals[i]
}

func (r *dayRow) setArrived(i int, a arrival) {
	if r.arrived(i) == a {
		return
	}
	if r.arrivals == nil {
		r.arrivals = make([]arrival, len(r.cells))
		for j := range r.arrivals {
			r.arrivals[j] = r.came
		}
	}
	r.arrivals[i] = a
}

// joinArrivals gives an interval that was made of those in (lo, hi] the arrival of the last of them. One whose value follows
// from registers while those were missing has none that is known.
func (r *dayRow) joinArrivals(lo, hi int, known bool) {
	a := arrivalUnknown
	if known {
		a = 0
		for i := lo + 1; i <= hi; i++ {
			if r.cells[i].wh != cim.NoValue {
				a |= r.arrived(i)
			}
		}
	}
	r.setArrived(hi, a)
}
