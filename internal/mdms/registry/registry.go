package registry

import (
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/wattbus/wattbus/internal/cim"
)

// Now, as a time of knowledge, means all that is known.
const Now = math.MaxUint32

// Registry is the master data. It is safe for concurrent use. A usage point with its meter takes some 300 bytes.
//
//	usage point ──> version ──> version before …        (what holds since when, known since when)
//	     └────────> installation ──> the one before …   (also hung on its meter)
//	meter ──> version …
type Registry struct {
	mu     sync.RWMutex
	names  names
	points slab[point]
	meters slab[meter]
	pv     slab[pointVersion]
	mv     slab[meterVersion]
	iv     slab[installVersion]

	pointOf, meterOf []uint32 // by name: the usage point or meter that is called so

	recorded   uint32 // of the newest change
	generation uint64 // grows with each change

	orderMu                      sync.Mutex // guards what follows, which is made when somebody asks
	pointOrder, meterOrder       []uint32   // by id
	pointsOrdered, metersOrdered uint32
}

type point struct {
	id       name
	versions uint32 // newest, by the order of recording
	installs uint32
}

type meter struct {
	id       name
	versions uint32
	installs uint32
}

type pointVersion struct {
	before                                                                 uint32 // recorded before this one
	from, recorded                                                         uint32
	by                                                                     name
	zone, substation, feeder, lateral, transformer, tariff, customer, tags name
	factor                                                                 uint32
	fuse                                                                   uint16
	phases                                                                 cim.Phases
	contract                                                               cim.Contract
	pv, protected                                                          bool
}

type meterVersion struct {
	before                                uint32
	from, recorded                        uint32
	by                                    name
	serial, manufacturer, model, firmware name
	keys                                  uint16
	dials                                 uint8
	stage                                 cim.Stage
}

type installVersion struct {
	point, meter                 uint32
	beforeAtPoint, beforeOfMeter uint32
	recorded                     uint32
	by, reason                   name
	start, end                   uint32
	first, last                  [2]uint64 // import, export
	has                          uint8     // bits: first import, first export, last import, last export
}

// New returns an empty registry.
func New() *Registry {
	return &Registry{names: newNames()}
}

// Change is one change: of a usage point, of a meter, or of an installation; the others are nil.
type Change struct {
	Recorded     uint32
	By           string // who made it
	UsagePoint   *cim.UsagePoint
	Meter        *cim.MeterAsset
	Installation *cim.MeterInstallation
}

// Counts is how much a registry holds.
type Counts struct {
	UsagePoints, Meters, Versions int
	Generation                    uint64
}

// Counts tells how much there is.
func (r *Registry) Counts() Counts {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return Counts{UsagePoints: int(r.points.n), Meters: int(r.meters.n), Versions: int(r.pv.n + r.mv.n + r.iv.n), Generation: r.generation}
}

// Generation grows with each change.
func (r *Registry) Generation() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.generation
}

// Recorded is when the newest change was recorded; nothing may be recorded before it.
func (r *Registry) Recorded() uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.recorded
}

// Add enters changes that were checked before.
func (r *Registry) Add(changes ...Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range changes {
		r.add(&changes[i])
	}
}

func (r *Registry) add(c *Change) {
	r.recorded = max(r.recorded, c.Recorded)
	r.generation++
	switch {
	case c.UsagePoint != nil:
		r.addPoint(c, c.UsagePoint)
	case c.Meter != nil:
		r.addMeter(c, c.Meter)
	case c.Installation != nil:
		r.addInstallation(c, c.Installation)
	}
}

func (r *Registry) addPoint(c *Change, u *cim.UsagePoint) {
	p := r.points.at(r.point(u.MRID))
	n := &r.names
	p.versions = r.pv.add(pointVersion{before: p.versions, from: u.From, recorded: c.Recorded, by: n.intern(c.By), zone: n.intern(u.TimeZone),
		substation: n.intern(u.Substation), feeder: n.intern(u.Feeder), lateral: n.intern(u.Lateral), transformer: n.intern(u.Transformer),
		tariff: n.intern(u.Tariff), customer: n.intern(u.Customer), tags: n.intern(strings.Join(u.Tags, ";")), factor: u.Factor, fuse: u.Fuse,
		phases: u.Phases, contract: u.Contract, pv: u.PV, protected: u.Protected})
}

func (r *Registry) addMeter(c *Change, m *cim.MeterAsset) {
	p := r.meters.at(r.meter(m.MRID))
	n := &r.names
	p.versions = r.mv.add(meterVersion{before: p.versions, from: m.From, recorded: c.Recorded, by: n.intern(c.By), serial: n.intern(m.Serial),
		manufacturer: n.intern(m.Manufacturer), model: n.intern(m.Model), firmware: n.intern(m.Firmware), keys: m.KeyVersion, dials: m.Dials, stage: m.Stage})
}

func (r *Registry) addInstallation(c *Change, i *cim.MeterInstallation) {
	at, of := r.point(i.UsagePoint), r.meter(i.Meter)
	p, m := r.points.at(at), r.meters.at(of)
	v := installVersion{point: at, meter: of, beforeAtPoint: p.installs, beforeOfMeter: m.installs, recorded: c.Recorded, by: r.names.intern(c.By),
		reason: r.names.intern(i.Reason), start: i.Start, end: i.End,
		first: [2]uint64{i.First.Import, i.First.Export}, last: [2]uint64{i.Last.Import, i.Last.Export}}
	for b, has := range []bool{i.First.HasImport, i.First.HasExport, i.Last.HasImport, i.Last.HasExport} {
		if has {
			v.has |= 1 << b
		}
	}
	h := r.iv.add(v)
	p.installs, m.installs = h, h
}

// point returns the usage point with the id, made if there is none.
func (r *Registry) point(id string) uint32 {
	return entity(&r.names, &r.pointOf, id, func(h name) uint32 { return r.points.add(point{id: h}) })
}

func (r *Registry) meter(id string) uint32 {
	return entity(&r.names, &r.meterOf, id, func(h name) uint32 { return r.meters.add(meter{id: h}) })
}

func entity(n *names, of *[]uint32, id string, add func(name) uint32) uint32 {
	h := n.intern(id)
	if int(h) >= len(*of) {
		*of = append(*of, make([]uint32, len(n.at)-len(*of))...)
	}
	if (*of)[h] == 0 {
		(*of)[h] = add(h)
	}
	return (*of)[h]
}

func (r *Registry) findPoint(id string) *point {
	if h := r.names.find(id); h != 0 && int(h) < len(r.pointOf) && r.pointOf[h] != 0 {
		return r.points.at(r.pointOf[h])
	}
	return nil
}

func (r *Registry) findMeter(id string) *meter {
	if h := r.names.find(id); h != 0 && int(h) < len(r.meterOf) && r.meterOf[h] != 0 {
		return r.meters.at(r.meterOf[h])
	}
	return nil
}

func (r *Registry) viewPoint(id name, v *pointVersion) cim.UsagePoint {
	n := &r.names
	u := cim.UsagePoint{MRID: n.text(id), From: v.from, TimeZone: n.text(v.zone), Substation: n.text(v.substation), Feeder: n.text(v.feeder),
		Lateral: n.text(v.lateral), Transformer: n.text(v.transformer), Phases: v.phases, Fuse: v.fuse, Factor: v.factor, Tariff: n.text(v.tariff),
		Customer: n.text(v.customer), PV: v.pv, Protected: v.protected, Contract: v.contract}
	if v.tags != 0 {
		u.Tags = strings.Split(n.text(v.tags), ";")
	}
	return u
}

func (r *Registry) viewMeter(id name, v *meterVersion) cim.MeterAsset {
	n := &r.names
	return cim.MeterAsset{MRID: n.text(id), From: v.from, Serial: n.text(v.serial), Manufacturer: n.text(v.manufacturer), Model: n.text(v.model),
		Firmware: n.text(v.firmware), Dials: v.dials, KeyVersion: v.keys, Stage: v.stage}
}

func (r *Registry) viewInstallation(v *installVersion) cim.MeterInstallation {
	bit := func(i int) bool { return v.has&(1<<i) != 0 }
	return cim.MeterInstallation{Meter: r.names.text(r.meters.at(v.meter).id), UsagePoint: r.names.text(r.points.at(v.point).id), Start: v.start, End: v.end,
		First:  cim.RegisterPair{Import: v.first[0], Export: v.first[1], HasImport: bit(0), HasExport: bit(1)},
		Last:   cim.RegisterPair{Import: v.last[0], Export: v.last[1], HasImport: bit(2), HasExport: bit(3)},
		Reason: r.names.text(v.reason)}
}

// orderedPoints are the usage points by id. r.mu is held for reading.
func (r *Registry) orderedPoints() []uint32 {
	r.orderMu.Lock()
	defer r.orderMu.Unlock()
	if r.pointsOrdered != r.points.n {
		r.pointOrder = order(r.points.n, func(i uint32) string { return r.names.text(r.points.at(i).id) })
		r.pointsOrdered = r.points.n
	}
	return r.pointOrder
}

func (r *Registry) orderedMeters() []uint32 {
	r.orderMu.Lock()
	defer r.orderMu.Unlock()
	if r.metersOrdered != r.meters.n {
		r.meterOrder = order(r.meters.n, func(i uint32) string { return r.names.text(r.meters.at(i).id) })
		r.metersOrdered = r.meters.n
	}
	return r.meterOrder
}

func order(n uint32, id func(uint32) string) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(i) + 1
	}
	slices.SortFunc(out, func(a, b uint32) int { return strings.Compare(id(a), id(b)) })
	return out
}
