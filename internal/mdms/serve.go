package mdms

import (
	"context"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/topic"
)

// The lengths of pages: what is given when nothing is asked for, and at most.
const (
	defaultPage = 100
	maxPage     = 1000
	maxReadings = 5000
)

// serve answers the questions of package api until stop is called.
func (m *MDMS) serve() (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	add := func(s func(), e error) {
		if e == nil {
			stops = append(stops, s)
		} else if err == nil {
			err = e
		}
	}
	b := m.o.Bus
	add(bus.Serve(b, api.QueryMeters, m.queryMeters))
	add(bus.Serve(b, api.QueryMeter, m.queryMeter))
	add(bus.Serve(b, api.QueryPaths, m.queryPaths))
	add(bus.Serve(b, api.QueryReadings, m.queryReadings))
	add(bus.Serve(b, api.QuerySubMeters, m.querySubMeters))
	add(bus.Serve(b, api.QuerySubReadings, m.querySubReadings))
	add(bus.Serve(b, api.QueryExport, m.queryExport))
	add(bus.Serve(b, api.QueryExplain, m.queryExplain))
	add(bus.Serve(b, api.QueryFindings, m.queryFindings))
	add(bus.Serve(b, api.QueryRuleSet, m.queryRuleSet))
	add(bus.Serve(b, api.QueryEditPropose, m.proposeEdit))
	add(bus.Serve(b, api.QueryEditDecide, m.decideEdit))
	add(bus.Serve(b, api.QueryEdit, m.queryEdit))
	add(bus.Serve(b, api.QueryEdits, m.queryEdits))
	add(bus.Serve(b, api.QueryRunPut, m.putRun))
	add(bus.Serve(b, api.QueryRun, m.queryRun))
	add(bus.Serve(b, api.QueryRuns, m.queryRuns))
	add(bus.Serve(b, api.QueryConcentrators, m.queryConcentrators))
	add(bus.Serve(b, api.QueryCompleteness, m.queryCompleteness))
	add(bus.Serve(b, api.QueryTotals, func(ctx context.Context, _ struct{}) (api.Totals, error) { return m.totals(ctx), nil }))
	add(bus.Serve(b, api.QueryCommandCreate, m.createCommand))
	add(bus.Serve(b, api.QueryCommandCancel, m.cancelCommand))
	add(bus.Serve(b, api.QueryCommandDecide, m.decideCommand))
	add(bus.Serve(b, api.QueryCommand, m.queryCommand))
	add(bus.Serve(b, api.QueryCommands, m.queryCommands))
	add(bus.Serve(b, api.QueryGroups, m.queryGroups))
	add(bus.Serve(b, api.QueryGroupPut, m.putGroup))
	add(bus.Serve(b, api.QueryQuarantines, m.queryQuarantines))
	add(bus.Serve(b, api.QueryBudgets, m.queryBudgets))
	add(bus.Serve(b, api.QueryQuarantineRelease, m.releaseQuarantine))
	add(bus.Serve(b, api.QueryAudit, m.queryAudit))
	add(bus.Serve(b, api.QueryAuditHead, m.queryAuditHead))
	m.serveOutages(add)
	m.serveFirmware(add)
	m.serveRegistry(add)
	m.serveSums(add)
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// page checks a page's limit.
func page(p api.Paging, most int) (int, error) {
	if p.Limit < 0 || p.Limit > most {
		return 0, api.BadRequest("limit", "%d, want 1 to %d", p.Limit, most)
	}
	if p.Limit == 0 {
		return defaultPage, nil
	}
	return p.Limit, nil
}

func (m *MDMS) queryMeters(_ context.Context, q api.MeterQuery) (api.Page[api.Meter], error) {
	out := api.Page[api.Meter]{Items: []api.Meter{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	if q.Cursor != "" && topic.CheckID(q.Cursor) != nil {
		return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
	}
	if topic.CheckPath(q.Path) != nil {
		return out, api.BadRequest("path", "%.40q, want ids of concentrators, outermost first, joined by /", q.Path)
	}
	state, known := outage.StateNamed(q.State)
	if !known && q.State != "" {
		return out, api.BadRequest("state", "%.40q, want one of never-seen, power-lost, unreachable, comm-lost, sleeping, disconnected, online", q.State)
	}
	m.mu.Lock() // the index may have to be put in order
	list := m.ids.list(q.Cursor, q.Q)
	m.mu.Unlock()
	m.mu.RLock()
	defer m.mu.RUnlock()
	var below []bool
	if q.Path != "" {
		below = m.below(q.Path)
	}
	for n := range list {
		if c := &m.columns[n]; !c.listed || known && c.state != state || below != nil && !below[c.path] {
			continue
		}
		d := m.devices[n]
		if len(out.Items) == limit {
			out.Next = out.Items[limit-1].ID
			break
		}
		out.Items = append(out.Items, m.view(d))
	}
	return out, nil
}

// meter finds a device that is no concentrator. m.mu is held.
func (m *MDMS) meter(id string) (*device, error) {
	if topic.CheckID(id) != nil {
		return nil, api.BadRequest("id", "%.40q is no id of a meter", id)
	}
	d := m.byID[id]
	if d == nil || !d.meters() {
		return nil, api.NotFound("no meter %s is known", id)
	}
	return d, nil
}

func (m *MDMS) queryMeter(_ context.Context, q api.ByID) (api.Meter, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, err := m.meter(q.ID)
	if err != nil {
		return api.Meter{}, err
	}
	v := m.view(d)
	v.Verdict = m.outages.Verdict(&d.EndDevice, true)
	return v, nil
}

func (m *MDMS) queryConcentrators(_ context.Context, q api.Paging) (api.Page[api.Concentrator], error) {
	if _, err := page(q, maxPage); err != nil {
		return api.Page[api.Concentrator]{}, err
	}
	if topic.CheckPath(q.Cursor) != nil {
		return api.Page[api.Concentrator]{}, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.outages.Concentrators(q), nil
}

// change has the loop call f, and returns when what it changed is committed.
func change[T any](ctx context.Context, m *MDMS, f func() (T, error)) (T, error) {
	var out T
	var refused error
	if err := m.do(ctx, &work{call: func() { out, refused = f() }}); err != nil {
		var none T
		if ctx.Err() != nil {
			err = &api.Problem{Title: "No answer", Status: 504, Detail: "the centre could not keep the request in time; it may still have been accepted"}
		}
		return none, err
	}
	return out, refused
}

func (m *MDMS) cancelCommand(ctx context.Context, q api.CommandCancel) (api.Command, error) {
	id, err := command.ParseID(q.ID)
	if err != nil {
		return api.Command{}, api.BadRequest("id", "%.40q is no id of a command", q.ID)
	}
	return change(ctx, m, func() (api.Command, error) { return m.commands.Cancel(id, q.By) })
}

func (m *MDMS) decideCommand(ctx context.Context, d api.CommandDecision) (api.Command, error) {
	return change(ctx, m, func() (api.Command, error) { return m.commands.Decide(d) })
}

func (m *MDMS) queryCommand(_ context.Context, q api.ByID) (api.Command, error) {
	id, err := command.ParseID(q.ID)
	if err != nil {
		return api.Command{}, api.BadRequest("id", "%.40q is no id of a command", q.ID)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commands.Get(id)
}

func (m *MDMS) queryCommands(_ context.Context, q api.CommandQuery) (api.Page[api.Command], error) {
	if _, err := page(q.Paging, maxPage); err != nil {
		return api.Page[api.Command]{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commands.List(q)
}

func (m *MDMS) queryGroups(_ context.Context, q api.Paging) (api.Page[api.Group], error) {
	if _, err := page(q, maxPage); err != nil {
		return api.Page[api.Group]{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commands.Groups(q)
}

func (m *MDMS) putGroup(ctx context.Context, q api.GroupPut) (api.Group, error) {
	return change(ctx, m, func() (api.Group, error) { return m.commands.PutGroup(q, q.By) })
}

// span checks a span of time against what a u32 of seconds holds. Zero times are the defaults.
func span(from, to time.Time, first, last uint32) (uint32, uint32, error) {
	check := func(field string, t time.Time, def uint32) (uint32, error) {
		if t.IsZero() {
			return def, nil
		}
		if s := t.Unix(); s < 0 || s > 1<<32-1-dayLength {
			return 0, api.BadRequest(field, "%v is out of range, want 1970 to 2106", t.Format(time.RFC3339))
		}
		return uint32(t.Unix()), nil
	}
	a, err := check("from", from, first)
	if err != nil {
		return 0, 0, err
	}
	b, err := check("to", to, last)
	if err != nil {
		return 0, 0, err
	}
	if a > b && !from.IsZero() && !to.IsZero() {
		return 0, 0, api.BadRequest("to", "is before from")
	}
	return a, max(a, b), nil
}
