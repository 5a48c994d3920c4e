package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// Every type of event that can be followed is told in words, in one line without control characters.
func TestEventText(t *testing.T) {
	group := uint32(12)
	data := map[string]any{
		api.EventReading:      api.ReadingEvent{Meter: "M1", Path: "C1/C11", Register: api.Register{Import: 12345678, Time: noon}, Interval: &api.Reading{End: noon, Import: ptr(int64(120))}},
		api.EventState:        api.Meter{ID: "M1", State: api.StatePowerLost, Path: "C1", Link: api.Fact{State: "lost"}, Power: api.Fact{State: "lost"}, Breaker: api.Fact{State: "closed"}},
		api.EventConcentrator: api.Concentrator{ID: "C11", Path: "C1/C11", State: "lost", Below: 1200},
		api.EventCommand:      api.Command{ID: "7", Type: "ping", Target: api.Target{Group: &group}, State: api.CommandSent, Bulk: &api.Bulk{Total: 3, States: map[string]int{api.CommandDone: 2, api.CommandSent: 1}}},
		api.EventOutage:       api.Outage{ID: "9", Kind: "power-lost", Scope: "transformer", Element: "T\x1b[31m1", Affected: 12, Restored: 3, Signs: &api.Signs{LastGasps: 9}},
		api.EventStorm:        api.Storm{Active: true, AlarmsPerMinute: 200, Interruptions: 80},
		api.EventFirmware:     api.RollOut{ID: "5", Version: "1.3.0", Target: api.Target{Path: "C1"}, State: api.RollOutRunning, Progress: api.RollOutProgress{States: map[string]int{"verified": 2}}},
		api.EventDevice:       api.DeviceEvent{Meter: "M1", Code: 3, Parameter: 7},
		api.EventSubMeter:     api.SubMeterEvent{Meter: "M1", SubMeter: "G1", Medium: "gas", SubReading: api.SubReading{Time: noon, Value: "246.138", Unit: "m3"}},
		api.EventTotals:       api.Totals{Meters: 494, States: map[string]int{"online": 494}, Completeness: api.Counts{Percent: 99.96}, ReadingsPerSec: 494},
	}
	want := map[string]string{
		api.EventReading:      "120 Wh until 2018-12-12T12:00:00Z, register 12,345,678 Wh at C1/C11",
		api.EventState:        "power-lost (link lost, power lost, breaker closed) at C1",
		api.EventConcentrator: "lost, 1,200 meters below at C1/C11",
		api.EventCommand:      "ping group:12 7: sent, 2 of 3 ended: sent 1, done 2",
		api.EventOutage:       "12 affected, 3 restored  goes on  9 last gasps",
		api.EventStorm:        "storm mode begins: 200 alarms a minute, 80 meters without supply",
		api.EventFirmware:     "version 1.3.0 to path:C1: running, verified 2",
		api.EventDevice:       "code 3, parameter 7",
		api.EventSubMeter:     "gas G1: 246.138 m3 at 2018-12-12T12:00:00Z",
		api.EventTotals:       "494 meters: online 494; 99.9 % complete, 494 readings/s",
	}
	for _, name := range api.EventTypes() {
		doc, err := json.Marshal(data[name])
		if err != nil {
			t.Fatal(err)
		}
		got := eventText(api.Event{Type: "wattbus." + name + ".v1", Data: doc})
		if !strings.Contains(got, want[name]) || want[name] == "" || strings.ContainsAny(got, "\x1b\n") {
			t.Errorf("%s: %q, want %q", name, got, want[name])
		}
	}
	for _, raw := range []string{`[1]`, `{"path":7}`} { // of another version
		if got := eventText(api.Event{Type: "wattbus.state.v1", Data: json.RawMessage(raw)}); got != raw {
			t.Errorf("%s: %q", raw, got)
		}
	}
}

func TestProgressDuring(t *testing.T) {
	var b strings.Builder
	p := newProgress(&b, "bench")
	p.tty, p.width = true, 100
	ticks, looked := int64(0), make(chan struct{})
	err := p.during("meters", 4, func() int64 {
		if ticks++; ticks == 1 {
			close(looked)
		}
		return ticks
	}, func() error {
		<-looked
		return errReported
	})
	if err != errReported || !strings.Contains(b.String(), "1 of 4   25.0 %  meters") {
		t.Errorf("%v after %d, %q", err, ticks, b.String())
	}
	b.Reset()
	p.update(5, 0, "bytes")
	if !strings.Contains(b.String(), "bench  5  bytes") || strings.Contains(b.String(), "%") {
		t.Errorf("without a total: %q", b.String())
	}
	for rate, want := range map[int64]string{125: "12/s  1m", 12: "1.2/s", 1: "6.0/min"} {
		now := time.Now()
		q := &progress{part: "x", partBegan: now.Add(-10 * time.Second), whole: true}
		if got := q.pace(now, rate, 1600, "y"); !strings.HasPrefix(got, want) {
			t.Errorf("%d in 10 s: %q, want %q", rate, got, want)
		}
	}
}
