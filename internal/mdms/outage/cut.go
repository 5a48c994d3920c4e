package outage

import (
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// What is special about an interruption.
const (
	cutInferred  = store.InterruptionInferred  // without a last gasp
	cutPlanned   = store.InterruptionPlanned   // in a maintenance window
	cutRetracted = store.InterruptionRetracted // it was none
	cutOpened    = store.InterruptionOpened    // the breaker was open before: nobody was interrupted
	cutAssumed   = store.InterruptionAssumed   // its end is that of its neighbours
	cutWilled    = store.InterruptionWilled    // its link is lost, which else only an open case of its own tells after a restart
)

// cut is one interruption of one meter.
type cut struct {
	id         uint64
	t          *track
	o          *outage // nil: the case is over, or the meter's alone
	caseID     uint64
	start, end uint32
	flags      uint8
	dirty      bool
}

func (e *Engine) keepCut(c *cut) {
	if !c.dirty {
		c.dirty = true
		e.changed.cuts = append(e.changed.cuts, c)
	}
}

// beginCut begins the interruption of a meter.
func (e *Engine) beginCut(t *track, j judgement, now uint32) {
	c := &cut{id: e.o.NewID(), t: t}
	if t.dev.Power.State == cim.PowerLost {
		c.start = t.dev.Power.Since
	} else {
		c.flags |= cutInferred
		if top := t.grid.top(); top != nil {
			c.start = t.grid.onsetOf(top)
		}
	}
	if c.start == 0 {
		c.start = now
	}
	if j.verdict == verdictMaintenance {
		c.flags |= cutPlanned
	}
	if b := t.dev.Breaker; (b.State == cim.BreakerOpen || b.State == cim.BreakerReady) && b.Since < c.start {
		c.flags |= cutOpened
	}
	t.cut = c
	e.cutsOpen++
	e.moveCut(t, now)
	e.keepCut(c)
}

// moveCut brings an interruption to the case that it belongs to now.
func (e *Engine) moveCut(t *track, now uint32) {
	c := t.cut
	if p := t.dev.Power; p.State == cim.PowerLost && c.flags&cutInferred != 0 { // the last gasp came late
		c.flags &^= cutInferred
		c.start = min(c.start, p.Since)
		e.keepCut(c)
	}
	if willed := t.own.State == cim.LinkLost; willed != (c.flags&cutWilled != 0) {
		c.flags ^= cutWilled
		e.keepCut(c)
	}
	g := e.belongs(t, now)
	if c.o.keeps(t, g) {
		e.absorbOwn(t, c.o)
		return
	}
	to := e.opened(g, t)
	if to == c.o {
		if to != nil {
			e.absorbOwn(t, to) // one that was opened at a restart, before it was known that there is this one
		}
		return
	}
	if from := c.o; from != nil {
		e.leaveCase(from, c)
	}
	c.o, c.caseID = to, 0
	e.keepCut(c)
	if to == nil {
		return
	}
	c.caseID = to.id
	if to.x == nil && to.w == nil {
		return // the meter's own case, which judge keeps
	}
	to.cuts = append(to.cuts, c)
	to.standing++
	to.overAt = 0
	if c.start < to.start || to.standing == 1 && len(to.cuts) == 1 {
		to.start = c.start
		to.doc.Start = utc(to.start)
	}
	e.absorbOwn(t, to)
	e.touch(to)
}

// absorbOwn ends a meter's own case, for it is a part of a larger one.
func (e *Engine) absorbOwn(t *track, into *outage) {
	if own := e.cases[t]; own != nil && own != into {
		e.absorb(own, into)
		delete(e.cases, t)
	}
}

// leaveCut ends an interruption whose meter has its supply again, or never lost it.
func (e *Engine) leaveCut(t *track, now uint32) {
	c, x := t.cut, t.grid
	taken := x == nil || x.taken || c.o != nil && c.o.x != nil && c.o.x.taken // what the inference rested on was none
	switch p := t.dev.Power; {
	case c.flags&cutInferred != 0 && taken && t.joinedAt <= c.start:
		e.endCutAt(t, c.start, cutRetracted)
	case p.State == cim.PowerOn && p.Since > c.start:
		e.endCutAt(t, p.Since, 0)
	case !t.gone() && (t.aliveAt > c.start || t.joinedAt >= c.start):
		e.endCutAt(t, min(max(t.aliveAt, c.start), now), 0)
	case c.flags&cutInferred == 0: // the fact was taken back by an older one
		e.endCutAt(t, now, cutAssumed)
	case x != nil && x.backAt > c.start:
		e.endCutAt(t, x.backAt, cutAssumed)
	default:
		e.endCutAt(t, c.start, cutRetracted)
	}
	if e.cases[t] == nil && t.own.State == cim.LinkLost {
		e.judge(t, now, [...]string{"will", "will", "will", "silence"}[t.goneBy], t.goneAt)
	}
}

// endCut ends an interruption now, if there is one.
func (e *Engine) endCut(t *track, now uint32, flags uint8) {
	if t.cut == nil {
		return
	}
	end := now
	if flags&cutRetracted != 0 && t.cut.flags&cutInferred != 0 {
		end = t.cut.start
	} else {
		flags = cutAssumed
	}
	e.endCutAt(t, end, flags)
}

func (e *Engine) endCutAt(t *track, end uint32, flags uint8) {
	c := t.cut
	c.end = max(end, c.start, 1)
	c.flags |= flags
	t.cut, t.lastCut = nil, c.end
	e.cutsOpen--
	e.keepCut(c)
	if o := c.o; o != nil && (o.x != nil || o.w != nil) {
		o.standing--
		e.touch(o)
		if o.standing == 0 {
			e.restored(o)
		}
	}
}

// cutsChanged hands out the interruptions that changed.
func (e *Engine) cutsChanged() []store.Interruption {
	var out []store.Interruption
	for _, c := range e.changed.cuts {
		c.dirty = false
		out = append(out, store.Interruption{ID: c.id, Case: c.caseID, Device: c.t.dev.Ordinal, Start: c.start, End: c.end, Flags: c.flags})
	}
	clear(e.changed.cuts)
	e.changed.cuts = e.changed.cuts[:0]
	return out
}

// passed records an interruption that is over already.
func (e *Engine) passed(t *track, start, end uint32, flags uint8) {
	if start == 0 || end <= start {
		return
	}
	if e.wasCovered(t, start) {
		flags |= cutPlanned
	}
	t.lastCut = end
	c := &cut{id: e.o.NewID(), t: t, start: start, end: end, flags: flags}
	if o := e.cases[t]; o != nil && o.doc.Kind == kindPower {
		c.caseID = o.id
	}
	e.keepCut(c)
}

// toldOutage takes the word of a meter on how long it was without supply: it was there, others infer.
func (e *Engine) toldOutage(t *track, m record.Power, made, at uint32) {
	t.joinedAt = at
	if m.OnBattery == 0 || m.OnBattery > aWeek || m.OnBattery > made || t.slot < 0 {
		return
	}
	start := made - m.OnBattery
	switch {
	case t.cut != nil && t.cut.flags&cutInferred != 0 && start < t.cut.start+clusterWindow && start+clusterWindow > t.cut.start:
		t.cut.start = start
		e.keepCut(t.cut)
	case t.cut == nil && t.dev.Power.State != cim.PowerLost && start >= t.lastCut:
		e.passed(t, start, made, cutInferred) // nobody noticed: the last gasp was lost, and so was the will
	}
}
