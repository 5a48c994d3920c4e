package registry

import (
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
)

// Query selects usage points as they were at a time, as known at another; empty fields select all.
type Query struct {
	After                                      string // an id
	At, Known                                  uint32
	Substation, Feeder, Transformer, Tag, Part string // Part: of the id, in any case
	Contract                                   *cim.Contract
}

// List calls f with the selected usage points by id until it returns false.
func (r *Registry) List(q Query, f func(cim.UsagePoint) bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := &r.names
	substation, feeder, transformer := n.find(q.Substation), n.find(q.Feeder), n.find(q.Transformer)
	if q.Substation != "" && substation == 0 || q.Feeder != "" && feeder == 0 || q.Transformer != "" && transformer == 0 {
		return
	}
	part := strings.ToLower(q.Part)
	all := r.orderedPoints()
	id := func(h uint32) string { return n.text(r.points.at(h).id) }
	for _, h := range all[searchAfter(all, id, q.After):] {
		p := r.points.at(h)
		if part != "" && !strings.Contains(strings.ToLower(n.text(p.id)), part) {
			continue
		}
		v := r.versionAt(p, q.At, q.Known)
		if v == nil || substation != 0 && v.substation != substation || feeder != 0 && v.feeder != feeder || transformer != 0 && v.transformer != transformer ||
			q.Contract != nil && v.contract != *q.Contract || q.Tag != "" && !slices.Contains(strings.Split(n.text(v.tags), ";"), q.Tag) {
			continue
		}
		if !f(r.viewPoint(p.id, v)) {
			return
		}
	}
}

// MeterAt returns the meter that is at a usage point at a time.
func (r *Registry) MeterAt(point string, at, known uint32) (cim.MeterInstallation, bool) {
	for _, i := range r.Chain(point, known) {
		if i.Covers(at) {
			return i, true
		}
	}
	return cim.MeterInstallation{}, false
}

// Span is from when to when a meter's intervals are wanted: from its first installation to its removal, or its retirement.
type Span struct {
	From  uint32 // 0: not said
	Until uint32 // 0: it goes on
}

// Expected returns the span in which a meter is expected to measure, as the registry says; the zero Span for one that it does
// not know. Between two installations a meter is expected, too: it keeps what it measured, which is nothing.
func (r *Registry) Expected(id string) Span {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.findMeter(id)
	if m == nil {
		return Span{}
	}
	var s Span
	places := r.placesOf(m, Now, false)
	for i := range places {
		if i == 0 {
			s.From = places[i].Start
		}
		if s.Until = places[i].End; s.Until == 0 {
			return s
		}
	}
	if v := r.meterVersionAt(m, Now, Now); v != nil && v.stage == cim.StageRetired && (s.Until == 0 || v.from < s.Until) {
		s.Until = max(v.from, 1)
	}
	return s
}

// Told is when the registry was last told where a meter is or was; 0: never. end is the earliest time at which it was ever said to have been
// taken out, also if that was said to be wrong since; 0: none. read says that people read registers of it.
func (r *Registry) Told(id string) (recorded, end uint32, read bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.findMeter(id)
	if m == nil {
		return 0, 0, false
	}
	for h := m.installs; h != 0; h = r.iv.at(h).beforeOfMeter {
		v := r.iv.at(h)
		recorded, read = max(recorded, v.recorded), read || v.has != 0
		if v.end != 0 && (end == 0 || v.end < end) {
			end = v.end
		}
	}
	return recorded, end, read
}

// EachInstalled calls f with the meters that the registry ever saw installed, of n that begin with number from, and returns the number to go
// on with; they are numbered from 1, and 0 is the end. f must not ask the registry.
func (r *Registry) EachInstalled(from, n uint32, f func(id string)) (next uint32) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := from; i <= r.meters.n; i++ {
		if i-from == n {
			return i
		}
		if m := r.meters.at(i); m.installs != 0 {
			f(r.names.text(m.id))
		}
	}
	return 0
}

// Grid is where a meter hangs in the grid now.
type Grid struct{ UsagePoint, Substation, Feeder, Lateral, Transformer string }

// GridOf returns where a meter is; the zero Grid where it is not known.
func (r *Registry) GridOf(meter string, at uint32) Grid {
	u, _, ok := r.Place(meter, at, Now)
	if !ok {
		return Grid{}
	}
	return Grid{UsagePoint: u.MRID, Substation: u.Substation, Feeder: u.Feeder, Lateral: u.Lateral, Transformer: u.Transformer}
}

// Life is how far a meter is in its life: manufactured, in-stock, installed, commissioned, active, disconnected, removed or
// retired. first is when its first valid reading came (0: none yet), open whether its breaker is.
func (r *Registry) Life(id string, at uint32, first uint32, open bool) string {
	m, known := r.Meter(id, at, Now)
	u, place, placed := r.Place(id, at, Now)
	switch {
	case known && m.Stage == cim.StageRetired:
		return "retired"
	case placed && (open || u.Contract == cim.ContractDisconnected):
		return "disconnected"
	case placed && (first == 0 || first > at):
		return "installed"
	case placed && u.Contract == cim.ContractVacant:
		return "commissioned" // it works, but nobody has a contract
	case placed && place.Start <= at:
		return "active"
	case slices.ContainsFunc(r.Places(id, Now), func(i cim.MeterInstallation) bool { return i.Start <= at }):
		return "removed"
	case known && m.Stage != cim.StageNone:
		return m.Stage.String()
	case known:
		return cim.StageInStock.String()
	}
	return ""
}
