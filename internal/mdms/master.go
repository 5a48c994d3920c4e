package mdms

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/topic"
)

// Registry is the master data, for what runs beside the MDMS in its process.
func (m *MDMS) Registry() *registry.Registry { return m.registry }

// serveRegistry answers the questions about the registry.
func (m *MDMS) serveRegistry(add func(func(), error)) {
	b := m.o.Bus
	add(bus.Serve(b, api.QueryUsagePoints, m.queryUsagePoints))
	add(bus.Serve(b, api.QueryUsagePoint, m.queryUsagePoint))
	add(bus.Serve(b, api.QueryUsagePointHistory, m.queryUsagePointHistory))
	add(bus.Serve(b, api.QueryRegistryExport, m.queryRegistryExport))
	add(bus.Serve(b, api.QueryMeterExchange, m.exchangeMeter))
	add(bus.Serve(b, api.QueryMeterRetire, m.retireMeter))
	add(bus.Serve(b, api.QueryRegistryImport, m.imports.part))
	add(m.imports.stop, nil)
}

// instant is a time of a question: def where none is given.
func instant(field string, t time.Time, def uint32) (uint32, error) {
	if t.IsZero() {
		return def, nil
	}
	if s := t.Unix(); s >= 0 && s < math.MaxUint32 {
		return uint32(s), nil
	}
	return 0, api.BadRequest(field, "%v is out of range, want 1970 to 2106", t.Format(time.RFC3339))
}

func (m *MDMS) instants(at, known time.Time) (a, k uint32, err error) {
	if a, err = instant("at", at, m.o.Clock.Unix()); err == nil {
		k, err = instant("known", known, registry.Now)
	}
	return a, k, err
}

func usagePoint(u *cim.UsagePoint) api.UsagePoint {
	tags := u.Tags
	if tags == nil {
		tags = []string{}
	}
	return api.UsagePoint{ID: u.MRID, ValidFrom: unix(u.From), TimeZone: u.TimeZone, Substation: u.Substation, Feeder: u.Feeder, Lateral: u.Lateral,
		Transformer: u.Transformer, Phases: u.Phases.String(), Fuse: float64(u.Fuse) / 10, Factor: float64(u.Factor) / cim.FactorOne, Tariff: u.Tariff,
		PV: u.PV, Protected: u.Protected, Contract: u.Contract.String(), Customer: u.Customer, Tags: tags}
}

func installation(i *cim.MeterInstallation) api.Installation {
	out := api.Installation{Meter: i.Meter, UsagePoint: i.UsagePoint, Installed: unix(i.Start), Removed: maybe(i.End), Reason: i.Reason}
	set := func(to **uint64, v uint64, has bool) {
		if has {
			*to = &v
		}
	}
	set(&out.InstallImport, i.First.Import, i.First.HasImport)
	set(&out.InstallExport, i.First.Export, i.First.HasExport)
	set(&out.RemoveImport, i.Last.Import, i.Last.HasImport)
	set(&out.RemoveExport, i.Last.Export, i.Last.HasExport)
	return out
}

func (m *MDMS) queryUsagePoints(_ context.Context, q api.UsagePointQuery) (api.Page[api.UsagePoint], error) {
	out := api.Page[api.UsagePoint]{Items: []api.UsagePoint{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	at, known, err := m.instants(q.At, q.Known)
	if err != nil {
		return out, err
	}
	sel := registry.Query{After: q.Cursor, At: at, Known: known, Substation: q.Substation, Feeder: q.Feeder, Transformer: q.Transformer, Tag: q.Tag, Part: q.Q}
	if q.Contract != "" {
		c, ok := cim.ParseContract(q.Contract)
		if !ok {
			return out, api.BadRequest("contract", "%.40q, want active, vacant or disconnected", q.Contract)
		}
		sel.Contract = &c
	}
	m.registry.List(sel, func(u cim.UsagePoint) bool {
		if len(out.Items) == limit {
			out.Next = out.Items[limit-1].ID
			return false
		}
		out.Items = append(out.Items, usagePoint(&u))
		return true
	})
	for i := range out.Items { // not under the registry's lock, which List holds
		if in, ok := m.registry.MeterAt(out.Items[i].ID, at, known); ok {
			out.Items[i].Meter = in.Meter
		}
	}
	return out, nil
}

func (m *MDMS) queryUsagePoint(_ context.Context, q api.UsagePointByID) (api.UsagePoint, error) {
	at, known, err := m.instants(q.At, q.Known)
	if err != nil {
		return api.UsagePoint{}, err
	}
	return m.usagePointAt(q.ID, at, known)
}

func (m *MDMS) usagePointAt(id string, at, known uint32) (api.UsagePoint, error) {
	u, ok := m.registry.UsagePoint(id, at, known)
	if !ok {
		if len(m.registry.History(id)) == 0 {
			return api.UsagePoint{}, api.NotFound("no usage point %.64s is known", id)
		}
		return api.UsagePoint{}, api.NotFound("nothing is known of usage point %s at %s", id, cim.Stamp(at))
	}
	out := usagePoint(&u)
	for _, i := range m.registry.Chain(id, known) {
		out.Meters = append(out.Meters, installation(&i))
		if i.Covers(at) {
			out.Meter = i.Meter
		}
	}
	return out, nil
}

func (m *MDMS) queryUsagePointHistory(_ context.Context, q api.ByID) (api.Page[api.UsagePointEntry], error) {
	out := api.Page[api.UsagePointEntry]{Items: []api.UsagePointEntry{}}
	for _, e := range m.registry.History(q.ID) {
		it := api.UsagePointEntry{Recorded: unix(e.Recorded), By: e.By}
		if e.UsagePoint != nil {
			u := usagePoint(e.UsagePoint)
			it.UsagePoint = &u
		}
		if e.Installation != nil {
			i := installation(e.Installation)
			it.Installation = &i
		}
		out.Items = append(out.Items, it)
	}
	if len(out.Items) == 0 {
		return out, api.NotFound("no usage point %.64s is known", q.ID)
	}
	return out, nil
}

// exportUnits is how many usage points go into one part of an export.
const exportUnits = 2000

func (m *MDMS) queryRegistryExport(_ context.Context, q api.RegistryExport) (api.RegistryText, error) {
	known, err := instant("known", q.Known, max(m.o.Clock.Unix(), m.registry.Recorded()))
	if err != nil {
		return api.RegistryText{}, err
	}
	var b writer
	next, err := m.registry.Export(&b, q.Cursor, exportUnits, known, q.First)
	return api.RegistryText{Data: b, Next: next, Known: unix(known)}, err
}

type writer []byte

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

// readBack is how many days before a time are looked through for what a meter told by then.
const readBack = 3

// lastReading is what a meter told last up to a time, as a reading or in a load profile, for checks of registers that people read. lock is
// that of m.mu where it is not held.
func (m *MDMS) lastReading(ctx context.Context, id string, at uint32, lock sync.Locker) registry.Reading {
	lock.Lock()
	d := m.byID[id]
	if d == nil {
		lock.Unlock()
		return registry.Reading{}
	}
	out := newestReading(d)
	if out.Time <= at {
		lock.Unlock()
		return out
	}
	// It told more since: what it had told by then stands in its days.
	last := cim.DayOf(at - min(at, 1))
	from := last - min(last, readBack-1)
	accounts := map[cim.Channel]*account{cim.Import: d.imp.snapshot(from, last)}
	if d.exp != nil {
		accounts[cim.Export] = d.exp.snapshot(from, last)
	}
	lock.Unlock()
	out = registry.Reading{}
	for _, a := range accounts {
		if err := a.load(ctx, m.o.Store, from, last); err != nil {
			m.log.Warn("what a meter told was not read: a register is not checked", "device", id, "error", err)
			return out
		}
	}
	imp, exp := accounts[cim.Import], accounts[cim.Export]
	for day := last; day >= from && out.Time == 0; day-- {
		if r := imp.rows[day]; r != nil {
			out.Time, out.Import = r.registerBy(at)
		}
	}
	out.NoExport = exp != nil
	for day := last; out.NoExport && day >= from; day-- {
		if r := exp.rows[day]; r != nil {
			if t, register := r.registerBy(at); t == out.Time {
				out.Export, out.NoExport = register, false
			}
		}
	}
	return out
}

// registerBy is the last register of a day up to a time, with its time; 0 for none.
func (r *dayRow) registerBy(at uint32) (t uint32, register uint64) {
	regs := r.reckon()
	for i, reg := range slices.Backward(regs) {
		if r.at(i) <= at && reg.known {
			return r.at(i), reg.value
		}
	}
	return 0, 0
}

// newestReading is what a meter told last of all. m.mu is held.
func newestReading(d *device) registry.Reading {
	out := registry.Reading{Time: d.Registers.Time, Import: d.Registers.Import, Export: d.Registers.Export}
	for _, r := range slices.Backward(d.imp.rows) {
		for i := r.slots(); i >= 0 && r.at(i) > out.Time; i-- {
			if reg, ok := r.register(i); ok {
				out.Time, out.Import = r.at(i), reg // the export register does not fall either
				return out
			}
		}
	}
	return out
}

// held stands for a lock that is held already.
type held struct{}

func (held) Lock()   {}
func (held) Unlock() {}

// refusal is the problem document of what is wrong with a change of the registry.
func refusal(ps []registry.Problem, s registry.Summary) *api.Problem {
	lines, places := s.Lines, ""
	if s.Wrong > s.WrongLines {
		places = fmt.Sprintf(", in %d places", s.Wrong)
	}
	if s.Wrong > len(ps) {
		places += fmt.Sprintf(", of which the first %d are told", len(ps))
	}
	are := "are"
	if s.WrongLines == 1 {
		are = "is"
	}
	p := &api.Problem{Title: "Bad request", Status: 400, Detail: fmt.Sprintf("%d of %d lines %s wrong%s; nothing was changed", s.WrongLines, lines, are, places)}
	for _, x := range ps {
		field := x.Column
		if x.Line > 0 && lines > 0 {
			if field = fmt.Sprintf("line %d", x.Line); x.Column != "" {
				field += ", " + x.Column
			}
		}
		detail := x.Detail
		if x.Value != "" {
			detail = fmt.Sprintf("%q: %s", x.Value, x.Detail)
		}
		p.Errors = append(p.Errors, api.FieldError{Field: field, Detail: detail})
	}
	if lines == 0 || s.Wrong == 1 {
		p.Field, p.Detail = p.Errors[0].Field, p.Errors[0].Detail
		if lines > 0 {
			p.Detail += "; nothing was changed"
		}
	}
	return p
}

// exchangeFields and retireFields are what the columns of the CSV form are called in the requests of an exchange and of a retirement.
var (
	exchangeFields = map[string]string{
		"usage_point": "id", "installed": "time", "removed": "time", "valid_from": "time",
		"remove_import_wh": "oldImport", "remove_export_wh": "oldExport", "install_import_wh": "firstImport", "install_export_wh": "firstExport",
	}
	retireFields = map[string]string{
		"meter": "id", "installed": "time", "removed": "time", "valid_from": "time",
		"remove_import_wh": "oldImport", "remove_export_wh": "oldExport",
	}
)

// asRequested names the parts of a request in what is wrong with it, where that names columns.
func asRequested(err error, fields map[string]string) error {
	var p *api.Problem
	if !errors.As(err, &p) {
		return err
	}
	if name := fields[p.Field]; name != "" {
		p.Field = name
	}
	for i, e := range p.Errors {
		if name := fields[e.Field]; name != "" {
			p.Errors[i].Field = name
		}
	}
	return err
}

func pair(imp, exp *uint64) (p cim.RegisterPair) {
	if imp != nil {
		p.Import, p.HasImport = *imp, true
	}
	if exp != nil {
		p.Export, p.HasExport = *exp, true
	}
	return p
}

// apply makes a change of the registry durable and then known. plan is called in the loop.
func (m *MDMS) apply(ctx context.Context, by, action, subject string, plan func(o registry.Options) (*registry.Import, error)) error {
	var parts [][]byte
	var refused error
	w := &work{
		call: func() {
			now := m.o.Clock.Unix()
			im, err := plan(registry.Options{Now: now, Last: func(id string, at uint32) registry.Reading { return m.lastReading(ctx, id, at, held{}) }})
			if err != nil {
				refused = err
				return
			}
			if s := im.Summary(); s.Wrong > 0 {
				refused = refusal(im.Problems(), s)
				return
			}
			if parts, err = im.Parts(max(now, m.registry.Recorded()), by); errors.Is(err, registry.ErrChanged) {
				refused = &api.Problem{Title: "Conflict", Status: 409, Detail: "the registry was changed while the import was read; nothing of it was applied: import it again"}
			}
			m.pending.Registry = append(m.pending.Registry, parts...)
			if len(parts) > 0 {
				m.note(by, action, subject, "", im.Summary())
			}
		},
		after: func() error {
			var t touched
			for _, p := range parts {
				if err := m.registry.LoadEach(p, t.add); err != nil {
					return fmt.Errorf("what was just committed to the registry: %w", err)
				}
			}
			if len(parts) > 0 {
				m.placesChanged(&t)
			}
			return nil
		},
	}
	if err := m.do(ctx, w); err != nil {
		if ctx.Err() != nil {
			err = &api.Problem{Title: "No answer", Status: 504, Detail: "the centre could not keep the change in time; it may still have been accepted"}
		}
		return err
	}
	return refused
}

func (m *MDMS) exchangeMeter(ctx context.Context, q api.MeterExchange) (api.UsagePoint, error) {
	at, err := instant("time", q.Time, m.o.Clock.Unix())
	if err == nil && (at == 0 || at > m.o.Clock.Unix()) {
		err = api.BadRequest("time", "%s is in the future: an exchange is told when it was done", cim.Stamp(at))
	}
	if err == nil && (q.Dials < 0 || q.Dials > 12) {
		err = api.BadRequest("dials", "%d, want 1 to 12, or 0 for not known", q.Dials)
	}
	if err != nil {
		return api.UsagePoint{}, err
	}
	e := registry.Exchange{UsagePoint: q.UsagePoint, At: at, Final: pair(q.OldImport, q.OldExport), Meter: q.Meter, First: pair(q.FirstImport, q.FirstExport),
		Serial: q.Serial, Dials: uint8(q.Dials), Reason: q.Reason}
	if err := m.apply(ctx, q.By, "registry.exchange", q.UsagePoint, func(o registry.Options) (*registry.Import, error) {
		if q.Was != nil {
			u, err := m.usagePointAt(q.UsagePoint, m.o.Clock.Unix(), registry.Now)
			if err != nil {
				return nil, err
			}
			if u.Meter != *q.Was {
				return nil, api.Outdated("another meter is at usage point %s by now: get it again", q.UsagePoint)
			}
		}
		return m.registry.Exchange(e, o), nil
	}); err != nil {
		return api.UsagePoint{}, asRequested(err, exchangeFields)
	}
	return m.usagePointAt(q.UsagePoint, max(at, m.o.Clock.Unix()), registry.Now)
}

func (m *MDMS) retireMeter(ctx context.Context, q api.MeterRetirement) (api.Retired, error) {
	at, err := instant("time", q.Time, m.o.Clock.Unix())
	if err == nil && topic.CheckID(q.ID) != nil {
		err = api.BadRequest("id", "%.40q is no id of a meter", q.ID)
	}
	if err == nil && (at == 0 || at > m.o.Clock.Unix()) {
		err = api.BadRequest("time", "%s is in the future", cim.Stamp(at))
	}
	if err != nil {
		return api.Retired{}, err
	}
	err = m.apply(ctx, q.By, "registry.retire", q.ID, func(o registry.Options) (*registry.Import, error) {
		d := m.byID[q.ID]
		if known, _ := m.registry.Known(q.ID, at); !known && (d == nil || !d.meters()) {
			return nil, api.NotFound("no meter %s is known", q.ID)
		}
		return m.registry.Retire(q.ID, at, pair(q.OldImport, q.OldExport), q.Reason, o), nil
	})
	if err != nil {
		return api.Retired{}, asRequested(err, retireFields)
	}
	return api.Retired{ID: q.ID, Life: "retired", Time: unix(at)}, nil
}

// place is where a device hangs in the grid, or hung last, as numbers of MDMS.grid.
type place struct{ substation, feeder, transformer uint32 }

// takePlace takes over what the registry says of a device. m.mu is held.
func (m *MDMS) takePlace(d *device) {
	if !d.meters() {
		m.noteColumn(d)
		m.placed(d)
		return
	}
	g := m.lastGridOf(d.ID)
	d.place = place{m.grid.number(g.Substation), m.grid.number(g.Feeder), m.grid.number(g.Transformer)}
	if _, retired := m.registry.Known(d.ID, m.o.Clock.Unix()); retired != d.retired {
		if d.retired = retired; retired {
			m.outages.Retire(&d.EndDevice)
			m.planner.Forget(d.Ordinal)
		} else {
			m.outages.Add(&d.EndDevice)
		}
	}
	m.noteColumn(d)
	m.placed(d)
	asset, _ := m.registry.Meter(d.ID, m.o.Clock.Unix(), registry.Now)
	d.each(func(s *series) { s.dials = asset.Dials })
	span := m.registry.Expected(d.ID)
	if d.span == span {
		return
	}
	d.span = span
	d.each(func(s *series) { m.ledger.bound(s, span.From, span.Until) })
	if !d.heard() {
		m.placeUnheard(d, m.o.Clock.Unix())
	}
	m.noteExpected(d)
}

// lastGridOf returns where a meter hangs in the grid or, if it was taken out, where it hung last: what it measured was used there.
func (m *MDMS) lastGridOf(meter string) registry.Grid {
	now := m.o.Clock.Unix()
	g := m.registry.GridOf(meter, now)
	if until := m.registry.Expected(meter).Until; g == (registry.Grid{}) && until != 0 && until <= now {
		g = m.registry.GridOf(meter, until-1)
	}
	return g
}

// GridOf returns where a meter hangs in the grid, for the outage engine and whoever else groups meters by it.
func (m *MDMS) GridOf(meter string) registry.Grid { return m.registry.GridOf(meter, m.o.Clock.Unix()) }
