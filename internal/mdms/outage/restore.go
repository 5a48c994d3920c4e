package outage

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// LastInterruptions is how long ago, s of business time, an interruption may have begun to be set right, or gone on with, after a restart.
const LastInterruptions = 86400

// RestoreInterruptions takes over from the store all interruptions that go on, those of open cases, and those that began within
// LastInterruptions. It is called once, after Restore. One whose device is not known is left out.
func (e *Engine) RestoreInterruptions(list []store.Interruption, device func(ordinal uint32) *cim.EndDevice) {
	byID := map[uint64]*outage{}
	for o := range e.standing {
		byID[o.id] = o
	}
	for _, o := range e.cases {
		byID[o.id] = o
	}
	slices.SortStableFunc(list, func(a, b store.Interruption) int { return cmp.Compare(a.Start, b.Start) })
	for _, over := range []bool{true, false} { // those that go on begin behind those that are over
		for _, k := range list {
			if dev := device(k.Device); dev != nil && (k.End != 0) == over {
				e.restoreCut(k, dev, byID[k.Case])
			}
		}
	}
	for o := range e.standing {
		if o.standing == 0 {
			e.restored(o)
		}
		if o.x != nil && o.x.out {
			o.restoreBelow()
		}
	}
}

// restoreBelow takes the transformers of a case for out whose own meters told so: what went long ago would tell nothing else. Where a last
// gasp did, it is known when.
func (o *outage) restoreBelow() {
	for _, c := range o.cuts {
		y := c.t.grid
		if c.end == 0 && y != nil && c.flags&cutInferred == 0 && (y == o.x || c.t.gone()) {
			y.exact, o.x.exact = true, true
		}
		if c.end != 0 || y == nil || !c.t.gone() || y.out && y.onset <= c.start {
			continue
		}
		if !y.out {
			y.out, y.odds, y.peak = true, capUp, capUp
		}
		y.onset, y.since, y.news = c.start, c.start, c.start
	}
}

func (e *Engine) restoreCut(k store.Interruption, dev *cim.EndDevice, o *outage) {
	t := e.track(dev)
	c := &cut{id: k.ID, t: t, caseID: k.Case, o: o, start: k.Start, end: k.End, flags: k.Flags}
	if t == nil || c.end == 0 && t.cut != nil {
		return
	}
	switch {
	case c.end == 0:
		c.floor = t.lastCut
		t.cut, t.last = c, nil
		t.verdict, t.verdictAt = verdictPowerLost, c.start
		if c.flags&cutPlanned != 0 {
			t.verdict = verdictMaintenance
		}
		e.cutsOpen++
		if c.flags&cutWilled != 0 && dev.Link.State == cim.LinkUnreachable {
			t.own = cim.Fact[cim.Link]{State: cim.LinkLost, Since: c.start}
			t.willed, t.willSeq, t.willAt = true, dev.Sequence, max(c.start, dev.LastSeen)
			t.left(byWill, max(t.goneAt, t.willAt))
		}
		if c.flags&cutInferred != 0 && dev.Link.State == cim.LinkUp { // nothing but that it did not answer has told
			t.asked, t.tries = max(c.start, dev.LastSeen+1), pingTry
		}
		e.touchTrack(t)
	case c.flags&cutRetracted == 0 && c.end >= t.lastCut:
		c.floor = t.lastCut
		t.last, t.lastCut = c, c.end
		if c.flags&cutAssumed == 0 { // it was back then: else it would pass for one that was there all the time
			t.goneAt = max(t.goneAt, c.start)
			t.aliveAt, t.backAt, t.joinedAt = max(t.aliveAt, c.end), max(t.backAt, c.end), max(t.joinedAt, c.end)
		}
	}
	if o != nil && (o.x != nil || o.w != nil) {
		o.cuts = append(o.cuts, c)
		if c.end == 0 {
			o.standing++
		}
	}
}

// restoreGrid takes over the open case of an element.
func (e *Engine) restoreGrid(o *outage) bool {
	p := o.doc.Grid
	level, ok := levelOf(o.doc.Scope)
	if p == nil || !ok || level == 0 {
		return false
	}
	x := e.grid.find(Place{p.Substation, p.Feeder, p.Lateral, p.Transformer}, level)
	if x == nil || x.outage != nil {
		return false
	}
	o.x, x.outage, o.kind, o.told, o.old = x, o, "centre", true, true
	e.standing[o] = true
	e.open++
	if !o.doc.Partial {
		x.out, x.onset, x.since, x.odds, x.peak = true, o.start, o.start, capUp, capUp
		x.transformers(func(y *element) {
			y.implied = y.above()
			e.grid.touch(y)
		})
	}
	return true
}

// decodeCase reads the document of a case.
func decodeCase(k store.Outage) (*outage, error) {
	o := &outage{id: k.ID, start: k.Start, told: true}
	return o, json.Unmarshal(k.Doc, &o.doc)
}

// restoreWindow takes over the open case of a maintenance window.
func (e *Engine) restoreWindow(o *outage) bool {
	for _, w := range e.windows {
		if w.doc.ID == o.doc.Maintenance && w.outage == nil {
			o.w, w.outage, o.kind, o.told = w, o, "centre", true
			e.standing[o] = true
			e.open++
			return true
		}
	}
	return false
}
