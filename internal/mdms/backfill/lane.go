package backfill

import "slices"

// lane says how soon a meter is asked: those that miss something of the last hours before those that miss history, under all
// concentrators. Within a lane it is first come first served.
type lane int

const (
	live lane = iota
	history
	lanes
)

func (p *Planner) lane(m *meter) lane {
	if p.o.Live != nil && p.o.Live(m.device) {
		return live
	}
	return history
}

// queue holds the meters of a concentrator that wait in one lane. Those that leave it out of turn stay in it as gaps, at most as
// many as there are meters, and a few.
type queue struct {
	entries []place
	gaps    int
}

// place is a meter's place, as long as it has the ticket.
type place struct {
	m      *meter
	ticket uint64
}

func (e place) taken() bool { return e.m.queued && e.m.ticket == e.ticket }

func (q *queue) push(m *meter) { q.entries = append(q.entries, place{m, m.ticket}) }

// left says that a meter is not queued any more.
func (q *queue) left() {
	const few = 32
	if q.gaps++; q.gaps > few && 2*q.gaps > len(q.entries) {
		q.entries = slices.DeleteFunc(q.entries, func(e place) bool { return !e.taken() })
		q.gaps = 0
	}
}

// empty drops the gaps at the front, and reports whether nothing is behind them.
func (q *queue) empty() bool {
	for len(q.entries) > 0 && !q.entries[0].taken() {
		q.entries = q.entries[1:]
		q.gaps--
	}
	return len(q.entries) == 0
}

// pop takes the first meter out of a queue that is not empty.
func (q *queue) pop() *meter {
	m := q.entries[0].m
	q.entries = q.entries[1:]
	m.queued = false
	return m
}
