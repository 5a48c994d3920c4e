package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/store"
)

// serveOutages answers the questions about outages and maintenance.
func (m *MDMS) serveOutages(add func(func(), error)) {
	b := m.o.Bus
	add(bus.Serve(b, api.QueryOutages, m.queryOutages))
	add(bus.Serve(b, api.QueryOutage, m.queryOutage))
	add(bus.Serve(b, api.QueryOutageChange, m.changeOutage))
	add(bus.Serve(b, api.QueryInterruptions, m.queryInterruptions))
	add(bus.Serve(b, api.QueryIndices, m.queryIndices))
	add(bus.Serve(b, api.QueryStorm, func(context.Context, struct{}) (api.Storm, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.outages.Storm(), nil
	}))
	add(bus.Serve(b, api.QueryMaintenance, m.queryMaintenance))
	add(bus.Serve(b, api.QueryMaintain, func(ctx context.Context, q api.MaintenanceRequest) (api.Maintenance, error) {
		return change(ctx, m, func() (api.Maintenance, error) {
			w, err := m.outages.AddMaintenance(q)
			if err == nil {
				m.note(q.By, "maintenance.add", w.ID, "", w)
			}
			return w, err
		})
	}))
	add(bus.Serve(b, api.QueryMaintainEnd, func(ctx context.Context, q api.MaintenanceEnd) (api.Maintenance, error) {
		id, err := strconv.ParseUint(q.ID, 10, 63)
		if err != nil {
			return api.Maintenance{}, api.BadRequest("id", "%.40q is no id of a maintenance window", q.ID)
		}
		return change(ctx, m, func() (api.Maintenance, error) {
			w, err := m.outages.EndMaintenance(id, q.By)
			if err == nil {
				m.note(q.By, "maintenance.end", w.ID, "", w)
			}
			return w, err
		})
	}))
}

// pingExpiry is how long, s, a ping of the outage engine lives.
const pingExpiry = 30

// verify sends the pings that the outage engine asks for, as ordinary commands.
func (m *MDMS) verify() {
	for _, dev := range m.outages.Pings() {
		if _, err := m.commands.Create(api.CommandRequest{Target: api.Target{Meter: dev.ID}, Type: "ping", ExpiresIn: pingExpiry, By: api.ByVerification}); err != nil {
			m.log.Debug("verification ping not sent", "device", dev.ID, "error", err)
		}
	}
}

// placed tells the outage engine where a device hangs in the grid.
func (m *MDMS) placed(d *device) {
	if d.retired {
		return
	}
	g := m.registry.GridOf(d.ID, m.o.Clock.Unix())
	m.outages.Placed(&d.EndDevice, outage.Place{Substation: g.Substation, Feeder: g.Feeder, Lateral: g.Lateral, Transformer: g.Transformer})
}

// restoreOutages takes over open outages, their interruptions, and maintenance that is not over.
func (m *MDMS) restoreOutages(ctx context.Context) error {
	st := m.o.Store
	windows, err := st.Maintenance(ctx, 0, 1<<31-1, max(m.o.Clock.Unix(), outage.PastWindows+1)-outage.PastWindows)
	if err != nil {
		return err
	}
	slices.Reverse(windows) // oldest first
	if err := m.outages.RestoreMaintenance(windows); err != nil {
		m.log.Warn("maintenance windows not restored", "error", err)
	}
	for _, w := range windows {
		m.lastID = max(m.lastID, w.ID)
	}
	cases, err := st.Outages(ctx, 0, 1<<31-1, true)
	if err != nil {
		return err
	}
	if err := m.outages.Restore(cases); err != nil {
		m.log.Warn("outages not restored", "error", err)
	}
	seen := map[uint64]bool{}
	var cuts []store.Interruption
	take := func(k store.Interruption) error {
		if !seen[k.ID] {
			seen[k.ID] = true
			cuts = append(cuts, k)
			m.lastID = max(m.lastID, k.ID)
		}
		return nil
	}
	if err := st.Interruptions(ctx, store.InterruptionQuery{Open: true}, take); err != nil {
		return err
	}
	for _, o := range cases {
		if err := st.Interruptions(ctx, store.InterruptionQuery{Case: o.ID}, take); err != nil {
			return err
		}
	}
	now := m.o.Clock.Unix()
	if err := st.Interruptions(ctx, store.InterruptionQuery{From: now - min(now, outage.LastInterruptions), To: math.MaxUint32}, take); err != nil {
		return err
	}
	m.outages.RestoreInterruptions(cuts, func(ordinal uint32) *cim.EndDevice {
		if int(ordinal) >= len(m.devices) || m.devices[ordinal].retired {
			return nil
		}
		return &m.devices[ordinal].EndDevice
	})
	return nil
}

// cursor reads the cursor of a list by id.
func cursor(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 {
		return 0, api.BadRequest("cursor", "%.40q is no cursor of this list", s)
	}
	return n, nil
}

// maxScan is how many outages are read for one page at most; what is filtered out may make pages short, never wrong.
const maxScan = 20_000

func (m *MDMS) queryOutages(ctx context.Context, q api.OutageQuery) (api.Page[api.Outage], error) {
	out := api.Page[api.Outage]{Items: []api.Outage{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	for _, k := range q.Kinds {
		if !slices.Contains([]string{"power-lost", "comm-lost", "unreachable", "maintenance"}, k) {
			return out, api.BadRequest("kind", "%.40q, want power-lost, comm-lost, unreachable or maintenance", k)
		}
	}
	before, err := cursor(q.Cursor)
	if err != nil {
		return out, err
	}
	for scanned := 0; ; {
		kept, err := m.o.Store.Outages(ctx, before, limit+1, q.Open)
		if err != nil {
			return out, err
		}
		for _, k := range kept {
			if len(out.Items) == limit || scanned == maxScan {
				out.Next = strconv.FormatUint(before, 10)
				return out, nil
			}
			scanned++
			before = k.ID
			doc, err := decodeOutage(k)
			if err != nil {
				return out, err
			}
			if (q.All || doc.Merged == "" && !doc.Retracted) && (len(q.Kinds) == 0 || slices.Contains(q.Kinds, doc.Kind)) &&
				(q.Feeder == "" || doc.Grid != nil && doc.Grid.Feeder == q.Feeder) {
				out.Items = append(out.Items, doc)
			}
		}
		if len(kept) <= limit {
			return out, nil
		}
	}
}

func (m *MDMS) queryOutage(ctx context.Context, q api.ByID) (api.Outage, error) {
	id, err := strconv.ParseUint(q.ID, 10, 63)
	if err != nil {
		return api.Outage{}, api.BadRequest("id", "%.40q is no id of an outage", q.ID)
	}
	o, err := m.keptOutage(ctx, id)
	if err != nil {
		return api.Outage{}, err
	}
	return decodeOutage(o)
}

func (m *MDMS) keptOutage(ctx context.Context, id uint64) (store.Outage, error) {
	o, err := m.o.Store.Outage(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		err = api.NotFound("no outage %d is known", id)
	}
	return o, err
}

// changeOutage keeps what a person says of an outage.
func (m *MDMS) changeOutage(ctx context.Context, q api.OutageChange) (api.Outage, error) {
	id, err := strconv.ParseUint(q.ID, 10, 63)
	if err != nil {
		return api.Outage{}, api.BadRequest("id", "%.40q is no id of an outage", q.ID)
	}
	return change(ctx, m, func() (api.Outage, error) {
		o, err := m.outages.StateCause(id, q, func() (store.Outage, error) { return m.keptOutage(ctx, id) })
		if err == nil {
			m.note(q.Stated.By, "outage.cause", o.ID, o.Meter, o.Stated)
		}
		return o, err
	})
}

// causes adds to interruptions what their outages came from.
func (m *MDMS) causes(ctx context.Context, list []api.Interruption) error {
	known := map[string]api.Outage{}
	for i := range list {
		k := &list[i]
		if k.Case == "" {
			continue
		}
		o, ok := known[k.Case]
		if !ok {
			var err error
			var problem *api.Problem
			if o, err = m.queryOutage(ctx, api.ByID{ID: k.Case}); err != nil && !(errors.As(err, &problem) && problem.Status == 404) {
				return err // one that nobody knows any more has no cause
			}
			known[k.Case] = o
		}
		if k.Cause = o.Cause; o.Stated != nil {
			k.Category = o.Stated.Category
		}
	}
	return nil
}

// period is a span of time of a question: the last days where it says nothing.
func (m *MDMS) period(from, to time.Time, days int) (uint32, uint32, error) {
	now := m.o.Clock.Unix()
	b, err := instant("to", to, now)
	if err != nil {
		return 0, 0, err
	}
	a, err := instant("from", from, b-min(b, uint32(days)*dayLength))
	if err == nil && a > b {
		err = api.BadRequest("to", "%s is before the start, %s", cim.Stamp(b), cim.Stamp(a))
	}
	return a, b, err
}

func (m *MDMS) queryInterruptions(ctx context.Context, q api.InterruptionQuery) (api.Page[api.Interruption], error) {
	out := api.Page[api.Interruption]{Items: []api.Interruption{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	after, err := cursor(q.Cursor)
	if err != nil {
		return out, err
	}
	sel := store.InterruptionQuery{After: after, Limit: limit + 1}
	if q.Case != "" {
		if sel.Case, err = strconv.ParseUint(q.Case, 10, 63); err != nil || sel.Case == 0 {
			return out, api.BadRequest("case", "%.40q is no id of an outage", q.Case)
		}
		if _, err = m.keptOutage(ctx, sel.Case); err != nil {
			return out, err
		}
	} else if sel.From, sel.To, err = m.period(q.From, q.To, 1); err != nil {
		return out, err
	}
	var kept []store.Interruption
	if err := m.o.Store.Interruptions(ctx, sel, func(k store.Interruption) error { kept = append(kept, k); return nil }); err != nil {
		return out, err
	}
	m.mu.RLock()
	for i, k := range kept {
		if i == limit {
			out.Next = out.Items[limit-1].ID
			break
		}
		out.Items = append(out.Items, m.interruption(k))
	}
	m.mu.RUnlock()
	return out, m.causes(ctx, out.Items)
}

func (m *MDMS) interruption(k store.Interruption) api.Interruption {
	has := func(f uint8) bool { return k.Flags&f != 0 }
	out := api.Interruption{ID: strconv.FormatUint(k.ID, 10), Start: unix(k.Start), End: maybe(k.End), Inferred: has(store.InterruptionInferred),
		Planned: has(store.InterruptionPlanned), Retracted: has(store.InterruptionRetracted), Opened: has(store.InterruptionOpened),
		Assumed: has(store.InterruptionAssumed), Class: outage.Class(k, m.o.Clock.Unix())}
	if k.Case != 0 {
		out.Case = strconv.FormatUint(k.Case, 10)
	}
	if int(k.Device) < len(m.devices) {
		out.Meter = m.devices[k.Device].ID
	}
	return out
}

// baselineYears are how many years before a period tell what a major event day is (IEEE 1366-2012, 3.5).
const baselineYears = 5

// queryIndices reckons the reliability indices of a period, by the feeder that each meter hung on.
func (m *MDMS) queryIndices(ctx context.Context, q api.IndicesQuery) (api.IndicesAnswer, error) {
	from, to, err := m.period(q.From, q.To, 365)
	if err != nil {
		return api.IndicesAnswer{}, err
	}
	p := outage.Period{Now: m.o.Clock.Unix(), From: from, To: to, Zone: time.UTC}
	if q.Zone != "" {
		if p.Zone, err = time.LoadLocation(q.Zone); err != nil || q.Zone == "Local" { // which would be another one on another machine
			return api.IndicesAnswer{}, api.BadRequest("zone", "%.60q is no time zone, want such as Europe/Zurich", q.Zone)
		}
	}
	if p.BaseTo, err = instant("baselineTo", q.BaselineTo, from); err != nil {
		return api.IndicesAnswer{}, err
	}
	five := unix(p.BaseTo).AddDate(-baselineYears, 0, 0)
	if p.BaseFrom, err = instant("baselineFrom", q.BaselineFrom, uint32(max(five.Unix(), 0))); err != nil {
		return api.IndicesAnswer{}, err
	}
	if p.BaseFrom > p.BaseTo {
		return api.IndicesAnswer{}, api.BadRequest("baselineTo", "%s is before the start, %s", cim.Stamp(p.BaseTo), cim.Stamp(p.BaseFrom))
	}
	r := outage.NewReckoning(p)
	type customer struct {
		id    string
		since uint32
	}
	m.mu.RLock()
	customers := make([]customer, len(m.devices))
	for _, d := range m.devices {
		if d.meters() {
			customers[d.Ordinal] = customer{d.ID, d.FirstSeen}
		}
	}
	m.mu.RUnlock()
	at := min(to-min(to, 1), p.Now)
	for _, c := range customers {
		if c.since != 0 {
			r.Serve(m.registry.GridOf(c.id, at).Feeder, c.since, m.registry.Expected(c.id).Until)
		}
	}
	add := func(k store.Interruption) error {
		feeder := ""
		if int(k.Device) < len(customers) {
			feeder = m.registry.GridOf(customers[k.Device].id, k.Start).Feeder
		}
		r.Add(feeder, k)
		return nil
	}
	// The baseline is read apart where years lie between it and the period.
	lo, hi := from, to
	if p.BaseTo >= from && p.BaseFrom <= to {
		lo, hi = min(lo, p.BaseFrom), max(hi, p.BaseTo)
	} else if err := m.o.Store.Interruptions(ctx, store.InterruptionQuery{From: p.BaseFrom, To: p.BaseTo}, add); err != nil {
		return api.IndicesAnswer{}, err
	}
	if err := m.o.Store.Interruptions(ctx, store.InterruptionQuery{From: lo, To: hi}, add); err != nil {
		return api.IndicesAnswer{}, err
	}
	out := r.Indices(q.WithoutMajor)
	if q.Feeder != "" {
		i := slices.IndexFunc(out.Feeders, func(x api.Indices) bool { return x.Feeder == q.Feeder })
		if i < 0 {
			return out, api.NotFound("no feeder %.64s is known", q.Feeder)
		}
		out.Feeders = out.Feeders[i : i+1]
	}
	return out, nil
}

func (m *MDMS) queryMaintenance(ctx context.Context, q api.MaintenanceQuery) (api.Page[api.Maintenance], error) {
	out := api.Page[api.Maintenance]{Items: []api.Maintenance{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	before, err := cursor(q.Cursor)
	if err != nil {
		return out, err
	}
	now := m.o.Clock.Unix()
	ends := now
	if q.Past {
		ends = 0
	}
	kept, err := m.o.Store.Maintenance(ctx, before, limit+1, ends)
	if err != nil {
		return out, err
	}
	for i, k := range kept {
		if i == limit {
			out.Next = out.Items[limit-1].ID
			break
		}
		var doc api.Maintenance
		if err := json.Unmarshal(k.Doc, &doc); err != nil {
			return out, fmt.Errorf("maintenance window %d in the store: %w", k.ID, err)
		}
		switch {
		case now >= k.End:
			doc.State = "over"
		case now >= k.Start:
			doc.State = "active"
		default:
			doc.State = "planned"
		}
		out.Items = append(out.Items, doc)
	}
	return out, nil
}
