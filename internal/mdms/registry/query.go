package registry

import (
	"cmp"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// Every question takes the time for which it is asked and, where it says so, the time of knowledge: Now for what is known
// today, another one for what was known then.

// UsagePoint returns what held of a usage point at a time, as known then.
func (r *Registry) UsagePoint(id string, at, known uint32) (cim.UsagePoint, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p := r.findPoint(id)
	if p == nil {
		return cim.UsagePoint{}, false
	}
	v := r.versionAt(p, at, known)
	if v == nil {
		return cim.UsagePoint{}, false
	}
	return r.viewPoint(p.id, v), true
}

// versionAt is the version of the latest beginning up to at; of several with the same beginning the one recorded last.
func (r *Registry) versionAt(p *point, at, known uint32) *pointVersion {
	var best *pointVersion
	for h := p.versions; h != 0; {
		v := r.pv.at(h)
		if v.recorded <= known && v.from <= at && (best == nil || v.from > best.from) {
			best = v
		}
		h = v.before
	}
	return best
}

func (r *Registry) meterVersionAt(m *meter, at, known uint32) *meterVersion {
	var best *meterVersion
	for h := m.versions; h != 0; {
		v := r.mv.at(h)
		if v.recorded <= known && v.from <= at && (best == nil || v.from > best.from) {
			best = v
		}
		h = v.before
	}
	return best
}

// Versions returns a usage point's versions by their beginnings.
func (r *Registry) Versions(id string, known uint32) []cim.UsagePoint {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if p := r.findPoint(id); p != nil {
		return r.versionsOf(p, known)
	}
	return nil
}

func (r *Registry) versionsOf(p *point, known uint32) []cim.UsagePoint {
	var out []cim.UsagePoint
	for h := p.versions; h != 0; {
		v := r.pv.at(h)
		if v.recorded <= known && !slices.ContainsFunc(out, func(u cim.UsagePoint) bool { return u.From == v.from }) {
			out = append(out, r.viewPoint(p.id, v))
		}
		h = v.before
	}
	slices.SortFunc(out, func(a, b cim.UsagePoint) int { return cmp.Compare(a.From, b.From) })
	return out
}

// Meter returns what held of a meter at a time.
func (r *Registry) Meter(id string, at, known uint32) (cim.MeterAsset, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.findMeter(id)
	if m == nil {
		return cim.MeterAsset{}, false
	}
	v := r.meterVersionAt(m, at, known)
	if v == nil {
		return cim.MeterAsset{}, false
	}
	return r.viewMeter(m.id, v), true
}

// MeterVersions returns a meter's versions by their beginnings.
func (r *Registry) MeterVersions(id string, known uint32) []cim.MeterAsset {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if m := r.findMeter(id); m != nil {
		return r.meterVersionsOf(m, known)
	}
	return nil
}

func (r *Registry) meterVersionsOf(m *meter, known uint32) []cim.MeterAsset {
	var out []cim.MeterAsset
	for h := m.versions; h != 0; {
		v := r.mv.at(h)
		if v.recorded <= known && !slices.ContainsFunc(out, func(a cim.MeterAsset) bool { return a.From == v.from }) {
			out = append(out, r.viewMeter(m.id, v))
		}
		h = v.before
	}
	slices.SortFunc(out, func(a, b cim.MeterAsset) int { return cmp.Compare(a.From, b.From) })
	return out
}

// Chain returns the meters of a usage point in the order in which they were there.
func (r *Registry) Chain(id string, known uint32) []cim.MeterInstallation {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if p := r.findPoint(id); p != nil {
		return r.chainOf(p, known, false)
	}
	return nil
}

// chainOf returns the installations at a usage point, also those that were taken back if asked for.
func (r *Registry) chainOf(p *point, known uint32, void bool) []cim.MeterInstallation {
	var out []cim.MeterInstallation
	for h := p.installs; h != 0; {
		v := r.iv.at(h)
		if v.recorded <= known && r.current(v, known) == h && (void || v.end != v.start) {
			out = append(out, r.viewInstallation(v))
		}
		h = v.beforeAtPoint
	}
	slices.SortFunc(out, byStart)
	return out
}

func byStart(a, b cim.MeterInstallation) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.UsagePoint, b.UsagePoint))
}

// current is the newest version of the installation with v's key.
func (r *Registry) current(v *installVersion, known uint32) uint32 {
	for h := r.meters.at(v.meter).installs; h != 0; {
		w := r.iv.at(h)
		if w.recorded <= known && w.start == v.start {
			return h
		}
		h = w.beforeOfMeter
	}
	return 0
}

// Places returns where a meter was, in order.
func (r *Registry) Places(id string, known uint32) []cim.MeterInstallation {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if m := r.findMeter(id); m != nil {
		return r.placesOf(m, known, false)
	}
	return nil
}

func (r *Registry) placesOf(m *meter, known uint32, void bool) []cim.MeterInstallation {
	var out []cim.MeterInstallation
	for h := m.installs; h != 0; {
		v := r.iv.at(h)
		if v.recorded <= known && r.current(v, known) == h && (void || v.end != v.start) {
			out = append(out, r.viewInstallation(v))
		}
		h = v.beforeOfMeter
	}
	slices.SortFunc(out, byStart)
	return out
}

// Place returns where a meter was at a time, and what held of that usage point then.
func (r *Registry) Place(id string, at, known uint32) (cim.UsagePoint, cim.MeterInstallation, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.findMeter(id)
	if m == nil {
		return cim.UsagePoint{}, cim.MeterInstallation{}, false
	}
	for h := m.installs; h != 0; {
		v := r.iv.at(h)
		if v.recorded <= known && at >= v.start && (v.end == 0 || at < v.end) && r.current(v, known) == h {
			p := r.points.at(v.point)
			i := r.viewInstallation(v)
			if pv := r.versionAt(p, at, known); pv != nil {
				return r.viewPoint(p.id, pv), i, true
			}
			return cim.UsagePoint{MRID: i.UsagePoint, Factor: cim.FactorOne}, i, true
		}
		h = v.beforeOfMeter
	}
	return cim.UsagePoint{}, cim.MeterInstallation{}, false
}

// Known reports whether a meter is in the registry, and whether it was retired by the time.
func (r *Registry) Known(id string, at uint32) (known, retired bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.findMeter(id)
	if m == nil {
		return false, false
	}
	v := r.meterVersionAt(m, at, Now)
	return true, v != nil && v.stage == cim.StageRetired
}

// Entry is one record of a history.
type Entry struct {
	Recorded     uint32
	By           string
	UsagePoint   *cim.UsagePoint
	Installation *cim.MeterInstallation
}

// History returns all that was ever recorded of a usage point, in the order of recording.
func (r *Registry) History(id string) []Entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p := r.findPoint(id)
	if p == nil {
		return nil
	}
	var out []Entry
	for h := p.installs; h != 0; {
		v := r.iv.at(h)
		i := r.viewInstallation(v)
		out = append(out, Entry{Recorded: v.recorded, By: r.names.text(v.by), Installation: &i})
		h = v.beforeAtPoint
	}
	for h := p.versions; h != 0; {
		v := r.pv.at(h)
		u := r.viewPoint(p.id, v)
		out = append(out, Entry{Recorded: v.recorded, By: r.names.text(v.by), UsagePoint: &u})
		h = v.before
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b Entry) int { return cmp.Compare(a.Recorded, b.Recorded) })
	return out
}
