package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// pretend is a centre that answers every command at once, as ended.
func pretend(t *testing.T, cmd api.Command, meters ...api.Meter) string {
	t.Helper()
	reply := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/commands", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusAccepted, cmd) })
	mux.HandleFunc("GET /v1/commands/{id}", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, cmd) })
	mux.HandleFunc("GET /v1/meters", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, api.Page[api.Meter]{Items: meters})
	})
	mux.HandleFunc("GET /v1/groups/{n}", func(w http.ResponseWriter, _ *http.Request) {
		g := api.Group{Group: 12}
		for _, m := range meters {
			g.Members = append(g.Members, api.Member{ID: m.ID})
		}
		reply(w, http.StatusOK, g)
	})
	mux.HandleFunc("GET /v1/meters/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, m := range meters {
			if m.ID == r.PathValue("id") {
				reply(w, http.StatusOK, m)
			}
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestReadOfOneMeter(t *testing.T) {
	at := time.Date(2018, 12, 13, 10, 0, 0, 0, time.UTC)
	url := pretend(t, api.Command{ID: "7", Type: api.CommandRead, Target: api.Target{Meter: "M1"}, State: api.CommandDone,
		Result: &api.CommandResult{Outcome: "done", Register: &api.Register{Import: 1234567, Export: 8, Power: -40, Voltage: 230.1, Time: at}}})
	out, errs, status := call(t, nil, "read", "M1", "-o", "csv", "--server", url)
	want := "meter,time,import_wh,export_wh,power_w,voltage_v\nM1,2018-12-13T10:00:00Z,1234567,8,-40,230.1\n"
	if status != ExitDone || out != want {
		t.Errorf("status %d, %s\n%swant\n%s", status, errs, out, want)
	}
	out, _, _ = call(t, nil, "read", "M1", "--server", url)
	if !strings.Contains(out, "import 1,234,567 Wh") {
		t.Error(out)
	}
}

func TestReadOfManyMeters(t *testing.T) {
	at := time.Date(2018, 12, 13, 10, 0, 0, 0, time.UTC)
	reg := &api.Register{Import: 5, Time: at}
	meters := []api.Meter{{ID: "M1", Register: reg}, {ID: "M2", Register: reg}, {ID: "M3", Register: reg}}
	cmd := api.Command{ID: "7", Type: api.CommandRead, Target: api.Target{Path: "C1"}, State: api.CommandExpired, Bulk: &api.Bulk{Total: 3,
		States: map[string]int{api.CommandDone: 2, api.CommandExpired: 1}, Stragglers: []string{"M2"}}}
	url := pretend(t, cmd, meters...)
	group := uint32(12)
	cmd.Target = api.Target{Group: &group}
	groupURL := pretend(t, cmd, meters...)
	for _, tc := range []struct {
		url, target, format, want string
	}{
		{url, "path:C1", "csv", "meter,outcome,time,import_wh,export_wh,power_w,voltage_v\nM1,done,2018-12-13T10:00:00Z,5,0,0,0.0\nM2,expired,,,,,\nM3,done,2018-12-13T10:00:00Z,5,0,0,0.0\n"},
		{groupURL, "group:12", "csv", "\nM2,expired,,,,,\nM3,done,"},
		{url, "path:C1", "json", `"meters":[{"meter":"M1","outcome":"done","register":{"import":5,`},
		{url, "path:C1", "table", "not done by M2\n"},
		{url, "path:C1", "table", "M3     done     2018-12-13T10:00:00Z          5"},
	} {
		out, errs, status := call(t, nil, "read", tc.target, "-o", tc.format, "--server", tc.url)
		if status != ExitTimeout || !strings.Contains(out, tc.want) {
			t.Errorf("%s as %s: status %d, %s\n%swant\n%s", tc.target, tc.format, status, errs, out, tc.want)
		}
	}
	// More stragglers than the centre lists: of who is in no list nothing is known.
	cmd.Type, cmd.Target, cmd.Bulk = api.CommandPing, api.Target{Path: "C1"}, &api.Bulk{Total: 3, States: map[string]int{api.CommandExpired: 1, api.CommandRefused: 1, api.CommandDone: 1}, Stragglers: []string{"M2"}}
	out, _, _ := call(t, nil, "ping", "path:C1", "-o", "csv", "--server", pretend(t, cmd, meters...))
	if out != "meter,outcome\nM1,\nM2,not done\nM3,\n" {
		t.Error(out)
	}
}

func TestCommandTellsWhoAskedAndDecided(t *testing.T) {
	url := pretend(t, api.Command{ID: "7", Type: api.CommandDisconnect, Target: api.Target{Path: "C1"}, By: "anna", State: api.CommandPendingApproval,
		Approval: &api.Approval{Why: "many"}, Bulk: &api.Bulk{Total: 131, States: map[string]int{api.CommandPendingApproval: 131}, Stragglers: []string{"M1", "M2"}}})
	out, errs, status := call(t, nil, "commands", "7", "--server", url)
	if status != ExitDone || !strings.Contains(out, "asked for by anna\nmeant for M1 M2 and 129 more\n") {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	url = pretend(t, api.Command{ID: "7", Type: api.CommandDisconnect, Target: api.Target{Path: "C1"}, By: "anna", State: api.CommandCancelled,
		Approval: &api.Approval{Why: "many", By: "berta", Rejected: true, Comment: "not now"}})
	out, _, _ = call(t, nil, "commands", "7", "--server", url)
	if !strings.Contains(out, "asked for by anna\nrejected by berta: \"not now\"\n") {
		t.Error(out)
	}
}
