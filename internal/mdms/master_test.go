package mdms

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
)

// importFile sends a file in small parts.
func (c *centre) importFile(session, file string, last bool) (api.RegistryImport, error) {
	c.t.Helper()
	p := api.RegistryPart{Session: session, By: "anna"}
	for {
		n := min(len(file), 30)
		p.Data, file = []byte(file[:n]), file[n:]
		p.Last = last && file == ""
		got, err := bus.Request[api.RegistryPart, api.RegistryImport](context.Background(), c.bus, api.QueryRegistryImport, p)
		if err != nil || file == "" {
			return got, err
		}
		p.Number++
	}
}

// answers waits until every question is answered: those about the registry are served last.
func (c *centre) answers() {
	c.t.Helper()
	c.until("answers", 120*time.Second, func() bool {
		_, err := bus.Request[api.RegistryPart, api.RegistryImport](context.Background(), c.bus, api.QueryRegistryImport, api.RegistryPart{})
		var p *api.Problem
		return errors.As(err, &p) && p.Status == 409
	})
}

func (c *centre) export() string {
	c.t.Helper()
	return string(ask[api.RegistryExport, api.RegistryText](c, api.QueryRegistryExport, api.RegistryExport{First: true}).Data)
}

func stamped(slot int) string { return cim.Stamp(t0 + uint32(slot)*1800) }

func TestRegistryImport(t *testing.T) {
	t.Parallel()
	c := newCentre(t, clock.New(at(48), 1))
	c.answers()
	file := "usage_point,feeder,transformer,meter,serial,installed\nUP1,F1,T1,M1,S1," + stamped(0) + "\nUP2,F2,T2,M2,S2," + stamped(0) + "\n"
	got, err := c.importFile("a", file, true)
	if err != nil || !got.Applied || got.UsagePoints.New != 2 || got.Installations.New != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err = c.importFile("b", file, true); err != nil || got.Applied {
		t.Fatalf("again: %+v, %v", got, err)
	}
	want := c.export()
	// Nothing of a file with a wrong line is taken.
	_, err = c.importFile("c", "usage_point,feeder\nUP3,F3\nUP 4,F4\n", true)
	var p *api.Problem
	if !errors.As(err, &p) || p.Status != 400 || len(p.Errors) != 1 || p.Errors[0].Field != "line 3, usage_point" {
		t.Fatalf("%+v", err)
	}
	// Lines are counted, and places in them.
	_, err = c.importFile("e", "usage_point,fuse_a,factor\nUP3,25.55,x\nUP4,1,1\nUP 5,1,1\n", true)
	if !errors.As(err, &p) || len(p.Errors) != 3 || p.Detail != "2 of 3 lines are wrong, in 3 places; nothing was changed" {
		t.Fatalf("%+v", err)
	}
	// Nor of one that stops in the middle, also when the centre is stopped then.
	if _, err := c.importFile("d", "usage_point,feeder\n"+strings.Repeat("UP5,F5\n", 50), false); err != nil {
		t.Fatal(err)
	}
	if c.export() != want {
		t.Fatal(c.export())
	}
	c.stop()
	c.start()
	c.answers()
	if c.export() != want {
		t.Fatal(c.export())
	}
	u := ask[api.UsagePointByID, api.UsagePoint](c, api.QueryUsagePoint, api.UsagePointByID{ID: "UP1"})
	if u.Feeder != "F1" || u.Meter != "M1" || len(u.Meters) != 1 {
		t.Fatalf("%+v", u)
	}
	if l := ask[api.UsagePointQuery, api.Page[api.UsagePoint]](c, api.QueryUsagePoints, api.UsagePointQuery{Feeder: "F2"}); len(l.Items) != 1 || l.Items[0].Meter != "M2" {
		t.Fatalf("%+v", l)
	}
}

// An exchange: the old meter's intervals are wanted up to it, the new one's from it on. A retired meter is wanted no more.
func TestExchangeAndRetire(t *testing.T) {
	t.Parallel()
	const slots = 10 * 48
	c := newCentre(t, clock.New(at(slots), 1))
	w := newWorld(c, 3, t0, slots, false)
	defer w.stop()
	c.answers()
	old, next, spare := w.ids[0], w.ids[1], w.ids[2]
	if _, err := c.importFile("a", "usage_point,feeder,meter,installed,install_import_wh\nUP1,F1,"+old+","+stamped(0)+",1099511627000\n", true); err != nil {
		t.Fatal(err)
	}
	cut := unix(t0 + 5*48*1800 + 10*1800)
	reg := func(n uint64) *uint64 { return &n }
	for _, tc := range []struct {
		e     api.MeterExchange
		field string // of the request
	}{
		{api.MeterExchange{UsagePoint: "UP9", Time: cut, Meter: next}, "id"},
		{api.MeterExchange{UsagePoint: "UP1", Time: cut, Meter: "no id"}, "meter"},
		{api.MeterExchange{UsagePoint: "UP1", Time: unix(t0 + 100*86400), Meter: next}, "time"},
		{api.MeterExchange{UsagePoint: "UP1", Time: unix(t0), Meter: next, OldImport: reg(5)}, "oldImport"},
		{api.MeterExchange{UsagePoint: "UP1", Time: cut, OldImport: reg(5), FirstImport: reg(1 << 60), Meter: next}, "oldImport"},
	} {
		_, err := bus.Request[api.MeterExchange, api.UsagePoint](t.Context(), c.bus, api.QueryMeterExchange, tc.e)
		var p *api.Problem
		if !errors.As(err, &p) || p.Field != tc.field && (len(p.Errors) == 0 || p.Errors[0].Field != tc.field) {
			t.Errorf("%+v: %+v, want field %s", tc.e, p, tc.field)
		}
	}
	_, err := bus.Request[api.MeterRetirement, api.Retired](t.Context(), c.bus, api.QueryMeterRetire, api.MeterRetirement{ID: old, Time: cut, OldImport: reg(5)})
	if p := new(api.Problem); !errors.As(err, &p) || p.Field != "oldImport" {
		t.Errorf("retired: %v", err)
	}
	// Before it came nothing can be retired, nor before it went, nor before what is known of it holds.
	if _, err := c.importFile("b", "meter,valid_from,serial\nM9,"+stamped(20)+",S9\n", true); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{old: "came to usage point UP1 at " + stamped(0), "M9": "what the registry says of meter M9 holds from " + stamped(20) + " on"} {
		_, err := bus.Request[api.MeterRetirement, api.Retired](t.Context(), c.bus, api.QueryMeterRetire, api.MeterRetirement{ID: id, Time: unix(t0)})
		if p := new(api.Problem); !errors.As(err, &p) || p.Field != "time" || !strings.Contains(p.Detail, want) {
			t.Errorf("%s retired before: %v", id, err)
		}
	}
	u := ask[api.MeterExchange, api.UsagePoint](c, api.QueryMeterExchange, api.MeterExchange{UsagePoint: "UP1", Time: cut, OldImport: reg(1 << 40), Meter: next, FirstImport: reg(7), By: "ben"})
	if u.Meter != next || len(u.Meters) != 2 || *u.Meters[0].RemoveImport != 1<<40 {
		t.Fatalf("%+v", u)
	}
	_, err = bus.Request[api.MeterRetirement, api.Retired](t.Context(), c.bus, api.QueryMeterRetire, api.MeterRetirement{ID: old, Time: cut.Add(-time.Hour)})
	if p := new(api.Problem); !errors.As(err, &p) || p.Field != "time" || !strings.Contains(p.Detail, "was taken out at "+cut.Format(time.RFC3339)) {
		t.Errorf("retired before it was taken out: %v", err)
	}
	for _, id := range w.ids {
		w.register(w.meters[id])
	}
	c.flush()
	before, after := int64(5*48+10), int64(5*48-10)
	c.until("all that is expected", 120*time.Second, func() bool {
		tot, ok := c.totals()
		return ok && tot.Completeness.Expected == before+after+slots && tot.Completeness.Missing == 0
	})
	m := ask[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: next})
	if m.UsagePoint != "UP1" || m.Feeder != "F1" {
		t.Fatalf("%+v", m)
	}
	if got := ask[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: old}); got.Life != "removed" || got.Missing != 0 {
		t.Fatalf("%+v", got)
	}
	r := ask[api.MeterRetirement, api.Retired](c, api.QueryMeterRetire, api.MeterRetirement{ID: spare, Time: cut})
	if r.Life != "retired" {
		t.Fatalf("%+v", r)
	}
	for range 2 {
		c.until("the retired one left out", 120*time.Second, func() bool {
			tot, ok := c.totals()
			if !ok {
				return false
			}
			list := ask[api.MeterQuery, api.Page[api.Meter]](c, api.QueryMeters, api.MeterQuery{})
			return tot.Meters == 2 && len(list.Items) == 2 && tot.Completeness.Missing == 0
		})
		// What it still sends changes nothing.
		w.register(w.meters[spare])
		c.flush()
		c.stop()
		c.start()
		c.answers()
	}
	if h := ask[api.ByID, api.Page[api.UsagePointEntry]](c, api.QueryUsagePointHistory, api.ByID{ID: "UP1"}); len(h.Items) != 4 || h.Items[3].By != "ben" {
		t.Fatalf("%+v", h.Items)
	}
}

// TestFinalAgainstThen: the final register of a removal that is told late is compared with what the meter had told by then, in a sealed day or
// an open one, though it told more since.
func TestFinalAgainstThen(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 6, 1000)
	j.settle()
	if _, err := j.importFile("a", "usage_point,feeder,meter,installed\nUP1,F1,M1,"+cim.Stamp(j.start)+"\n", true); err != nil {
		t.Fatal(err)
	}
	j.readings(0, 5*48)
	for from := 5*48 + 3; from < 6*48-12; from += record.ProfileValues { // the day stays open, with a gap
		j.profile(from, record.ProfileValues)
	}
	j.settle()
	for _, slot := range []int{2*48 + 20, 3 * 48, 5*48 + 30} {
		at, told := j.start+uint32(slot)*1800+600, j.m.reg[slot]
		for _, tc := range []struct {
			final uint64
			want  string
		}{{told - 1, "is below the " + strconv.FormatUint(told, 10) + " Wh that meter M1 told at " + cim.Stamp(at-600)}, {told + 3_000_000, "is too far above what meter M1 told, " + strconv.FormatUint(told, 10)}} {
			text := fmt.Sprintf("usage_point,meter,installed,removed,remove_import_wh\nUP1,M1,%s,%s,%d\n", cim.Stamp(j.start), cim.Stamp(at), tc.final)
			_, err := j.importFile(text, text, true)
			if p := new(api.Problem); !errors.As(err, &p) || !strings.Contains(p.Detail, tc.want) || p.Field != "line 2, remove_import_wh" {
				t.Errorf("slot %d: %v, want %s", slot, err, tc.want)
			}
			_, err = bus.Request[api.MeterExchange, api.UsagePoint](t.Context(), j.bus, api.QueryMeterExchange, api.MeterExchange{UsagePoint: "UP1", Time: unix(at), OldImport: &tc.final})
			if p := new(api.Problem); !errors.As(err, &p) || !strings.Contains(p.Detail, tc.want) || p.Field != "oldImport" {
				t.Errorf("slot %d, exchange: %v, want %s", slot, err, tc.want)
			}
		}
	}
	right := j.m.reg[3*48] + 50
	ask[api.MeterExchange, api.UsagePoint](j.centre, api.QueryMeterExchange, api.MeterExchange{UsagePoint: "UP1", Time: unix(j.start + 3*dayLength + 600), OldImport: &right})
}

// TestSumsOfRemoved: what a meter measured counts where it was measured, also when the meter was taken out since.
func TestSumsOfRemoved(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 5, 1000)
	j.settle()
	if _, err := j.importFile("a", "usage_point,feeder,meter,installed\nUP1,F1,M1,"+cim.Stamp(j.start)+"\n", true); err != nil {
		t.Fatal(err)
	}
	j.readings(0, 4*48)
	j.settle()
	ask[api.MeterExchange, api.UsagePoint](j.centre, api.QueryMeterExchange, api.MeterExchange{UsagePoint: "UP1", Time: unix(j.start + 4*dayLength)})
	day := cim.DayOf(j.start + dayLength).String()
	want := int64(j.m.reg[2*48] - j.m.reg[48])
	for range 2 {
		sums := ask[api.SumQuery, api.Sums](j.centre, api.QuerySums, api.SumQuery{Day: day, By: "feeder"})
		top := ask[api.SumQuery, api.Page[api.TopMeter]](j.centre, api.QueryTop, api.SumQuery{Day: day, Feeder: "F1"})
		if len(sums.Items) != 1 || sums.Items[0].Key != "F1" || sums.Items[0].Wh != want || len(top.Items) != 1 || top.Items[0].Feeder != "F1" || top.Items[0].UsagePoint != "UP1" {
			t.Fatalf("%+v, %+v, want %d", sums, top, want)
		}
		j.halt()
		j.run()
		j.settle()
	}
	if m := ask[api.ByID, api.Meter](j.centre, api.QueryMeter, api.ByID{ID: "M1"}); m.Feeder != "" || m.Life != "removed" {
		t.Errorf("it hangs nowhere now: %+v", m)
	}
}
