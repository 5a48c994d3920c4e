package cli

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/web"
)

var noon = time.Date(2018, 12, 12, 12, 0, 0, 0, time.UTC)

// fixedCentre is the real HTTP server over a real bus, with an MDMS that always says the same. It returns the server's address.
func fixedCentre(t *testing.T) (url string, b *bus.Bus) {
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
	fixedAnswers(t, b)
	return overHTTP(t, b), b
}

// emptyCentre is one that knows of nothing, not even of a meter that it is asked about.
func emptyCentre(t *testing.T) (url string) {
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
	for _, name := range []string{api.QueryMeters, api.QueryReadings, api.QuerySubMeters, api.QueryConcentrators, api.QueryOutages, api.QueryCommands, api.QueryAudit, api.QueryQuarantines, api.QueryGroups,
		api.QueryUsagePoints, api.QueryUsagePointHistory, api.QueryFindings, api.QueryEdits, api.QueryMissing, api.QueryTop, api.QueryRuns, api.QueryTargets, api.QueryMaintenance, api.QueryImages,
		api.QueryRollOuts, api.QueryRollOutMeters} {
		says[json.RawMessage](t, b, name, list[struct{}]())
	}
	return overHTTP(t, b)
}

// overHTTP serves the bus's API.
func overHTTP(t *testing.T, b *bus.Bus) (url string) {
	t.Helper()
	s, err := web.New(web.Options{Bus: b, Clock: clock.New(noon, 1), AskTimeout: 10 * time.Second, LongAskTimeout: 10 * time.Second, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

// says makes the bus answer a question, whatever is asked, with the same thing.
func says[Req, Resp any](t *testing.T, b *bus.Bus, name string, answer Resp) {
	t.Helper()
	serves(t, b, name, func(Req) (Resp, error) { return answer, nil })
}

func serves[Req, Resp any](t *testing.T, b *bus.Bus, name string, f func(Req) (Resp, error)) {
	t.Helper()
	stop, err := bus.Serve(b, name, func(_ context.Context, q Req) (Resp, error) { return f(q) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}

// list is a page that is the whole list.
func list[T any](items ...T) api.Page[T] { return api.Page[T]{Items: items} }

func fixedTotals() api.Totals {
	return api.Totals{Time: noon, Speed: 60, Meters: 494, Concentrators: 3, States: map[string]int{api.StateOnline: 480, api.StatePowerLost: 12, api.StateUnreachable: 2},
		Completeness: api.Counts{Expected: 1067040, Received: 1000000, Recovered: 66016, Missing: 1024, Percent: 99.904}, ReadingsPerSec: 494, PowerW: 231400,
		CommandsOpen: 1, OutagesOpen: 2, DeadLetters: 3, Store: api.Storage{Bytes: 12400000}}
}

func fixedAnswers(t *testing.T, b *bus.Bus) {
	t.Helper()
	end := noon.Add(-time.Hour)
	says[struct{}](t, b, api.QueryTotals, fixedTotals())
	says[api.Paging](t, b, api.QueryConcentrators, list(
		api.Concentrator{ID: "C1", Path: "C1", State: "online", Since: noon.Add(-49 * time.Hour), Meters: 200, Below: 300, States: map[string]int{api.StateOnline: 290, api.StatePowerLost: 10}},
		api.Concentrator{ID: "C11", Path: "C1/C11", State: "lost", Since: noon.Add(-90 * time.Second), Meters: 100, Below: 100, States: map[string]int{api.StateUnreachable: 100}},
		api.Concentrator{ID: "C2", Path: "C2", State: "online", Since: noon.Add(-time.Hour), Meters: 194, Below: 194, States: map[string]int{api.StateOnline: 194}}))
	outages := []api.Outage{
		api.Outage{ID: "7264936160", Kind: "power-lost", Scope: "transformer", Element: "T1", Path: "C1/C11", Grid: &api.GridPlace{Feeder: "F1"}, Affected: 12, Restored: 3, Start: noon.Add(-10 * time.Minute), Confidence: 0.97,
			Evidence: []api.Evidence{}, Signs: &api.Signs{Meters: 14, LastGasps: 9, Silences: 3, Alive: 2}},
		api.Outage{ID: "7264936158", Kind: "unreachable", Concentrator: "C11", Path: "C1/C11", Affected: 100, Start: noon.Add(-90 * time.Second), Evidence: []api.Evidence{{What: "concentrator-lost", Time: noon}}},
		api.Outage{ID: "7264936157", Kind: "power-lost", Meter: "M1000318", Path: "C2", Affected: 1, Restored: 1, Start: noon.Add(-2 * time.Hour), End: &end, Class: "sustained", Confidence: 1, Cause: "service", Stated: &api.StatedCause{Category: "equipment", By: "alice", Time: &end},
			Evidence: []api.Evidence{{What: "last-gasp", Time: noon}, {What: "restored", Time: noon}}},
	}
	serves(t, b, api.QueryOutages, func(q api.OutageQuery) (api.Page[api.Outage], error) {
		return list(slices.DeleteFunc(slices.Clone(outages), func(o api.Outage) bool { return q.Open && o.End != nil })...), nil
	})
	group := uint32(12)
	commands := []api.Command{
		api.Command{ID: "7264936155", Type: "ping", Target: api.Target{Path: "C1"}, State: api.CommandSent, Sends: 2, Created: noon, Bulk: &api.Bulk{Total: 300, States: map[string]int{api.CommandDone: 250, api.CommandSent: 50}, Stragglers: []string{"M1000317"}},
			History: []api.Transition{{State: api.CommandQueued, Time: noon}}},
		api.Command{ID: "7264936150", Type: "disconnect", Target: api.Target{Group: &group}, State: api.CommandPendingApproval, Created: noon, Approval: &api.Approval{Why: "more than 10 meters"}, History: []api.Transition{{State: api.CommandPendingApproval, Time: noon}}},
		api.Command{ID: "7264936149", Type: "read", Target: api.Target{Meter: "M1000317"}, State: api.CommandDone, Sends: 1, Created: noon, Result: &api.CommandResult{Outcome: "done"},
			History: []api.Transition{{State: api.CommandQueued, Time: noon}, {State: api.CommandDone, Time: noon.Add(140 * time.Millisecond)}}},
	}
	serves(t, b, api.QueryCommands, func(q api.CommandQuery) (api.Page[api.Command], error) {
		return list(slices.DeleteFunc(slices.Clone(commands), func(c api.Command) bool { return q.Open && api.Finished(c.State) })...), nil
	})
	says[api.CompleteByQuery](t, b, api.QueryCompleteBy, api.CompleteBy{From: noon.Add(-24 * time.Hour), To: noon, Items: []api.KeyCounts{
		{Key: "C1", Meters: 200, Expected: 9600, There: 9600, Percent: 100}, {Key: "C1/C11", Meters: 100, Expected: 4800, There: 1200, Missing: 3600, Percent: 25}}})
}
