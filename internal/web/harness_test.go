package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2018, 12, 12, 12, 0, 0, 0, time.UTC)

// centre answers over a real bus what the MDMS and the EEB would.
type centre struct {
	t   *testing.T
	bus *bus.Bus

	mu       sync.Mutex
	commands map[string]api.Command
	groups   []api.Group
	asked    map[string]any // the last question of each name
}

func newBus(t *testing.T) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Options{Dir: t.TempDir(), MaxBytes: 64 << 20, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func newCentre(t *testing.T) *centre {
	t.Helper()
	c := &centre{t: t, bus: newBus(t), commands: map[string]api.Command{}, asked: map[string]any{}}
	meters := []api.Meter{c.meter("M1"), c.meter("M2"), c.meter("M3")}
	answer(c, api.QueryMeters, func(q api.MeterQuery) (api.Page[api.Meter], error) { return paged(meters, q.Paging) })
	answer(c, api.QueryExport, exportPage)
	run := api.BillingRun{Name: "march", Known: noon}
	answer(c, api.QueryRunPut, func(q api.BillingRun) (api.BillingRun, error) { q.Known = noon; return q, nil })
	answer(c, api.QueryRun, func(api.ByID) (api.BillingRun, error) { return run, nil })
	answer(c, api.QueryRuns, func(struct{}) (api.Page[api.BillingRun], error) {
		return api.Page[api.BillingRun]{Items: []api.BillingRun{run}}, nil
	})
	answerFirmware(c)
	held := api.Quarantine{Name: "operator:alice", Since: noon, Why: "too many", Command: "1", By: "alice"}
	answer(c, api.QueryQuarantines, func(struct{}) (api.Page[api.Quarantine], error) {
		return api.Page[api.Quarantine]{Items: []api.Quarantine{held}}, nil
	})
	left := 3.5
	answer(c, api.QueryBudgets, func(struct{}) (api.Budgets, error) {
		return api.Budgets{ApproveFrom: 100, Breakers: []api.Budget{{Kind: api.BudgetAll, Meters: 100, Seconds: 60, Left: &left}, {Kind: api.BudgetFeeder, Meters: 30, Seconds: 3600}},
			Backfill: api.BackfillBudget{PerConcentrator: 8, Total: 256}}, nil
	})
	answer(c, api.QueryRegistrationBudget, func(struct{}) (api.RegistrationBudget, error) {
		return api.RegistrationBudget{AtOnce: 1000, PerSecond: 500, MostWaiting: 200_000}, nil
	})
	answer(c, api.QueryQuarantineRelease, func(q api.QuarantineRelease) (api.Quarantine, error) {
		if q.Name != held.Name {
			return held, api.NotFound("%q is not quarantined", q.Name)
		}
		return held, nil
	})
	answer(c, api.QueryAudit, func(q api.AuditQuery) (api.Page[api.AuditRecord], error) {
		return api.Page[api.AuditRecord]{Items: []api.AuditRecord{{Sequence: 1, Hash: "aa", Entry: []byte(`{"actor":"<alice>"}`)}}}, nil
	})
	answer(c, api.QueryAuditHead, func(struct{}) (api.AuditHead, error) {
		return api.AuditHead{Sequence: 1, Hash: "aa", Text: "1:aa"}, nil
	})
	answer(c, api.QueryMeter, func(q api.ByID) (api.Meter, error) {
		for _, m := range meters {
			if m.ID == q.ID {
				return m, nil
			}
		}
		return api.Meter{}, api.NotFound("there is no meter %s", q.ID)
	})
	answer(c, api.QueryPaths, func(q api.PathQuery) (api.Page[api.PathEpoch], error) {
		return paged([]api.PathEpoch{{Path: "C2", From: noon}, {Path: "C1/C7", From: noon.Add(-time.Hour), To: &noon}}, q.Paging)
	})
	answer(c, api.QueryReadings, func(q api.ReadingQuery) (api.Page[api.Reading], error) {
		wh, reg := int64(120), uint64(5000)
		return paged([]api.Reading{
			{Start: noon, End: noon.Add(30 * time.Minute), Import: &wh, Quality: "raw", Register: &reg},
			{Start: noon.Add(30 * time.Minute), End: noon.Add(time.Hour), Quality: "missing"},
		}, q.Paging)
	})
	answer(c, api.QuerySubMeters, func(q api.SubMeterQuery) (api.Page[api.SubMeter], error) {
		return paged([]api.SubMeter{{ID: "G1", Meter: q.ID, Medium: "gas", Channel: 1, Newest: &api.SubReading{Time: noon, Value: "246.138", Unit: "m3"}}, {ID: "channel-2", Meter: q.ID, Medium: "water", Channel: 2}}, q.Paging)
	})
	answer(c, api.QuerySubReadings, func(q api.SubReadingQuery) (api.Page[api.SubReading], error) {
		return paged([]api.SubReading{{Time: noon, Value: "246.138", Unit: "m3"}, {Time: noon.Add(time.Hour), Value: "246.140", Unit: "m3"}}, q.Paging)
	})
	answer(c, api.QueryExplain, func(q api.ExplainQuery) (api.Explanation, error) {
		return api.Explanation{Meter: q.ID, Channel: "import", Start: q.At, End: q.At.Add(30 * time.Minute), Quality: "raw", ReadingQuality: "3.0.0",
			Versions: []api.ValueVersion{{Kind: "raw", Text: "so"}}, Findings: []api.Finding{}}, nil
	})
	answer(c, api.QueryFindings, func(q api.FindingQuery) (api.Page[api.Finding], error) {
		return paged([]api.Finding{{ID: "1", Meter: "M1", Rule: "spike"}, {ID: "2", Meter: "M2", Rule: "gap"}}, q.Paging)
	})
	answer(c, api.QueryRuleSet, func(q api.ByID) (api.RuleSet, error) { return api.RuleSet{ID: q.ID, Text: "zone: UTC"}, nil })
	answer(c, api.QueryEdits, func(q api.EditQuery) (api.Page[api.Edit], error) { return paged([]api.Edit{{ID: "100"}}, q.Paging) })
	answer(c, api.QueryEdit, func(q api.ByID) (api.Edit, error) { return api.Edit{ID: q.ID, Values: []api.EditValue{}}, nil })
	answer(c, api.QueryEditPropose, func(q api.EditRequest) (api.Edit, error) {
		return api.Edit{ID: "100", Meter: q.Meter, Action: q.Action, By: q.By, State: api.EditProposed, Values: []api.EditValue{}}, nil
	})
	answer(c, api.QueryEditDecide, func(q api.EditDecision) (api.Edit, error) {
		if q.By == "anna" {
			return api.Edit{}, api.Conflict("another person has to")
		}
		return api.Edit{ID: q.ID, State: map[bool]string{true: api.EditApproved, false: api.EditRejected}[q.Approve], Decider: q.By, Decision: q.Comment, Values: []api.EditValue{}}, nil
	})
	answer(c, api.QueryConcentrators, func(p api.Paging) (api.Page[api.Concentrator], error) {
		return paged([]api.Concentrator{{ID: "C1", Path: "C1", State: "online", Since: noon, States: map[string]int{}}, {ID: "C7", Path: "C1/C7", State: "lost", Since: noon, States: map[string]int{}}}, p)
	})
	answer(c, api.QueryOutages, func(q api.OutageQuery) (api.Page[api.Outage], error) {
		return api.Page[api.Outage]{}, nil // items null on the bus
	})
	answer(c, api.QueryOutage, func(q api.ByID) (api.Outage, error) {
		o := api.Outage{ID: q.ID, Kind: "power-lost", Start: noon, Evidence: []api.Evidence{}}
		switch q.ID {
		case "6":
			o.Stated = &api.StatedCause{Category: "weather", Time: &noon}
		case "7":
			return o, api.NotFound("no outage 7 is known")
		}
		return o, nil
	})
	end := noon.Add(10 * time.Minute)
	answer(c, api.QueryOutageChange, func(q api.OutageChange) (api.Outage, error) {
		return api.Outage{ID: q.ID, Kind: "power-lost", Stated: &q.Stated, Evidence: []api.Evidence{}}, nil
	})
	answer(c, api.QueryInterruptions, func(q api.InterruptionQuery) (api.Page[api.Interruption], error) {
		return paged([]api.Interruption{{ID: "7", Meter: "M1", Case: "5", Start: noon, End: &end, Class: "sustained", Inferred: true, Cause: "transformer", Category: "vegetation"}, {ID: "8", Meter: "M<2>", Start: noon}}, q.Paging)
	})
	answer(c, api.QueryIndices, func(q api.IndicesQuery) (api.IndicesAnswer, error) {
		return api.IndicesAnswer{From: q.From, To: q.To, All: api.Indices{Feeder: "all", Customers: 3}, Feeders: []api.Indices{}}, nil
	})
	answer(c, api.QueryStorm, func(struct{}) (api.Storm, error) { return api.Storm{}, nil })
	answer(c, api.QueryMaintenance, func(q api.MaintenanceQuery) (api.Page[api.Maintenance], error) {
		return paged([]api.Maintenance{{ID: "9", Scope: "all", From: noon, To: end}}, q.Paging)
	})
	answer(c, api.QueryMaintain, func(q api.MaintenanceRequest) (api.Maintenance, error) {
		return api.Maintenance{ID: "9", Scope: q.Scope, Name: q.Name, From: noon, To: q.To, By: q.By}, nil
	})
	answer(c, api.QueryMaintainEnd, func(q api.MaintenanceEnd) (api.Maintenance, error) {
		return api.Maintenance{ID: q.ID, EndedBy: q.By}, nil
	})
	answer(c, api.QueryCompleteness, func(q api.Span) (api.Completeness, error) {
		return api.Completeness{From: q.From, To: q.To, Counts: api.Counts{Expected: 48, Received: 48, Percent: 100}}, nil
	})
	c.answerRegistry()
	answer(c, api.QueryTargets, func(struct{}) (api.Page[api.TargetStatus], error) {
		return api.Page[api.TargetStatus]{Items: []api.TargetStatus{{Name: "lake", Type: "files", Events: []string{"reading"}, State: api.TargetWaiting, Detail: "disk full", PendingBatches: 2, LagSeconds: 7}}}, nil
	})
	answer(c, api.QueryTargetReplay, func(q api.TargetReplay) (api.TargetStatus, error) {
		if q.Name != "lake" {
			return api.TargetStatus{}, api.NotFound("no target %s", q.Name)
		}
		return api.TargetStatus{Name: q.Name, Events: []string{"reading"}, State: api.TargetConnected, Since: q.From}, nil
	})
	answer(c, api.QueryTotals, func(struct{}) (api.Totals, error) {
		return api.Totals{Time: noon, Meters: 3, States: map[string]int{}}, nil
	})
	answer(c, api.QueryGroups, func(p api.Paging) (api.Page[api.Group], error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return paged(c.groups, p)
	})
	answer(c, api.QueryGroupPut, func(g api.GroupPut) (api.Group, error) {
		got := api.Group{Group: g.Group, Members: []api.Member{}}
		for _, id := range g.Members {
			got.Members = append(got.Members, api.Member{ID: id})
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.groups = append(c.groups, got)
		return got, nil
	})
	answer(c, api.QueryCommandCreate, func(r api.CommandRequest) (api.Command, error) {
		if r.Target.Meter == "M99" {
			return api.Command{}, api.BadRequest("target.meter", "there is no meter M99")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		cmd := api.Command{ID: strconv.Itoa(100 + len(c.commands)), Type: r.Type, Target: r.Target, Params: r.Params, By: r.By,
			State: api.CommandQueued, Created: noon, History: []api.Transition{{State: api.CommandQueued, Time: noon}}}
		c.commands[cmd.ID] = cmd
		return cmd, nil
	})
	byID := func(q api.ByID) (api.Command, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if cmd, ok := c.commands[q.ID]; ok {
			return cmd, nil
		}
		return api.Command{}, api.NotFound("there is no command %s", q.ID)
	}
	answer(c, api.QueryCommand, byID)
	answer(c, api.QueryCommandCancel, func(q api.CommandCancel) (api.Command, error) {
		if _, err := byID(api.ByID{ID: q.ID}); err != nil {
			return api.Command{}, err
		}
		return c.end(q.ID, api.CommandCancelled), nil
	})
	answer(c, api.QueryCommandDecide, func(d api.CommandDecision) (api.Command, error) {
		if _, err := byID(api.ByID{ID: d.ID}); err != nil {
			return api.Command{}, err
		}
		if d.Approve {
			return c.end(d.ID, api.CommandQueued), nil
		}
		return c.end(d.ID, api.CommandCancelled), nil
	})
	answer(c, api.QueryCommands, func(q api.CommandQuery) (api.Page[api.Command], error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		var all []api.Command
		for _, cmd := range c.commands {
			if (!q.Open || !api.Finished(cmd.State)) && (q.Meter == "" || cmd.Target.Meter == q.Meter) && (q.Origin == "" || (q.Origin == api.OriginCentre) == api.ByItself(cmd.By)) {
				all = append(all, cmd)
			}
		}
		return paged(all, q.Paging)
	})
	answer(c, api.QueryLocation, func(q api.LocationQuery) (api.Location, error) {
		return api.Location{}, api.NotFound("there is no %s %s", q.Kind, q.ID)
	})
	return c
}

func (c *centre) meter(id string) api.Meter {
	f := func(state string) api.Fact { return api.Fact{State: state, Since: noon} }
	return api.Meter{ID: id, Kind: "meter", Path: "C1/C7", State: api.StateOnline, Link: f("online"), Power: f("on"), Breaker: f("closed"),
		Register: &api.Register{Import: 1234, Time: noon}, Flags: []string{}, Capabilities: []string{"breaker"}, Interval: 30}
}

// end gives a command its last state.
func (c *centre) end(id, state string) api.Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	cmd := c.commands[id]
	cmd.State = state
	cmd.History = append(cmd.History, api.Transition{State: state, Time: noon.Add(time.Second)})
	c.commands[id] = cmd
	return cmd
}

func (c *centre) lastAsked(name string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[name]
}

// publish sends an event as the MDMS does.
func (c *centre) publish(kind, name, path, id string, data any) {
	c.t.Helper()
	if path != "" {
		path = "/" + path
	}
	ev, err := bus.NewEvent(name, path+"/"+kind+"/"+id, id, noon, data)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.bus.PublishEvent(kind, name, id, ev); err != nil {
		c.t.Fatal(err)
	}
}

func answer[Req, Resp any](c *centre, name string, f func(Req) (Resp, error)) {
	c.t.Helper()
	stop, err := bus.Serve(c.bus, name, func(_ context.Context, q Req) (Resp, error) {
		c.mu.Lock()
		c.asked[name] = q
		c.mu.Unlock()
		return f(q)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(stop)
}

func paged[T any](all []T, p api.Paging) (api.Page[T], error) {
	from := 0
	if p.Cursor != "" {
		n, err := strconv.Atoi(p.Cursor)
		if err != nil {
			return api.Page[T]{}, api.BadRequest("cursor", "%q is not from a page before", p.Cursor)
		}
		from = n
	}
	to := min(from+p.Limit, len(all))
	got := api.Page[T]{Items: all[from:to]}
	if to < len(all) {
		got.Next = strconv.Itoa(to)
	}
	return got, nil
}

// site is a Server behind a real HTTP server.
type site struct {
	*httptest.Server
	t   *testing.T
	web *Server
}

func console() fstest.MapFS {
	return fstest.MapFS{
		"index.html":          {Data: []byte("<!doctype html><title>wattbus</title><script>theme()</script>" + strings.Repeat("<p>page</p>", 400))},
		"assets/app-1a2b.js":  {Data: []byte(strings.Repeat("console.log('wattbus');\n", 200))},
		"assets/app-1a2b.css": {Data: []byte("p{color:red}")},
		"favicon.svg":         {Data: []byte("<svg/>")},
	}
}

func serve(t *testing.T, opt Options) *site {
	t.Helper()
	if opt.Clock == nil {
		opt.Clock = clock.New(noon, 1)
	}
	if opt.AskTimeout == 0 {
		opt.AskTimeout, opt.LongAskTimeout = 30*time.Second, 30*time.Second
	}
	opt.Console = console()
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	st := &site{Server: httptest.NewServer(s.Handler()), t: t, web: s}
	t.Cleanup(func() {
		s.hub.close()
		st.CloseClientConnections()
		st.Close()
		s.hub.wait()
	})
	return st
}

// do sends a request and returns the answer with its body read.
func (s *site) do(method, path, body string, headers ...string) (*http.Response, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, text
}

// want sends a request and decodes the answer, which must have the status.
func want[T any](s *site, status int, method, path, body string, headers ...string) T {
	s.t.Helper()
	resp, text := s.do(method, path, body, headers...)
	var got T
	if resp.StatusCode != status {
		s.t.Fatalf("%s %s: status %d, want %d: %s", method, path, resp.StatusCode, status, text)
	}
	kind := "application/json"
	if status >= 400 {
		kind = problemType
	}
	if ct := resp.Header.Get("Content-Type"); ct != kind {
		s.t.Errorf("%s %s: Content-Type %q, want %q", method, path, ct, kind)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		s.t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
	return got
}

// refused sends a request that must be answered with a problem of the status, whose detail holds the text.
func (s *site) refused(status int, field, text, method, path, body string, headers ...string) api.Problem {
	s.t.Helper()
	p := want[api.Problem](s, status, method, path, body, headers...)
	if p.Status != status || p.Title == "" || p.Field != field || !strings.Contains(p.Detail, text) {
		s.t.Errorf("%s %s: problem %+v, want field %q and %q in the detail", method, path, p, field, text)
	}
	return p
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}
