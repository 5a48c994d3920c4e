package mdms

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestBillingRunsStayAsTheyWere freezes days of which some are whole, some lack a part and some lack all; then the missing values
// come, the centre is restarted, and what was known at the run is still the same.
func TestBillingRunsStayAsTheyWere(t *testing.T) {
	t.Parallel()
	const slots = 4*48 + 3
	c := newCentre(t, clock.New(at(slots), 1))
	c.opts.Backfill.Off = true
	c.halt()
	c.run()
	w := newWorld(c, 3, t0, slots, false)
	defer func() { w.stop() }()
	untold := func(n, slot int) bool { return n == 1 && slot > 60 && slot < 70 || n == 2 && slot >= 96 && slot < 144 }
	// A value follows from the registers at both ends, so the one behind a gap is missing, too.
	lacks := func(n, slot int) bool { return untold(n, slot) || untold(n, slot-1) }
	missing := 0
	for n, id := range w.ids {
		m := w.meters[id]
		w.register(m)
		for s := range slots + 1 {
			if s < slots && lacks(n, s) {
				missing++
			}
			if s > 0 && untold(n, s-1) {
				continue
			}
			c.send(m.path, topic.Meter, id, "reading", w.reading(m, s))
		}
	}
	c.flush()
	c.until("up", 120*time.Second, func() bool { _, ok := c.totals(); return ok })
	counts := func() api.Counts {
		return ask[api.Span, api.Completeness](c, api.QueryCompleteness, api.Span{}).Counts
	}
	c.until("all entered", 120*time.Second, func() bool {
		n := counts()
		return n.Received > 0 && n.Expected == 3*slots && n.Missing == int64(missing)
	})

	day := func(n int) string { return unix(t0 + uint32(n)*86400).Format(time.DateOnly) }
	run := api.BillingRun{Name: "first", What: "intervals", From: day(0), To: day(3)}
	kept := ask[api.BillingRun, api.BillingRun](c, api.QueryRunPut, run)
	if again := ask[api.BillingRun, api.BillingRun](c, api.QueryRunPut, run); !reflect.DeepEqual(again, kept) || kept.Known.IsZero() {
		t.Fatalf("the same run again is %+v, was %+v", again, kept)
	}
	q := api.ExportQuery{From: unix(t0), To: unix(t0 + 3*86400), Known: kept.Known}
	was := ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, q)
	same := func(when string) {
		t.Helper()
		now := ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, q)
		for i, p := range now.Points {
			if !reflect.DeepEqual(p, was.Points[i]) {
				a, _, _ := billing.Unpack(was.Points[i].Channels[0].Meters[0].Data, nil, nil)
				b, _, _ := billing.Unpack(p.Channels[0].Meters[0].Data, nil, nil)
				t.Errorf("%s, %s is not as it was known at the run: %d intervals, were %d", when, p.ID, len(b), len(a))
			}
		}
	}
	same("at once")

	// Half of what is missing comes late, as load profiles.
	send := func(odd int) {
		for n, id := range w.ids {
			m := w.meters[id]
			for s := range slots {
				if lacks(n, s) && s%2 == odd {
					p := m.part(s, 1, 0)
					p.Channel, p.Part, p.Parts = record.ChannelImport, 1, 1
					data, err := p.Append(nil)
					if err != nil {
						t.Fatal(err)
					}
					c.send(m.path, topic.Meter, id, "profile", data)
				}
			}
		}
		c.flush()
	}
	send(0)
	c.until("half is there", 120*time.Second, func() bool { return counts().Recovered >= int64(missing/2)-1 })
	same("with half of it there")
	c.halt()
	c.run()
	c.until("up again", 120*time.Second, func() bool { _, ok := c.totals(); return ok })
	same("after a restart")
	send(1)
	c.until("all is there", 120*time.Second, func() bool { return counts().Missing == 0 })
	same("with all there")

	q.Known, q.Before = c.closed(), kept.Known
	late := 0
	for _, p := range ask[api.ExportQuery, api.ExportPage](c, api.QueryExport, q).Points {
		a, _, err := billing.Unpack(p.Channels[0].Meters[0].Before, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := billing.Unpack(p.Channels[0].Meters[0].Data, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		late += len(b) - len(a)
	}
	if late != missing {
		t.Errorf("%d intervals came after the run, want %d", late, missing)
	}

	for name, bad := range map[string]api.BillingRun{
		"another question": {Name: "first", What: "determinants", From: day(0), To: day(3)},
		"the future":       {Name: "next", What: "intervals", From: day(0), To: day(9)},
		"no name":          {What: "intervals", From: day(0), To: day(3)},
		"no period":        {Name: "x", What: "intervals", From: day(3), To: day(3)},
	} {
		_, err := bus.Request[api.BillingRun, api.BillingRun](context.Background(), c.bus, api.QueryRunPut, bad)
		var p *api.Problem
		if !errors.As(err, &p) || p.Status >= 500 {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if all := ask[struct{}, api.Page[api.BillingRun]](c, api.QueryRuns, struct{}{}); len(all.Items) != 1 || !reflect.DeepEqual(all.Items[0], kept) {
		t.Errorf("runs are %+v", all.Items)
	}
}
