package mdms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// An outage of a transformer comes in over the bus, is kept over a restart in the middle, ends, and is in the indices.
func TestOutageOfATransformer(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { outageOfATransformer(t, nil) })
	t.Run("postgres", func(t *testing.T) {
		_, open := onPostgres(t)
		outageOfATransformer(t, open)
	})
}

func outageOfATransformer(t *testing.T, open func(context.Context) (store.Store, error)) {
	const n = 6
	clk := clock.New(at(48), 1)
	c := newCentreOn(t, clk, open)
	c.answers()
	file := "usage_point,feeder,transformer,meter,serial,installed\n"
	for i := range n {
		file += fmt.Sprintf("UP%d,F1,T1,M%04d,S%d,%s\n", i, i, i, stamped(0))
	}
	if _, err := c.importFile("a", file, true); err != nil {
		t.Fatal(err)
	}
	w := newWorld(c, n, t0, 1, false)
	for _, id := range w.ids {
		w.register(w.meters[id])
	}
	c.flush()
	c.until("registered", 120*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Meters == n })
	// From now on nobody but the last one answers: what those who are out said of a load profile would show that they have power.
	w.stop()
	all := w.meters
	w.meters = map[string]*simMeter{"M0005": all["M0005"]}
	w.listen()
	gone := clk.Unix()
	for i := range 3 {
		id := fmt.Sprintf("M%04d", i)
		c.send(all[id].path, topic.Meter, id, "power", record.Power{Header: record.Header{Time: gone, Flags: record.FlagBattery}, Kind: record.PowerLost, Sequence: 1}.Append(nil))
	}
	for i := range n - 1 { // the last one's will is lost
		id := fmt.Sprintf("M%04d", i)
		c.send(all[id].path, topic.Meter, id, "lost", record.Lost{Header: record.Header{Time: t0}, Sequence: 1}.Append(nil))
	}
	c.flush()
	power := api.OutageQuery{Kinds: []string{"power-lost"}}
	list := func() []api.Outage {
		p, _ := try[api.OutageQuery, api.Page[api.Outage]](c, api.QueryOutages, power)
		return p.Items
	}
	c.until("a case", 120*time.Second, func() bool { l := list(); return len(l) == 1 && l[0].Affected >= n-1 && l[0].End == nil })
	o := list()[0]
	if o.Scope != "transformer" || o.Element != "T1" || o.Grid == nil || o.Grid.Feeder != "F1" || o.Confidence < 0.9 || o.Signs == nil || o.Signs.LastGasps != 3 {
		t.Fatalf("%+v", o)
	}
	v := ask[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: "M0004"}).Verdict
	if v == nil || v.State != api.VerdictPowerLost || v.Case != o.ID || len(v.Evidence) < 3 {
		t.Fatalf("%+v", v)
	}
	if got := ask[api.ByID, api.Outage](c, api.QueryOutage, api.ByID{ID: o.ID}); got.ID != o.ID {
		t.Errorf("%+v", got)
	}
	// M0005, of which nothing is known, is asked, and answers over its bus: it is there.
	c.until("asked", 120*time.Second, func() bool {
		for _, k := range ask[api.CommandQuery, api.Page[api.Command]](c, api.QueryCommands, api.CommandQuery{}).Items {
			if k.Type == "ping" && k.Target.Meter == "M0005" && k.By == api.ByVerification && k.State == api.CommandDone {
				return true
			}
		}
		return false
	})

	w.stop()
	c.stop()
	c.start()
	c.answers()
	w.listen()
	defer w.stop()
	c.until("the case again", 120*time.Second, func() bool { l := list(); return len(l) == 1 && l[0].ID == o.ID })
	v = ask[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: "M0004"}).Verdict
	if v == nil || v.State != api.VerdictPowerLost || v.Case != o.ID {
		t.Fatalf("after a restart: %+v", v)
	}
	// Why it happened a person says, and that is in the audit trail.
	said := ask[api.OutageChange, api.Outage](c, api.QueryOutageChange, api.OutageChange{ID: o.ID, Stated: api.StatedCause{Category: "vegetation", Comment: "a branch", By: "anna"}})
	if kept := ask[api.ByID, api.Outage](c, api.QueryOutage, api.ByID{ID: o.ID}); said.Cause != "transformer" || kept.Stated == nil || kept.Stated.Category != "vegetation" || kept.Stated.By != "anna" || kept.Cause != "transformer" {
		t.Errorf("said %+v, kept %+v", said, kept)
	}
	trail := ask[api.AuditQuery, api.Page[api.AuditRecord]](c, api.QueryAudit, api.AuditQuery{Action: "outage.cause"})
	if len(trail.Items) != 1 || !strings.Contains(string(trail.Items[0].Entry), "a branch") || !strings.Contains(string(trail.Items[0].Entry), o.ID) {
		t.Errorf("audit trail %+v", trail)
	}
	// Planned work is kept over a restart, too, and ended.
	m := ask[api.MaintenanceRequest, api.Maintenance](c, api.QueryMaintain, api.MaintenanceRequest{Scope: "feeder", Name: "F1", From: clk.Now().Add(time.Hour), To: clk.Now().Add(2 * time.Hour), By: "anna"})
	works := ask[api.MaintenanceQuery, api.Page[api.Maintenance]](c, api.QueryMaintenance, api.MaintenanceQuery{})
	if len(works.Items) != 1 || works.Items[0].ID != m.ID || works.Items[0].State != "planned" || works.Items[0].By != "anna" {
		t.Fatalf("%+v", works)
	}
	ask[api.MaintenanceEnd, api.Maintenance](c, api.QueryMaintainEnd, api.MaintenanceEnd{ID: m.ID, By: "bert"})
	if works := ask[api.MaintenanceQuery, api.Page[api.Maintenance]](c, api.QueryMaintenance, api.MaintenanceQuery{}); len(works.Items) != 0 {
		t.Fatalf("%+v", works)
	}

	// Power returns.
	for i := range n - 1 {
		m := all[fmt.Sprintf("M%04d", i)]
		l := record.Location{Header: record.Header{Time: clk.Unix()}, Sequence: 2, Interval: 30, Capabilities: record.CapBreaker, Oldest: m.start}
		c.send(m.path, topic.Meter, m.id, "location", l.Append(nil))
	}
	c.flush()
	c.until("restored", 120*time.Second, func() bool {
		cuts, ok := try[api.InterruptionQuery, api.Page[api.Interruption]](c, api.QueryInterruptions, api.InterruptionQuery{Case: o.ID})
		for _, k := range cuts.Items {
			if k.End == nil {
				return false
			}
		}
		return ok && len(cuts.Items) >= n-1
	})
	x := ask[api.IndicesQuery, api.IndicesAnswer](c, api.QueryIndices, api.IndicesQuery{From: at(47), To: at(96)})
	if x.All.Customers != n || x.All.Momentary < n-1 || x.All.Sustained != 0 || len(x.Feeders) != 1 || x.Feeders[0].Feeder != "F1" || x.All.MAIFI <= 0 {
		t.Errorf("%+v", x)
	}
	page := ask[api.InterruptionQuery, api.Page[api.Interruption]](c, api.QueryInterruptions, api.InterruptionQuery{From: at(47), To: at(96), Paging: api.Paging{Limit: 2}})
	if k := page.Items[0]; k.Cause != "transformer" || k.Category != "vegetation" {
		t.Errorf("%+v", k)
	}
	rest := ask[api.InterruptionQuery, api.Page[api.Interruption]](c, api.QueryInterruptions, api.InterruptionQuery{From: at(47), To: at(96), Paging: api.Paging{Cursor: page.Next}})
	if len(page.Items) != 2 || len(rest.Items) < n-3 || rest.Next != "" {
		t.Errorf("%+v %+v", page, rest)
	}
}

func TestBadQuestionsAboutOutages(t *testing.T) {
	c := newCentre(t, clock.New(at(48), 1))
	c.answers()
	refuse := func(field string, status int, err error) {
		t.Helper()
		var p *api.Problem
		if !errors.As(err, &p) || p.Field != field || p.Status != status {
			t.Errorf("%v, want status %d for field %q", err, status, field)
		}
	}
	_, err := bus.Request[api.OutageQuery, api.Page[api.Outage]](t.Context(), c.bus, api.QueryOutages, api.OutageQuery{Kinds: []string{"flood"}})
	refuse("kind", 400, err)
	_, err = bus.Request[api.ByID, api.Outage](t.Context(), c.bus, api.QueryOutage, api.ByID{ID: "x"})
	refuse("id", 400, err)
	_, err = bus.Request[api.ByID, api.Outage](t.Context(), c.bus, api.QueryOutage, api.ByID{ID: "77"})
	refuse("", 404, err)
	for id, status := range map[string]int{"x": 400, "77": 404} {
		field := ""
		if status == 400 {
			field = "id"
		}
		_, err = bus.Request[api.OutageChange, api.Outage](t.Context(), c.bus, api.QueryOutageChange, api.OutageChange{ID: id, Stated: api.StatedCause{Category: "weather"}})
		refuse(field, status, err)
	}
	_, err = bus.Request[api.IndicesQuery, api.IndicesAnswer](t.Context(), c.bus, api.QueryIndices, api.IndicesQuery{Zone: "Local"})
	refuse("zone", 400, err)
	_, err = bus.Request[api.IndicesQuery, api.IndicesAnswer](t.Context(), c.bus, api.QueryIndices, api.IndicesQuery{From: at(47), To: at(96), BaselineFrom: at(9), BaselineTo: at(5)})
	refuse("baselineTo", 400, err)
	_, err = bus.Request[api.InterruptionQuery, api.Page[api.Interruption]](t.Context(), c.bus, api.QueryInterruptions, api.InterruptionQuery{Case: "x"})
	refuse("case", 400, err)
	_, err = bus.Request[api.InterruptionQuery, api.Page[api.Interruption]](t.Context(), c.bus, api.QueryInterruptions, api.InterruptionQuery{Case: "77"})
	refuse("", 404, err)
	_, err = bus.Request[api.InterruptionQuery, api.Page[api.Interruption]](t.Context(), c.bus, api.QueryInterruptions, api.InterruptionQuery{From: at(9), To: at(5)})
	refuse("to", 400, err)
	_, err = bus.Request[api.IndicesQuery, api.IndicesAnswer](t.Context(), c.bus, api.QueryIndices, api.IndicesQuery{Feeder: "F9"})
	refuse("", 404, err)
	_, err = bus.Request[api.MaintenanceRequest, api.Maintenance](t.Context(), c.bus, api.QueryMaintain, api.MaintenanceRequest{Scope: "feeder", Name: "F9", To: at(99)})
	refuse("name", 400, err)
	_, err = bus.Request[api.MaintenanceEnd, api.Maintenance](t.Context(), c.bus, api.QueryMaintainEnd, api.MaintenanceEnd{ID: "x"})
	refuse("id", 400, err)
}
