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
	floor      uint32 // end of the interruption before: it begins no earlier
	told       uint32 // when the meter says that its supply came back, 0: it has not said
	flags      uint8
	dirty      bool
}

func (e *Engine) keepCut(c *cut) {
	if !c.dirty {
		c.dirty = true
		e.changed.cuts = append(e.changed.cuts, c)
	}
}

// beginCut begins the interruption of a meter, or goes on with the last one where that was taken to be over and the meter has not been
// heard since.
func (e *Engine) beginCut(t *track, j judgement, now uint32) {
	start, inferred := e.wentAt(t, now)
	if c := t.last; c != nil && c.flags&cutAssumed != 0 && t.aliveAt <= c.start+clockSlack && start <= c.end+clockSlack {
		e.resumeCut(c, now)
		return
	}
	c := &cut{id: e.o.NewID(), t: t, start: start, floor: t.lastCut}
	if inferred {
		c.flags |= cutInferred
	}
	if j.verdict == verdictMaintenance {
		c.flags |= cutPlanned
	}
	if b := t.dev.Breaker; (b.State == cim.BreakerOpen || b.State == cim.BreakerReady) && b.Since < c.start {
		c.flags |= cutOpened
	}
	t.cut, t.last = c, nil
	e.cutsOpen++
	e.moveCut(t, now)
	e.keepCut(c)
}

// wentAt is when a meter went that is taken to have lost its supply, never before the end of its last interruption.
func (e *Engine) wentAt(t *track, now uint32) (start uint32, inferred bool) {
	if t.dev.Power.State == cim.PowerLost {
		return max(t.dev.Power.Since, t.lastCut), false
	}
	top := t.grid.top()
	if top == nil {
		return max(now, t.lastCut), true
	}
	if start = t.grid.onsetOf(top); max(t.aliveAt, t.backAt) > start+clockSlack {
		start = e.wentAgain(t, now) // it was back since: this is another one
	}
	if start == 0 {
		start = now
	}
	return max(start, t.lastCut), true
}

// wentAgain is when a meter went that was back while what it hangs on is still out: at the first last gasp of its neighbours since
// then; else as late as its will or its last message allows.
func (e *Engine) wentAgain(t *track, now uint32) uint32 {
	since := max(t.aliveAt, t.backAt)
	first := uint32(0)
	for _, k := range t.grid.meters {
		if k.dev.Power.State == cim.PowerLost && k.gaspAt >= since && (first == 0 || k.gaspAt < first) {
			first = k.gaspAt
		}
	}
	switch {
	case first != 0:
		return first
	case t.own.State == cim.LinkLost && t.goneBy == byWill:
		return max(since, t.goneAt-min(t.goneAt, e.company))
	case t.own.State == cim.LinkLost:
		return max(since, min(t.dev.LastSeen, t.goneAt))
	}
	return since
}

// resumeCut goes on with an interruption whose end was but assumed.
func (e *Engine) resumeCut(c *cut, now uint32) {
	t := c.t
	c.end = 0
	c.flags &^= cutAssumed
	t.cut, t.last, t.lastCut = c, nil, c.floor
	e.cutsOpen++
	if o := c.o; o != nil && o.end != 0 {
		c.o = nil
	} else if o != nil && (o.x != nil || o.w != nil) {
		o.standing++
		o.overAt = 0
		e.touch(o)
	}
	e.keepCut(c)
	e.moveCut(t, now)
}

// moveCut brings an interruption to the case that it belongs to now.
func (e *Engine) moveCut(t *track, now uint32) {
	c := t.cut
	if p := t.dev.Power; p.State == cim.PowerLost && c.flags&cutInferred != 0 { // the last gasp came late
		c.flags &^= cutInferred
		c.start = max(min(c.start, p.Since), c.floor)
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
	case c.flags&cutInferred != 0 && taken && t.joinedAt <= c.start && c.told == 0:
		e.endCutAt(t, c.start, cutRetracted)
	case c.told != 0:
		e.endCutAt(t, c.told, 0)
	case p.State == cim.PowerOn && p.Since > c.start:
		e.endCutAt(t, p.Since, 0)
	case !t.gone() && (t.aliveAt > c.start || t.joinedAt >= c.start):
		end := t.aliveAt
		if t.backAt > c.start {
			end = min(end, t.backAt)
		}
		e.endCutAt(t, min(end, now), 0)
	case c.flags&cutInferred == 0: // the fact was taken back by an older one
		e.endCutAt(t, min(max(p.Since, t.backAt), now), cutAssumed)
	case x.wasBack(c.start) != 0:
		e.endCutAt(t, x.wasBack(c.start), cutAssumed)
	default:
		e.endCutAt(t, c.start, cutRetracted)
	}
	if e.cases[t] == nil && t.own.State == cim.LinkLost {
		e.judge(t, now, [...]string{"will", "will", "will", "silence"}[t.goneBy], t.goneAt)
	}
}

// wasBack is when the supply of a transformer came back that had gone at start, by those of its meters that tell; where none does, by
// those of what it hangs on, if that was out; 0 where nothing tells.
func (x *element) wasBack(start uint32) (at uint32) {
	x.up(func(y *element) bool {
		if !y.out && !y.taken && y.firstBack > start {
			at = y.firstBack
		}
		return at == 0
	})
	return at
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
	t.cut, t.last, t.lastCut = nil, c, c.end
	if flags&cutRetracted != 0 {
		t.last, t.lastCut = nil, c.floor
	}
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
	start = max(start, t.lastCut)
	if start == 0 || end <= start {
		return
	}
	if e.wasCovered(t, start) {
		flags |= cutPlanned
	}
	c := &cut{id: e.o.NewID(), t: t, start: start, end: end, floor: t.lastCut, flags: flags}
	if o := e.cases[t]; o != nil && o.doc.Kind == kindPower {
		c.caseID = o.id
	} else if o = e.around(t, start); o != nil {
		c.o, c.caseID = o, o.id
		o.cuts = append(o.cuts, c)
		e.touch(o)
	}
	t.last, t.lastCut = c, end
	e.keepCut(c)
}

// around is the open case of what a meter hangs on, the highest, of which an interruption that began at start is a part; nil for none.
func (e *Engine) around(t *track, start uint32) (in *outage) {
	t.grid.up(func(y *element) bool {
		if o := y.outage; o != nil && start+e.together >= o.start && start <= o.start+e.together {
			in = o
		}
		return true
	})
	return in
}

// toldOutage takes the word of a meter on how long it was without supply: it was there, others infer. What it says of the interruption
// that goes on or of the last one sets that right, also behind its registration, which comes first and is made later.
func (e *Engine) toldOutage(t *track, m record.Power, made, at uint32) {
	if t.slot < 0 || m.OnBattery == 0 || m.OnBattery > aWeek || m.OnBattery > made || m.Flags&record.FlagClockUnsynchronised != 0 {
		return
	}
	start := made - m.OnBattery
	switch c, last := t.cut, t.last; {
	case c != nil && made >= c.start && (t.dev.Power.State != cim.PowerLost || made > t.gaspAt): // else it went again, and that came first
		e.setStart(c, start)
		c.told = made
		e.touchTrack(t)
	case c != nil: // of the one before, which is known well enough
	case last != nil && last.start <= made && last.means(start, made):
		e.setStart(last, start)
		if last.end > made || last.flags&cutAssumed != 0 {
			last.end = max(made, last.start)
			last.flags &^= cutAssumed
			t.lastCut = last.end
			e.keepCut(last)
			if o := last.o; o != nil && o.end == 0 {
				e.touch(o)
			}
		}
	case t.dev.Power.State != cim.PowerLost && start+clockSlack >= t.lastCut:
		e.passed(t, start, made, cutInferred) // nobody noticed: the last gasp was lost, and so was the will
	}
}

// means reports whether the word of a meter is about this interruption, which is over, and not about the next one: a recloser may have opened
// again seconds later.
func (c *cut) means(start, made uint32) bool {
	if c.flags&cutAssumed != 0 {
		return start <= c.end+clockSlack
	}
	return start < c.end && (made <= c.end+clockSlack || start+clockSlack < c.end)
}

// setStart takes a meter's word on when its interruption began, if that was but inferred and is not about something else: what counts the
// seconds may stand still when the battery is empty.
func (e *Engine) setStart(c *cut, start uint32) {
	if c.flags&cutInferred != 0 && start < c.start+e.cluster && start+e.cluster > c.start && max(start, c.floor) != c.start {
		c.start = max(start, c.floor)
		e.keepCut(c)
	}
}
