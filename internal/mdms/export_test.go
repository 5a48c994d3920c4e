package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestExport compares what an export says of sealed and open days with what the meters measured, and the books that are read
// without an MDMS with it.
func TestExport(t *testing.T) {
	t.Parallel()
	const slots = 3*48 + 17
	c := newCentre(t, clock.New(at(slots), 1))
	c.opts.Backfill.Off = true
	c.halt()
	c.run()
	w := newWorld(c, 7, t0, slots, true)
	defer func() { w.stop() }()
	for _, id := range w.ids {
		m := w.meters[id]
		w.register(m)
		for s := range slots + 1 {
			c.send(m.path, topic.Meter, id, "reading", w.reading(m, s))
		}
	}
	c.flush()
	c.until("up", 120*time.Second, func() bool { _, ok := c.totals(); return ok })
	c.until("all entered", 120*time.Second, func() bool {
		return ask[api.Span, api.Completeness](c, api.QueryCompleteness, api.Span{}).Received == 9*slots // two of them count what they feed in, too
	})
	from, to := unix(t0+1800), unix(t0+(slots-1)*1800)
	var points []api.ExportPoint
	c.closed()
	q := api.ExportQuery{From: from, To: to, Paging: api.Paging{Limit: 2}, CountIt: true}
	for pages := 0; ; pages++ {
		p := ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, q)
		if p.Total != 7 || len(p.Points) > 2 || pages > 4 {
			t.Fatalf("page %d: %d points of %d", pages, len(p.Points), p.Total)
		}
		points = append(points, p.Points...)
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	if len(points) != 7 {
		t.Fatalf("%d points", len(points))
	}
	for i, p := range points {
		m := w.meters[w.ids[i]]
		if p.ID != m.id || (m.exp != nil) != (len(p.Channels) == 2) {
			t.Fatalf("point %d: %s with %d channels", i, p.ID, len(p.Channels))
		}
		for _, ch := range p.Channels {
			tr := &m.truth
			if ch.Channel == cim.Export.String() {
				tr = m.exp
			}
			iv, regs, err := billing.Unpack(ch.Meters[0].Data, nil, nil)
			if err != nil || len(iv) != slots || len(regs) < 3 {
				t.Fatalf("%s %s: %d intervals, %d registers: %v", p.ID, ch.Channel, len(iv), len(regs), err)
			}
			for s, v := range iv {
				if v.Start != int64(t0)+int64(s)*1800 || v.End != v.Start+1800 || v.Wh != int64(tr.wh(s)) || v.Quality != cim.Raw {
					t.Fatalf("%s %s slot %d: %+v", p.ID, ch.Channel, s, v)
				}
			}
			for _, r := range regs {
				if want := tr.reg[(r.At-int64(t0))/1800]; r.Wh != want {
					t.Fatalf("%s %s: register at %d is %d, want %d", p.ID, ch.Channel, r.At, r.Wh, want)
				}
			}
		}
	}

	one := ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, api.ExportQuery{From: from, To: to, Meters: []string{"M0003"}, CountIt: true})
	below := ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, api.ExportQuery{From: from, To: to, Path: "C1", CountIt: true})
	if len(one.Points) != 1 || one.Total != 1 || one.Points[0].ID != "M0003" || below.Total != 5 {
		t.Errorf("one meter: %d of %d; below C1: %d", len(one.Points), one.Total, below.Total)
	}

	for field, bad := range map[string]api.ExportQuery{
		"from":      {},
		"to":        {From: to, To: from},
		"path":      {From: from, To: to, Path: "/"},
		"meter":     {From: from, To: to, Meters: []string{"M0003", "absent"}},
		"cursor":    {From: from, To: to, Paging: api.Paging{Cursor: "x"}},
		"limit":     {From: from, To: to, Paging: api.Paging{Limit: 1e6}},
		"asKnownAt": {From: from, To: to, Known: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		_, err := bus.Request[api.ExportQuery, api.ExportPage](context.Background(), c.bus, api.QueryExport, bad)
		var p *api.Problem
		if !errors.As(err, &p) || p.Field != field {
			t.Errorf("%+v: %v, want a problem with %s", bad, err, field)
		}
	}

	c.halt()
	c.run() // to be halted at the end
	b, err := OpenBooks(t.Context(), c.store, c.opts.Clock, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Export(t.Context(), api.ExportQuery{From: from, To: to})
	if err != nil || !reflect.DeepEqual(got.Points, points) {
		t.Errorf("read without an MDMS, the points are others: %v", err)
	}
}

// TestVerdictsInExports judges a day by hand: an estimate takes the place of a doubted value, and a late value that of an estimate.
func TestVerdictsInExports(t *testing.T) {
	s := series{length: 30, from: t0}
	r := newRow(&s, cim.DayOf(t0), 30)
	for i := 1; i < len(r.cells); i++ {
		r.cells[i].wh, r.marks[i] = uint32(i), mark(cim.Raw)
	}
	r.cells[5].wh, r.marks[5] = cim.NoValue, 0
	r.version = 2
	five, nine := uint32(55), uint32(99)
	raw := uint32(9)
	doc := store.VerdictDoc{Cells: []store.Cell{{Slot: 4, Wh: &five, Quality: cim.Estimated}, {Slot: 8, Wh: &nine, Raw: &raw, Quality: cim.Edited}}}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	v := &store.Verdict{Length: 30, Raw: 2, Doc: text}
	if err := r.judge(v); err != nil {
		t.Fatal(err)
	}
	check := func(i int, wh uint32, q cim.Quality) {
		t.Helper()
		if r.cells[i].wh != wh || r.quality(i) != q {
			t.Errorf("cell %d is %d, %v; want %d, %v", i, r.cells[i].wh, r.quality(i), wh, q)
		}
	}
	check(1, 1, cim.Validated)
	check(5, 55, cim.Estimated)
	check(9, 99, cim.Edited)
	r.version = 3 // a late value came
	r.cells[5].wh, r.marks[5] = 5, mark(cim.Recovered)
	r.marks[1] = mark(cim.Raw)
	r.cells[9].wh, r.marks[9] = 9, mark(cim.Raw)
	if err := r.judge(v); err != nil {
		t.Fatal(err)
	}
	check(1, 1, cim.Raw)
	check(5, 5, cim.Recovered)
	check(9, 99, cim.Edited)
}

// TestExportOfUsagePoints puts two meters one after the other at a usage point, with a factor that changes, and leaves one meter out.
func TestExportOfUsagePoints(t *testing.T) {
	t.Parallel()
	const slots = 2 * 48
	c := newCentre(t, clock.New(at(slots), 1))
	c.opts.Backfill.Off = true
	c.halt()
	c.run()
	w := newWorld(c, 3, t0, slots, false)
	defer func() { w.stop() }()
	for _, id := range w.ids {
		m := w.meters[id]
		w.register(m)
		for s := range slots + 1 {
			c.send(m.path, topic.Meter, id, "reading", w.reading(m, s))
		}
	}
	c.flush()
	c.until("up", 120*time.Second, func() bool { _, ok := c.totals(); return ok })
	c.until("all entered", 120*time.Second, func() bool {
		return ask[api.Span, api.Completeness](c, api.QueryCompleteness, api.Span{}).Received == 3*slots
	})
	swap := t0 + 50*1800 + 600
	first, last := w.meters["M0001"].reg[51], w.meters["M0000"].reg[50]
	c.mdms.registry.Add(
		registry.Change{Recorded: 1, UsagePoint: &cim.UsagePoint{MRID: "U1", TimeZone: "Asia/Tokyo", Tariff: "day-night", Feeder: "F1", Factor: 1000}},
		registry.Change{Recorded: 1, UsagePoint: &cim.UsagePoint{MRID: "U1", From: t0 + 86400, TimeZone: "Asia/Tokyo", Tariff: "day-night", Feeder: "F1", Factor: 40_000}},
		registry.Change{Recorded: 1, UsagePoint: &cim.UsagePoint{MRID: "U2", Factor: 1000}},
		registry.Change{Recorded: 1, Meter: &cim.MeterAsset{MRID: "M0000", Dials: 5}},
		registry.Change{Recorded: 1, Installation: &cim.MeterInstallation{Meter: "M0000", UsagePoint: "U1", Start: t0 - 86400, End: swap, Last: cim.RegisterPair{Import: last, HasImport: true}}},
		registry.Change{Recorded: 1, Installation: &cim.MeterInstallation{Meter: "M0001", UsagePoint: "U1", Start: swap, First: cim.RegisterPair{Import: first, HasImport: true}}},
	)
	c.closed()
	q := api.ExportQuery{From: unix(t0), To: unix(t0 + 2*86400), Paging: api.Paging{Limit: 1}, CountIt: true}
	var got []api.ExportPoint
	for {
		p := ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, q)
		if p.Total != 3 {
			t.Fatalf("%d usage points in all", p.Total)
		}
		got = append(got, p.Points...)
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	if len(got) != 3 || got[0].ID != "U1" || got[1].ID != "U2" || got[2].ID != "M0002" || got[0].TimeZone != "Asia/Tokyo" || len(got[1].Channels) != 0 {
		t.Fatalf("points are %+v", got)
	}
	ms := got[0].Channels[0].Meters
	if len(ms) != 3 || ms[0].Meter != "M0000" || ms[0].Factor != 1000 || ms[0].Modulus != 100_000_000 || ms[0].To != int64(t0+86400) ||
		ms[1].Meter != "M0000" || ms[1].Factor != 40_000 || ms[1].To != int64(swap) || ms[2].Meter != "M0001" || ms[2].From != int64(swap) || ms[2].Modulus != 0 {
		t.Fatalf("meters are %+v", ms)
	}
	iv, regs, err := billing.Unpack(ms[1].Data, nil, nil)
	if err != nil || len(iv) != 3 || regs[len(regs)-1] != (billing.Register{At: int64(swap), Wh: last, Quality: cim.Raw}) {
		t.Errorf("behind the change of factor: %d intervals, registers %+v, %v", len(iv), regs, err)
	}
	if _, regs, err = billing.Unpack(ms[2].Data, nil, nil); err != nil || regs[0] != (billing.Register{At: int64(swap), Wh: first, Quality: cim.Raw}) {
		t.Errorf("of the new meter: registers %+v, %v", regs, err)
	}
	// A meter that is installed and was never heard lacks all of its time.
	c.mdms.registry.Add(registry.Change{Recorded: 2, UsagePoint: &cim.UsagePoint{MRID: "U3", Factor: 1000}},
		registry.Change{Recorded: 2, Installation: &cim.MeterInstallation{Meter: "silent", UsagePoint: "U3", Start: t0}})
	never := ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, api.ExportQuery{From: unix(t0), To: unix(t0 + 86400), Meters: []string{"silent"}})
	if len(never.Points) != 1 || len(never.Points[0].Channels) != 1 || never.Points[0].Channels[0].Meters[0].Meter != "silent" {
		t.Errorf("a meter that was never heard: %+v", never.Points)
	}
	for want, q := range map[int]api.ExportQuery{1: {Feeder: "F1"}, 0: {Tariff: "day-night", Path: "C2"}, 2: {Meters: []string{"M0000", "M0002"}}} {
		q.From, q.To, q.CountIt = unix(t0), unix(t0+86400), true
		if p := ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, q); p.Total != want || len(p.Points) != want && want < 2 {
			t.Errorf("%+v: %d points of %d, want %d", q, len(p.Points), p.Total, want)
		}
	}
	for field, q := range map[string]api.ExportQuery{"feeder": {Feeder: "f11"}, "tariff": {Tariff: "day-nihgt"}, "path": {Path: "C1/C8"}} {
		near := map[string]string{"feeder": "F1", "tariff": "day-night", "path": "C1/C7"}[field]
		q.From, q.To = unix(t0), unix(t0+86400)
		_, err := bus.Request[api.ExportQuery, api.ExportPage](t.Context(), c.bus, api.QueryExport, q)
		var p *api.Problem
		if !errors.As(err, &p) || p.Status != 404 || p.Field != field || !strings.Contains(p.Detail, "did you mean "+near) {
			t.Errorf("a mistyped %s: %v", field, err)
		}
	}
}
