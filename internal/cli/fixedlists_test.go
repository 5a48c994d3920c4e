package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

func ptr[T any](v T) *T { return &v }

// fixedLists answers what the lists beside those of top ask.
func fixedLists(t *testing.T, b *bus.Bus) {
	t.Helper()
	hour := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }
	fact := func(state string) api.Fact { return api.Fact{State: state, Since: hour(-49)} }
	meter := api.Meter{ID: "M1000317", Kind: "meter", Path: "C1/C11", State: api.StateOnline, Link: fact("online"), Power: fact("on"), Breaker: fact("closed"), LastSeen: ptr(hour(0)),
		Register: &api.Register{Import: 12345678, Export: 0, Time: noon, Power: 231, Voltage: 230.4}, Flags: []string{}, Capabilities: []string{"breaker", "battery"}, Interval: 30, Registration: 3,
		UsagePoint: "UP4711", Feeder: "F1", Transformer: "F1-T01"}
	dark := meter
	dark.ID, dark.State, dark.Power, dark.Missing, dark.Register = "M1000318", api.StatePowerLost, fact("lost"), 4, nil
	says[api.MeterQuery](t, b, api.QueryMeters, list(meter, dark))
	serves(t, b, api.QueryMeter, func(q api.ByID) (api.Meter, error) {
		if q.ID != meter.ID {
			return api.Meter{}, api.NotFound("there is no meter %s", q.ID)
		}
		return meter, nil
	})
	says[api.ReadingQuery](t, b, api.QueryReadings, list(
		api.Reading{Start: hour(-1), End: noon.Add(-30 * time.Minute), Import: ptr(int64(120)), Quality: "validated", ReadingQuality: "3.0.0", Register: ptr(uint64(12345558))},
		api.Reading{Start: noon.Add(-30 * time.Minute), End: noon, Import: ptr(int64(118)), Quality: "estimated", ReadingQuality: "3.8.4"}))
	says[api.SubMeterQuery](t, b, api.QuerySubMeters, list(
		api.SubMeter{ID: "G0039001936990619", Meter: "M1000317", Medium: "gas", Channel: 1, Newest: &api.SubReading{Time: hour(-1), Value: "246.138", Unit: "m3"}},
		api.SubMeter{ID: "channel-2", Meter: "M1000317", Medium: "heat", Channel: 2}))
	says[api.SubReadingQuery](t, b, api.QuerySubReadings, list(api.SubReading{Time: hour(-2), Value: "246.130", Unit: "m3"}, api.SubReading{Time: hour(-1), Value: "246.138", Unit: "m3"}))
	says[api.Span](t, b, api.QueryCompleteness, api.Completeness{From: hour(-36), To: noon, Counts: api.Counts{Expected: 1067040, Received: 1000000, Recovered: 66016, Missing: 1024, Percent: 99.904},
		Days:   []api.DayCounts{{Day: "2018-12-11", Counts: api.Counts{Expected: 23712, Received: 23712, Percent: 100}}, {Day: "2018-12-12", Counts: api.Counts{Expected: 11856, Received: 10832, Missing: 1024, Percent: 91.363}}},
		Meters: []api.MeterCounts{{ID: "M1000318", Path: "C1/C11", Counts: api.Counts{Expected: 24, Received: 20, Missing: 4}, Lost: 1}}})
	says[api.SumQuery](t, b, api.QuerySums, api.Sums{From: noon.Add(-30 * time.Minute), To: noon, Total: api.Sum{Meters: 494, Values: 490, Missing: 4, Wh: 98765, Estimated: 2},
		Items: []api.Sum{{Key: "F1", Meters: 300, Values: 298, Missing: 2, Wh: 60000, Estimated: 2}, {Key: "F2", Meters: 194, Values: 192, Missing: 2, Wh: 38765}}})
	says[api.SumQuery](t, b, api.QueryMissing, list(api.MissingMeter{ID: "M1000318", Path: "C1/C11", UsagePoint: "UP4712", Feeder: "F1", Transformer: "F1-T01", State: api.StatePowerLost, Missing: 1}))
	says[api.SumQuery](t, b, api.QueryTop, list(api.TopMeter{ID: "M1000317", Path: "C1/C11", UsagePoint: "UP4711", Feeder: "F1", Transformer: "F1-T01", Wh: 4321}))
	says[struct{}](t, b, api.QueryTargets, list(api.TargetStatus{Name: "lake", Type: "files", URL: "/srv/lake", Events: []string{"reading", "outage"}, State: api.TargetWaiting, Detail: "no space left on device",
		Since: noon, Sent: 1067040, PendingBatches: 2, LagSeconds: 7.4}))
	says[struct{}](t, b, api.QueryRuns, list(api.BillingRun{Name: "march", Known: noon, What: "determinants", From: "2018-03-01", To: "2018-04-01", Feeder: "F1"}))
	says[struct{}](t, b, api.QueryQuarantines, list(api.Quarantine{Name: "operator:alice", Since: noon, Why: "more than 100 disconnections in an hour", Command: "7264936150", By: "alice"}))
	says[api.Paging](t, b, api.QueryGroups, list(api.Group{Group: 12, Members: []api.Member{{ID: "M1000317", Confirmed: &noon}, {ID: "M1000318"}}}))
	says[api.EditQuery](t, b, api.QueryEdits, list(api.Edit{ID: "7264936162", Meter: "M1000317", Channel: "import", From: hour(-2), To: hour(-1), Action: "estimate", Reason: "site-visit", State: api.EditProposed, By: "alice",
		Created: noon, Values: []api.EditValue{}}))
	says[api.FindingQuery](t, b, api.QueryFindings, list(api.Finding{ID: "1", Meter: "M1000317", Channel: "import", Rule: "spike", Severity: "warning", From: hour(-2), To: hour(-1), ReadingQuality: "3.5.258",
		Text: "9,999 Wh is 12 times as much as usual at that time of the week", Recorded: noon}))
	says[api.ExplainQuery](t, b, api.QueryExplain, api.Explanation{Meter: "M1000317", Channel: "import", Start: hour(-1), End: noon, Value: ptr(int64(120)), Quality: "estimated", ReadingQuality: "3.8.4",
		Versions: []api.ValueVersion{{Kind: "missing", Text: "never came"}, {Kind: "estimated", Version: 1, Value: ptr(int64(120)), ReadingQuality: "3.8.4", Recorded: &noon, By: "centre", Rules: "0123456789ab", Method: "linear",
			Numbers: []api.Number{{Name: "before", Value: 118}, {Name: "after", Value: 122}}, Text: "between its neighbours"}}, Findings: []api.Finding{}})
	says[api.MaintenanceQuery](t, b, api.QueryMaintenance, list(api.Maintenance{ID: "7264936161", State: "planned", Scope: "transformer", Name: "F1-T01", Feeder: "F1", From: hour(2), To: hour(4), Reason: "oil change", By: "alice"}))
	says[api.IndicesQuery](t, b, api.QueryIndices, api.IndicesAnswer{From: hour(-24), To: noon, All: api.Indices{Feeder: "all", Customers: 494, Sustained: 12, SAIDI: 1.46, SAIFI: 0.0243, CAIDI: 60},
		Feeders: []api.Indices{{Feeder: "F1", Customers: 300, Sustained: 12, SAIDI: 2.4, SAIFI: 0.04, CAIDI: 60}},
		Days:    []api.IndexDay{{Date: "2018-12-11", Customers: 494, Sustained: 12, Minutes: 720, SAIDI: 1.457, Major: true}},
		Major:   api.MajorEventDays{Threshold: 1.2, Alpha: -0.5, Beta: 0.273, From: hour(-43848), To: hour(-24), Days: 45, Found: 1}})
	serves(t, b, api.QueryAudit, func(q api.AuditQuery) (api.Page[api.AuditRecord], error) {
		asked := api.AuditRecord{Sequence: 1, Hash: "aa", Entry: []byte(`{"time":"2018-12-12T12:00:00Z","actor":"alice","action":"command.create","subject":"7264936150","detail":{"type":"disconnect"}}`)}
		itself := api.AuditRecord{Sequence: 2, Hash: "bb", Entry: []byte(`{"time":"2018-12-12T12:00:01Z","actor":"centre","action":"command.queued","subject":"7264936150"}`)}
		return map[string]api.Page[api.AuditRecord]{"": list(itself, asked), api.OriginAsked: list(asked), api.OriginCentre: list(itself)}[q.Origin], nil
	})
	says[api.UsagePointQuery](t, b, api.QueryUsagePoints, list(api.UsagePoint{ID: "UP4711", ValidFrom: hour(-1000), TimeZone: "Europe/Zurich", Substation: "S1", Feeder: "F1", Lateral: "F1-L2", Transformer: "F1-T01", Phases: "ABCN", Fuse: 25, Factor: 1,
		Tariff: "day-night", Contract: "active", Customer: "C-0815", Tags: []string{"school"}, Meter: "M1000317"}))
	says[struct{}](t, b, api.QueryAuditHead, api.AuditHead{Sequence: 4711, Hash: strings.Repeat("9f", 32), Text: "4711:" + strings.Repeat("9f", 32)})
	says[api.ByID](t, b, api.QueryOutage, api.Outage{ID: "7264936160", Kind: "power-lost", Scope: "transformer", Element: "T1", Path: "C1/C11", Grid: &api.GridPlace{Feeder: "F1"}, Affected: 12, Restored: 3, Start: hour(-1), Confidence: 0.97,
		Evidence: []api.Evidence{}, Signs: &api.Signs{Meters: 14, LastGasps: 9, Silences: 3, Alive: 2}, Cause: "fuse", Stated: &api.StatedCause{Category: "equipment", Comment: "fuse", By: "alice", Time: &noon}})
	says[api.InterruptionQuery](t, b, api.QueryInterruptions, list(api.Interruption{Meter: "M1000318", Start: hour(-1), Case: "7264936160"}, api.Interruption{Meter: "M1000317", Start: hour(-1), End: &noon, Case: "7264936160"}))
	says[api.ByID](t, b, api.QueryEdit, api.Edit{ID: "7264936162", Meter: "M1000317", Channel: "import", From: hour(-2), To: hour(-1), Action: "estimate", Reason: "site-visit", State: api.EditProposed, By: "alice", Created: noon,
		Values: []api.EditValue{{Start: hour(-2), Original: ptr(int64(9999)), Quality: "raw", Value: ptr(int64(120))}}})
	says[api.ByID](t, b, api.QueryRun, api.BillingRun{Name: "march", Known: noon, What: "determinants", From: "2018-03-01", To: "2018-04-01", Feeder: "F1"})
	image := api.Image{ID: "5f1d3c2b4a596877", Version: "1.3.0", Model: "ACE-1", Size: 262144, SHA256: strings.Repeat("ab", 32), Key: strings.Repeat("cd", 32), Uploaded: noon, By: "alice"}
	says[struct{}](t, b, api.QueryImages, list(image))
	says[api.ByID](t, b, api.QueryImage, image)
	rollOut := api.RollOut{ID: "7264936170", Image: image.ID, Version: image.Version, Model: image.Model, Target: api.Target{Path: "C1"}, State: "running", By: "alice", Created: noon, Expires: hour(336), BlockSize: 512, Rate: 8192,
		History: []api.Transition{{State: "running", Time: noon}}, Progress: api.RollOutProgress{Total: 300, States: map[string]int{"receiving": 298, "refused": 2}, Received: 41.5, Blocks: 2048, Bytes: 1081344}}
	says[api.RollOutQuery](t, b, api.QueryRollOuts, list(rollOut))
	says[api.ByID](t, b, api.QueryRollOut, rollOut)
	says[api.RollOutMeterQuery](t, b, api.QueryRollOutMeters, list(api.RollOutMeter{Meter: "M1000317", Path: "C1/C11", State: "receiving", Changed: noon}, api.RollOutMeter{Meter: "M1000318", Path: "C1/C11", State: "refused", Reason: "model", Changed: noon}))
	says[api.UsagePointByID](t, b, api.QueryUsagePoint, api.UsagePoint{ID: "UP4711", ValidFrom: hour(-1000), TimeZone: "Europe/Zurich", Substation: "S1", Feeder: "F1", Transformer: "F1-T01", Factor: 1, Contract: "active", Tags: []string{}, Meter: "M1000317"})
	says[api.ByID](t, b, api.QueryUsagePointHistory, list(api.UsagePointEntry{Recorded: hour(-900), By: "alice", Installation: &api.Installation{UsagePoint: "UP4711", Meter: "M1000317", Installed: hour(-1000), InstallImport: ptr(uint64(0))}}))
	ends := map[string]string{"M1": api.CommandDone, "M2": api.CommandFailed, "M3": api.CommandExpired, "M4": api.CommandRefused}
	command := func(meter string) api.Command {
		return api.Command{ID: "10" + meter[1:], Type: "read", Target: api.Target{Meter: meter}, State: ends[meter], Created: noon, History: []api.Transition{{State: ends[meter], Time: noon}},
			Result: &api.CommandResult{Outcome: "done", Time: noon}}
	}
	serves(t, b, api.QueryCommandCreate, func(q api.CommandRequest) (api.Command, error) {
		if ends[q.Target.Meter] == "" {
			return api.Command{}, api.NotFound("there is no meter %s", q.Target.Meter)
		}
		return command(q.Target.Meter), nil
	})
	serves(t, b, api.QueryCommand, func(q api.ByID) (api.Command, error) { return command("M" + q.ID[2:]), nil })
}
