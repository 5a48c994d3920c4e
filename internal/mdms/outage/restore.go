package outage

import (
	"encoding/json"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// RestoreInterruptions takes over the interruptions of open cases, and all open ones, from the store. It is called once, after
// Restore. One whose device is not known is left out.
func (e *Engine) RestoreInterruptions(list []store.Interruption, device func(ordinal uint32) *cim.EndDevice) {
	byID := map[uint64]*outage{}
	for o := range e.standing {
		byID[o.id] = o
	}
	for _, o := range e.cases {
		byID[o.id] = o
	}
	for _, k := range list {
		dev := device(k.Device)
		if dev == nil {
			continue
		}
		t := e.track(dev)
		c := &cut{id: k.ID, t: t, caseID: k.Case, o: byID[k.Case], start: k.Start, end: k.End, flags: k.Flags}
		if t == nil || c.end == 0 && t.cut != nil {
			continue
		}
		if c.end == 0 {
			t.cut = c
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
			e.touchTrack(t)
		}
		if c.o != nil && (c.o.x != nil || c.o.w != nil) {
			c.o.cuts = append(c.o.cuts, c)
			if c.end == 0 {
				c.o.standing++
			}
		}
	}
	for o := range e.standing {
		if o.standing == 0 {
			e.restored(o)
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
		x.out, x.onset, x.since, x.odds = true, o.start, o.start, capUp
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
