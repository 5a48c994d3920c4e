package outage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// The kinds of cases.
const (
	kindPower       = "power-lost"
	kindComm        = "comm-lost"
	kindUnreachable = "unreachable"
	kindMaintenance = "maintenance"
)

// maxEvidence bounds the observations kept with one case.
const maxEvidence = 32

// outage is a case: of a device, at most one open at a time; of a concentrator; of an element of the grid, at most one open at
// a time; or of a maintenance window.
type outage struct {
	id      uint64
	doc     api.Outage
	kind    string // of the device, for its event; "centre" for that of an element or a window
	start   uint32
	end     uint32
	dirty   bool
	told    bool // it was handed out once
	dropped bool // it ended before that: nobody need hear of it
	toldAt  uint32
	old     bool // it is from before a restart, and what its element showed then is forgotten

	t        *track   // whose case it is
	node     *node    // or that of a concentrator
	x        *element // or of an element
	w        *window
	cuts     []*cut // interruptions of an element's or a window's case, those that are over too
	standing int    // of these, those that go on
	overAt   uint32 // when it is over unless somebody goes out again, 0: it is not
}

func utc(s uint32) time.Time { return time.Unix(int64(s), 0).UTC() }

// judge opens, turns and closes the device's case. A device has one case per interruption: one that began as a lost
// link and whose last gasp came later becomes one of lost power, from the gasp on; a will after a last gasp is but evidence.
// That its concentrator is gone says nothing of the device: that is a case of the concentrator's own.
func (e *Engine) judge(t *track, at uint32, what string, when uint32) {
	want := ""
	switch {
	case t.dev.Power.State == cim.PowerLost:
		want = kindPower
	case t.own.State == cim.LinkLost:
		want = kindComm
	}
	o := e.cases[t]
	switch {
	case o == nil && want == "":
		return
	case t.cut != nil && t.cut.o != nil && t.cut.o != o:
		return // it is a part of a larger case
	case o == nil && e.covered(t, at) != nil:
		return // planned; the interruption is recorded
	case o == nil && want == kindComm && t.restarting(at):
		return // it said that it would be away; what is still gone when that time is over gets its case then
	case o == nil && want == kindComm && e.storm.on:
		e.shed("communication-cases")
		return
	case o == nil:
		e.openCase(t, want, at, what, when)
	case want == o.doc.Kind:
		switch what {
		case "last-gasp", "will", "silence":
			e.evidence(o, what, when)
		}
	case want == kindPower: // the gasp came behind the will
		o.doc.Kind, o.start = kindPower, t.dev.Power.Since
		o.doc.Start = utc(o.start)
		e.evidence(o, what, when)
	default:
		end := at
		if o.doc.Kind == kindPower && t.dev.Power.State == cim.PowerOn {
			end = t.dev.Power.Since // by the meter's clock, as IEEE 1366 counts
			o.doc.Restored = 1
		}
		e.evidence(o, what, when)
		e.closeCase(o, end)
		delete(e.cases, t)
		if want != "" {
			e.openCase(t, want, at, what, when)
		}
	}
}

// news is what a device is known by to be gone.
var news = [...]string{byGasp: "last-gasp", byWill: "will", bySilence: "silence"}

func (e *Engine) openCase(t *track, kind string, at uint32, what string, when uint32) {
	o := &outage{id: e.o.NewID(), start: at, kind: t.dev.Kind, t: t}
	switch {
	case kind == kindPower:
		o.start = t.dev.Power.Since
	case t.own.State == cim.LinkLost:
		o.start = min(max(t.own.Since, 1), at) // it may have been excused until now
	}
	o.doc = api.Outage{ID: strconv.FormatUint(o.id, 10), Kind: kind, Meter: t.dev.ID, Path: t.dev.Path, Start: utc(o.start), Affected: 1, Scope: scopes[0]}
	if t.grid != nil {
		o.doc.Grid = e.placeOf(t.grid)
	}
	if what == "" { // nothing happens now: this is after a restart
		what, when = news[t.goneBy], max(t.goneAt, 1)
	}
	e.evidence(o, what, when)
	e.cases[t] = o
	e.open++
}

func (e *Engine) evidence(o *outage, what string, when uint32) {
	if w := evidenceOf(what); w != "" && len(o.doc.Evidence) < maxEvidence {
		o.doc.Evidence = append(o.doc.Evidence, api.Evidence{Time: utc(when), What: w})
	}
	e.touch(o)
}

func (e *Engine) touch(o *outage) {
	if !o.dirty {
		o.dirty = true
		e.changed.outages = append(e.changed.outages, o)
	}
}

func (e *Engine) closeCase(o *outage, end uint32) {
	o.end = max(end, o.start, 1)
	t := utc(o.end)
	o.doc.End = &t
	if o.doc.Kind == kindPower && o.x == nil {
		o.doc.Class = api.OutageMomentary
		if o.end > o.start+momentary {
			o.doc.Class = api.OutageSustained
		}
	}
	delete(e.standing, o)
	e.open--
	e.touch(o)
}

// openNode opens a concentrator's case, or adds to it.
func (e *Engine) openNode(n *node, at uint32) {
	if n.outage == nil {
		o := &outage{id: e.o.NewID(), start: at, kind: topic.Concentrator, node: n}
		o.doc = api.Outage{ID: strconv.FormatUint(o.id, 10), Kind: kindUnreachable, Concentrator: n.id, Path: n.path, Start: utc(at)}
		n.each(func(n *node) { o.doc.Affected += len(n.devices) })
		n.outage = o
		e.open++
	}
	e.evidence(n.outage, "concentrator-"+nodeNames[n.status], at)
}

func (e *Engine) closeNode(n *node, at uint32) {
	if o := n.outage; o != nil {
		e.evidence(o, "concentrator-online", at)
		e.closeCase(o, at)
		n.outage = nil
	}
}

// emptied closes the cases of a concentrator and of those above it below which nothing hangs any more: it was replaced by one of
// another id, or its devices moved away, and nobody is unreachable through it. That of one below which nothing hung when it was lost
// stays: it tells no more than that.
func (e *Engine) emptied(n *node, at uint32) {
	for ; n != nil; n = n.parent {
		if o := n.outage; o != nil && o.doc.Affected > 0 && n.empty() {
			e.evidence(o, "concentrator-empty", at)
			e.closeCase(o, at)
			n.outage = nil
		}
	}
}

// filled opens the cases of a concentrator that is gone and of those above it, where a device has come to hang on it and there is
// none: it was empty before.
func (e *Engine) filled(n *node) {
	for ; n != nil; n = n.parent {
		if n.down() && n.outage == nil && n.leaveEnd == 0 {
			e.openNode(n, n.since)
		}
	}
}

// Changes are what changed since the last call of Changed.
type Changes struct {
	Devices []*cim.EndDevice // facts, place or registration changed: to be kept. LastSeen and Flags alone do not count
	States  []*cim.EndDevice // State changed: to be told
	Outages []store.Outage
	Events  []api.Event // of types outage, concentrator and storm, to be published after the commit

	Interruptions []store.Interruption
	Maintenance   []store.Maintenance
}

// Changed hands out what changed since the last call.
func (e *Engine) Changed() Changes {
	var out Changes
	at := e.now()
	e.correlate(at)
	for _, t := range e.changed.tracks {
		t.dirty = false
		out.Devices = append(out.Devices, t.dev)
		if t.slot >= 0 && t.state != t.stated {
			t.stated = t.state
			out.States = append(out.States, t.dev)
		}
	}
	clear(e.changed.tracks)
	e.changed.tracks = e.changed.tracks[:0]
	now := e.o.Clock.Now()
	var held []*outage
	for _, o := range e.changed.outages {
		if e.held(o, at) {
			held = append(held, o)
			continue
		}
		o.dirty = false
		if o.dropped {
			continue
		}
		if o.x != nil || o.w != nil {
			if o.end == 0 {
				e.counted(o)
			}
		}
		o.told, o.toldAt = true, at
		e.explain(o, at)
		doc, err := json.Marshal(o.doc)
		if err != nil { // cannot happen: years are within 0 to 9999, and nothing else can fail
			e.log.Error("outage not encoded", "outage", o.id, "error", err)
			continue
		}
		out.Outages = append(out.Outages, store.Outage{ID: o.id, Start: o.start, End: o.end, Doc: doc})
		id := o.doc.Meter
		path := o.doc.Path
		switch {
		case o.doc.Concentrator != "":
			id = o.doc.Concentrator
			path, _ = topic.Parent(path)
		case o.kind == "centre":
			id = "centre"
		}
		out.Events = append(out.Events, e.event(api.EventOutage, path, o.kind, id, now, doc))
	}
	clear(e.changed.outages)
	e.changed.outages = append(e.changed.outages[:0], held...)
	for _, n := range e.changed.nodes {
		n.dirty = false
		if doc, err := json.Marshal(n.view()); err == nil {
			out.Events = append(out.Events, e.event(api.EventConcentrator, n.parent.path, topic.Concentrator, n.id, now, doc))
		}
	}
	clear(e.changed.nodes)
	e.changed.nodes = e.changed.nodes[:0]
	if e.storm.dirty {
		e.storm.dirty = false
		if doc, err := json.Marshal(e.Storm()); err == nil {
			out.Events = append(out.Events, e.event(api.EventStorm, "", "centre", "centre", now, doc))
		}
	}
	out.Interruptions, out.Maintenance = e.cutsChanged(), e.windowsChanged()
	return out
}

func (e *Engine) event(name, path, kind, id string, now time.Time, data []byte) api.Event {
	e.events++
	return api.Event{SpecVersion: "1.0", ID: fmt.Sprintf("%s-%x-%x-%x", id, e.started, now.UnixNano(), e.events), Type: "wattbus." + name + ".v1",
		Source: "/" + topic.Join(path, kind) + "/" + id, Subject: id, Time: now, ContentType: "application/json", Data: data}
}

// Restore takes over the open cases from the store. It is called once, when all devices are added. A case that cannot be
// understood, or whose device is not known, is left out and named in the error; all others are restored.
func (e *Engine) Restore(open []store.Outage) error {
	var errs []error
	e.started = max(e.started, e.now())
	e.restoreStorm(e.started)
	for _, k := range open {
		o, err := decodeCase(k)
		if err != nil {
			errs = append(errs, fmt.Errorf("open outage %d in the store: %w", k.ID, err))
			continue
		}
		if o.doc.Meter == "" && o.doc.Concentrator == "" {
			if !e.restoreGrid(o) && !e.restoreWindow(o) { // the grid was changed, or the work is over
				o.kind, o.told = "centre", true
				e.open++
				e.closeCase(o, e.now())
			}
			continue
		}
		will := slices.IndexFunc(o.doc.Evidence, func(v api.Evidence) bool { return v.What == "will" })
		if id := o.doc.Concentrator; id != "" {
			o.kind = topic.Concentrator
			parent, _ := topic.Parent(o.doc.Path)
			n := e.node(id, e.learn(parent))
			n.status, n.since, n.outage, o.node = nodeLost, o.start, o, n
			if len(o.doc.Evidence) > 0 && o.doc.Evidence[len(o.doc.Evidence)-1].What == "concentrator-offline" {
				n.status = nodeOffline
			}
			e.open++
			continue
		}
		dev, ok := e.find(o.doc.Meter)
		if !ok {
			errs = append(errs, fmt.Errorf("open outage %d in the store: meter %q is not known", k.ID, o.doc.Meter))
			continue
		}
		t := e.track(dev)
		o.kind = dev.Kind
		if t == nil { // retired since
			e.open++
			e.closeCase(o, e.now())
			continue
		}
		if (o.doc.Kind == kindComm || will >= 0) && dev.Link.State == cim.LinkUnreachable {
			t.own = cim.Fact[cim.Link]{State: cim.LinkLost, Since: o.start}
		}
		if will >= 0 {
			t.willed, t.willSeq, t.willAt = true, dev.Sequence, uint32(o.doc.Evidence[will].Time.Unix())
		}
		e.cases[t], o.t = o, t
		e.open++
	}
	for _, n := range e.nodes {
		e.emptied(n, e.started)
		if n.down() && n.outage == nil { // it took its leave: of one that was lost there is a case
			n.status = nodeOffline
			e.tookLeave(n)
		}
	}
	e.spread(e.root, e.now(), "", 0)
	return errors.Join(errs...)
}

func (e *Engine) find(id string) (*cim.EndDevice, bool) {
	for _, kind := range topic.Kinds() {
		if dev, ok := e.o.Device(kind, id); ok {
			return dev, true
		}
	}
	return nil, false
}
