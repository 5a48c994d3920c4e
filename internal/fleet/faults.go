package fleet

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

type faultCounts struct {
	drops, losses, moves atomic.Uint64
}

// fault is one of the things that happen to meters.
type fault int

const (
	linkDrop fault = iota
	powerLoss
	move
	powerReturn // the end of a loss
)

// event is a fault with its time.
type event struct {
	at    time.Time
	what  fault
	meter int
}

// plan draws faults: each kind is a Poisson process over the whole fleet, so the times between two are exponential. The same
// seed, fleet and start give the same events.
type plan struct {
	r       *rand.Rand
	f       Faults
	meters  int
	pending events
}

func newPlan(f Faults, meters int, seed uint64, start time.Time) *plan {
	p := &plan{r: rand.New(rand.NewPCG(seed, 0x77617474)), f: f, meters: meters}
	for _, what := range []fault{linkDrop, powerLoss, move} {
		p.again(what, start)
	}
	return p
}

// again draws the next event of a kind after a time.
func (p *plan) again(what fault, after time.Time) {
	rate := [...]float64{p.f.LinkDrops, p.f.PowerLosses, p.f.Moves}[what] * float64(p.meters)
	if rate <= 0 {
		return
	}
	wait := time.Duration(min(p.r.ExpFloat64()/rate, 365) * float64(24*time.Hour))
	heap.Push(&p.pending, event{at: after.Add(wait), what: what, meter: p.r.IntN(p.meters)})
}

// next takes the earliest event out and plans what follows from it.
func (p *plan) next() (event, bool) {
	if len(p.pending) == 0 {
		return event{}, false
	}
	e := heap.Pop(&p.pending).(event)
	if e.what != powerReturn {
		p.again(e.what, e.at)
	}
	if e.what == powerLoss {
		d := time.Duration(p.r.ExpFloat64() * float64(p.f.Outage))
		heap.Push(&p.pending, event{at: e.at.Add(max(d, time.Second)), what: powerReturn, meter: e.meter})
	}
	return e, true
}

// runFaults lets happen what the plan says until ctx ends.
func (f *Fleet) runFaults(ctx context.Context) {
	p := newPlan(f.o.Faults, len(f.members), f.o.Seed, f.o.Clock.Now())
	for {
		e, ok := p.next()
		if !ok || f.o.Clock.WaitUntil(ctx, e.at) != nil {
			return
		}
		m := &f.members[e.meter]
		switch e.what {
		case linkDrop:
			f.faults.drops.Add(1)
			m.agent.DropLink()
		case powerLoss:
			f.faults.losses.Add(1)
			m.agent.PowerLost()
		case powerReturn:
			m.agent.PowerRestored()
		case move:
			if len(f.places) < 2 {
				continue
			}
			f.faults.moves.Add(1)
			to := (m.place.Load() + 1 + int64(p.r.IntN(len(f.places)-1))) % int64(len(f.places))
			m.place.Store(to)
			m.agent.Move(f.places[to])
		}
		f.o.Logger.Debug("fault", "kind", e.what.String(), "meter", m.household.ID())
	}
}

// String is the fault's name in logs.
func (k fault) String() string {
	return [...]string{"link drop", "power loss", "move", "power return"}[k]
}

// events is a heap, the earliest first.
type events []event

func (q events) Len() int           { return len(q) }
func (q events) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q events) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)        { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
