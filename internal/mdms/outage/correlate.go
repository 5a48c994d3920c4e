package outage

import (
	"strconv"

	"github.com/wattbus/wattbus/internal/api"
)

// restoreHold is how long, s, nobody of a case may be without supply before it is over: reclosers try more than once.
const restoreHold = 60

// target is what a case is of: a window, an element, or the meter itself.
type target struct {
	w       *window
	x       *element
	partial bool
}

// belongs finds what a meter's interruption belongs to: the maintenance it lies in; the highest element that is out and went out
// when the meter did; its transformer where several went but not all; or the meter itself.
func (e *Engine) belongs(t *track, now uint32) target {
	if t.verdict == verdictMaintenance {
		if w := e.covered(t, now); w != nil {
			return target{w: w}
		}
	}
	x := t.grid
	var top *element
	x.up(func(y *element) bool {
		if y.out && t.cut.start+e.together >= y.onset {
			top = y
		}
		return true
	})
	switch {
	case top != nil:
		return target{x: top}
	case x != nil && (x.signs.gasps >= 2 || x.outage != nil && x.outage.standing > 1):
		return target{x: x, partial: !x.out}
	}
	return target{}
}

func (e *Engine) opened(g target, t *track) *outage {
	switch {
	case g.w != nil:
		return e.windowCase(g.w, t)
	case g.x != nil:
		return e.elementCase(g.x, g.partial)
	}
	return e.cases[t]
}

// keeps reports whether an interruption stays in the case of an element that comes back: what goes on there is the rest of the
// same outage. Only a higher case takes it over, or the finding that the element was not out.
func (o *outage) keeps(t *track, g target) bool {
	if o == nil || o.x == nil || o.end != 0 || o.x.taken || g.w != nil || g.x != nil && g.x.level > o.x.level {
		return false
	}
	held := false
	t.grid.up(func(y *element) bool {
		held = held || y == o.x
		return true
	})
	return held && (g.x != o.x || g.partial == o.doc.Partial)
}

// restored notes that nobody of a case is without supply any more: it is over unless somebody goes out again soon.
func (e *Engine) restored(o *outage) {
	o.overAt = e.now() + restoreHold
	e.ending = append(e.ending, o)
}

func (e *Engine) leaveCase(o *outage, c *cut) {
	for i, k := range o.cuts {
		if k == c {
			last := len(o.cuts) - 1
			o.cuts[i] = o.cuts[last]
			o.cuts[last] = nil
			o.cuts = o.cuts[:last]
			if o.standing--; o.standing == 0 {
				e.restored(o)
			}
			e.touch(o)
			return
		}
	}
}

// absorb ends a case that turned out to be a part of another. One that nobody has heard of yet vanishes without a trace.
func (e *Engine) absorb(o, into *outage) {
	into.doc.Evidence = earliest(into.doc.Evidence, o.doc.Evidence)
	if into.doc.Stated == nil {
		into.doc.Stated = o.doc.Stated
	}
	o.doc.Merged = into.doc.ID
	e.closeCase(o, max(e.now(), o.start))
	o.dropped = !o.told
	e.touch(into)
}

func earliest(a, b []api.Evidence) []api.Evidence {
	for _, v := range b {
		if len(a) >= maxEvidence {
			break
		}
		a = append(a, v)
	}
	return a
}

// elementCase returns the case of an element, opened if there is none. When what an element hangs on goes out, its case is
// raised to there: it keeps its id and grows.
func (e *Engine) elementCase(x *element, partial bool) *outage {
	o := x.outage
	if o == nil {
		x.lower(func(y *element) {
			if y.outage != nil && y.outage.start+e.together >= x.onset && (o == nil || y.outage.id < o.id) {
				o = y.outage
			}
		})
		if o != nil {
			o.x.outage = nil
		} else {
			o = e.newCase(kindPower)
			o.start = max(x.onset, 1)
			o.doc.Start = utc(o.start)
		}
		x.outage, o.x, o.old = o, x, false
		e.describe(o, x)
		e.touch(o)
		x.lower(func(y *element) {
			if k := y.outage; k != nil && k != o && k.start+e.together >= x.onset {
				e.swallow(k, o)
			}
		})
	}
	if o.doc.Partial != partial && x.level == levelTransformer {
		o.doc.Partial, o.old = partial, false
		e.describe(o, x)
		e.touch(o)
	}
	return o
}

// lower calls f with every element below x.
func (x *element) lower(f func(*element)) {
	for _, c := range x.children {
		f(c)
		c.lower(f)
	}
}

// swallow moves everything of one case into another.
func (e *Engine) swallow(o, into *outage) {
	for _, c := range o.cuts {
		c.o, c.caseID = into, into.id
		into.cuts = append(into.cuts, c)
		if c.end == 0 {
			into.standing++
		}
		e.keepCut(c)
	}
	if o.start < into.start {
		into.start = o.start
		into.doc.Start = utc(o.start)
	}
	into.overAt = 0
	o.cuts, o.standing = nil, 0
	o.x.outage = nil
	e.absorb(o, into)
}

// newCase opens a case.
func (e *Engine) newCase(kind string) *outage {
	o := &outage{id: e.o.NewID(), kind: "centre"}
	o.doc = api.Outage{ID: strconv.FormatUint(o.id, 10), Kind: kind, Evidence: []api.Evidence{}}
	e.open++
	e.standing[o] = true
	return o
}

// describe says where a case is and what it comes from.
func (e *Engine) describe(o *outage, x *element) {
	o.doc.Scope, o.doc.Element = scopes[x.level], x.name
	o.doc.Partial = o.doc.Partial && x.level == levelTransformer
	o.doc.Grid = e.placeOf(x)
}

// placeOf is where an element stands.
func (e *Engine) placeOf(x *element) *api.GridPlace {
	p := &api.GridPlace{}
	x.up(func(y *element) bool {
		switch y.level {
		case levelTransformer:
			p.Transformer = y.name
		case levelLateral:
			p.Lateral = y.name
		case levelFeeder:
			p.Feeder = y.name
		}
		return true
	})
	p.Substation = x.substation
	return p
}

// correlate judges what was touched, from the transformers up and, where something above went out or came back, down again.
func (e *Engine) correlate(now uint32) {
	g := &e.grid
	var seen []*element
	for round := 0; round < 4 && len(g.dirty[levelTransformer])+len(g.dirty[levelLateral])+len(g.dirty[levelFeeder]) > 0; round++ {
		for level := levelTransformer; level <= levelFeeder; level++ {
			list := g.dirty[level]
			g.dirty[level] = nil
			for _, x := range list {
				x.dirty = false
				if level > levelTransformer {
					e.inferAbove(x, now)
					g.touch(x.parent)
					continue
				}
				calm := !x.whole && x.quiet()
				x.whole = false
				x.planned = e.plannedOut(x, now)
				if e.inferTransformer(x, now) || x.signs.onset != 0 {
					g.touch(x.parent)
				}
				if x.visit != e.visit && !(calm && x.quiet()) {
					x.visit = e.visit
					seen = append(seen, x)
				}
			}
		}
	}
	e.visit++
	for _, x := range seen {
		for _, t := range x.meters {
			e.settle(t, now)
			t.touched = false
		}
	}
	for _, t := range e.touched {
		if t.touched {
			t.touched = false
			e.settle(t, now)
		}
	}
	clear(e.touched)
	e.touched = e.touched[:0]
	e.tend(now)
}

// tend closes the cases that are over and names the others sustained when they are.
func (e *Engine) tend(now uint32) {
	ending := e.ending
	e.ending = nil
	for _, o := range ending {
		switch {
		case o.end != 0 || o.overAt == 0 || o.standing > 0:
		case now >= o.overAt:
			e.finish(o)
		default:
			e.ending = append(e.ending, o)
		}
	}
	for o := range e.standing {
		if o.doc.Class == "" && now > o.start+momentary {
			o.doc.Class = api.OutageSustained
			e.touch(o)
		}
	}
}

// finish ends a case of an element: all its interruptions are over, or were none.
func (e *Engine) finish(o *outage) {
	end, longest, true0 := o.start, uint32(0), 0
	for _, c := range o.cuts {
		if c.flags&cutRetracted == 0 {
			true0++
			end = max(end, c.end)
			longest = max(longest, c.end-c.start)
		}
	}
	o.doc.Class = api.OutageMomentary
	if longest > momentary {
		o.doc.Class = api.OutageSustained
	}
	o.doc.Retracted = true0 == 0
	e.counted(o)
	if o.x != nil && o.x.outage == o {
		o.x.outage = nil
	}
	if o.w != nil {
		o.w.outage = nil
	}
	e.closeCase(o, end)
	o.cuts = nil
}

// counted brings the numbers of a case up to date.
func (e *Engine) counted(o *outage) {
	var affected, restored, inferred int
	for _, c := range o.cuts {
		if c.flags&cutRetracted != 0 {
			continue
		}
		affected++
		if c.end != 0 {
			restored++
		}
		if c.flags&cutInferred != 0 {
			inferred++
		}
	}
	o.doc.Affected, o.doc.Restored, o.doc.Inferred = affected, restored, inferred
	if o.x != nil {
		signs := o.x.tell()
		if restored > 0 && o.doc.Signs != nil {
			keepSigns(signs, o.doc.Signs) // those who are back do not take back what they showed
		}
		o.doc.Signs = signs
	}
	if p, told := o.sure(); told && o.end == 0 && (p > o.doc.Confidence || restored == 0 && !o.old) {
		o.doc.Confidence = float64(int(p*1000+0.5)) / 1000
	}
}

// sure is how likely a case is one; false where nothing tells that: what an element shows that has come back, or showed before a
// restart, says nothing of what took it.
func (o *outage) sure() (p float64, told bool) {
	switch {
	case o.w != nil:
		return 0.95, true
	case o.x == nil:
		return 0, false
	case o.doc.Partial:
		return chance(oddsGasp - 2 + 1), true
	case o.x.out:
		return chance(o.x.odds), true
	}
	return chance(oddsSure), o.doc.Confidence == 0 // it was found out, and back before that was told
}

// keepSigns leaves in now what was shown before, as far as it was more.
func keepSigns(now, before *api.Signs) {
	for _, x := range []struct{ now, before *int }{{&now.LastGasps, &before.LastGasps}, {&now.Wills, &before.Wills}, {&now.Silences, &before.Silences},
		{&now.NoAnswers, &before.NoAnswers}, {&now.Alive, &before.Alive}, {&now.Back, &before.Back}, {&now.Unreachable, &before.Unreachable}} {
		*x.now = max(*x.now, *x.before)
	}
}

// tell adds up what the meters below an element show.
func (x *element) tell() *api.Signs {
	out := &api.Signs{}
	x.transformers(func(y *element) {
		out.Meters += len(y.meters)
		if y.signs.onset == 0 {
			return
		}
		out.LastGasps += y.signs.gasps
		out.Wills += y.signs.wills
		out.Silences += y.signs.silences
		out.NoAnswers += y.signs.missed
		out.Alive += y.signs.alive
		out.Back += y.signs.back
		out.Unreachable += y.signs.blocked
	})
	return out
}

// tickGrid does what the time asks for beside the verdicts of silence. It returns when it has to be called again, 0 for not.
func (e *Engine) tickGrid(at uint32) (next uint32) {
	sooner := func(t uint32) {
		if t != 0 && (next == 0 || t < next) {
			next = t
		}
	}
	e.timeWire()
	sooner(e.turnWindows(at))
	sooner(e.awake(at))
	e.unanswered(at)
	if len(e.waits) > 0 {
		sooner(e.waits[0].due)
	}
	kept := e.waitsEnd[:0]
	for _, t := range e.waitsEnd {
		if t.restartEnd > at && t.slot >= 0 {
			kept = append(kept, t)
			sooner(t.restartEnd)
		} else if t.restartEnd != 0 {
			e.touchTrack(t)
			if t.slot >= 0 && t.gone() {
				e.later = append(e.later, t)
			}
		}
	}
	clear(e.waitsEnd[len(kept):])
	e.waitsEnd = kept
	e.weather(at)
	later := e.later
	e.later = nil
	for _, t := range later {
		if t.slot >= 0 && e.cases[t] == nil && t.cut == nil {
			e.judge(t, at, news[t.goneBy], max(t.goneAt, 1))
		}
	}
	for _, o := range e.ending {
		sooner(max(o.overAt, at+1))
	}
	return next
}
