package web

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		path, source string
		want         bool
	}{
		{"C1", "/C1/meter/M1", true},
		{"C1", "/C1/C7/meter/M1", true},
		{"C1/C7", "/C1/C7/meter/M1", true},
		{"C1/C7", "/C1/meter/M1", false},
		{"C1", "/C11/meter/M1", false},
		{"C7", "/C1/C7/meter/M1", false},
		{"C1/C7", "/C1/concentrator/C7", true},
		{"C1/C7", "/C1/C7/concentrator/C9", true},
		{"C1", "/concentrator/C1", true},
		{"C1", "/concentrator/C2", false},
		{"C1", "/meter/C1", false},
		{"C1", "/centre/centre", false},
		{"C1", "", false},
	} {
		if got := below(c.path, c.source); got != c.want {
			t.Errorf("below(%q, %q) = %v", c.path, c.source, got)
		}
	}
}

func TestSubjects(t *testing.T) {
	for _, c := range []struct {
		filters []api.EventFilter
		want    string
	}{
		{nil, ""},
		{[]api.EventFilter{{Types: []string{"state", "reading"}}}, "*.reading.> *.state.>"},
		{[]api.EventFilter{{Types: []string{"state"}, Meter: "M1"}, {Types: []string{"state"}, Meter: "M.2"}}, "*.state.- *.state.M.2 *.state.M1"},
		// What comes with all devices is not followed for one of them again.
		{[]api.EventFilter{{Types: []string{"state"}, Path: "C1"}, {Types: []string{"state", "reading"}, Meter: "M1"}}, "*.reading.- *.reading.M1 *.state.>"},
		{[]api.EventFilter{{Types: []string{"state"}, Meter: "M..2"}}, "*.state.- *.state.M%2E%2E2"},
	} {
		fs := map[string]api.EventFilter{}
		for _, f := range c.filters {
			fs[filterKey(f)] = f
		}
		if got := strings.Join(slices.Sorted(maps.Keys(subjectsOf(fs))), " "); got != c.want {
			t.Errorf("%v: %q, want %q", c.filters, got, c.want)
		}
	}
}

func TestCheckFilter(t *testing.T) {
	f := api.EventFilter{}
	if p := checkFilter(&f); p != nil || len(f.Types) != len(api.EventTypes()) {
		t.Errorf("%v %v", p, f)
	}
	f = api.EventFilter{Types: []string{"state", "reading", "state"}}
	if p := checkFilter(&f); p != nil || len(f.Types) != 2 {
		t.Errorf("%v %v", p, f)
	}
	for field, f := range map[string]api.EventFilter{
		"type": {Types: []string{"weather"}}, "meter": {Meter: "all"}, "path": {Path: "C1/"}, "id": {ID: strings.Repeat("x", 65)},
	} {
		if p := checkFilter(&f); p == nil || p.Field != field {
			t.Errorf("%s: %v", field, p)
		}
	}
}

func TestNewLiveEvent(t *testing.T) {
	ev, err := newLiveEvent("meter.state.M.1", []byte("{\n\"source\":\"/C1/meter/M.1\"}"))
	if err != nil || ev.name != "state" || ev.device != "M.1" || string(ev.raw) != `{"source":"/C1/meter/M.1"}` {
		t.Errorf("%+v %v", ev, err)
	}
	for _, bad := range []string{"", "meter", "meter.state"} {
		if _, err := newLiveEvent(bad, nil); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if _, err := newLiveEvent("meter.state.M1", []byte("{\n")); err == nil {
		t.Error("broken event with a line break: no error")
	}
	if ev, err := newLiveEvent("meter.state.M1", []byte("{")); err != nil || matches(&api.EventFilter{Types: []string{"state"}, Path: "C1"}, ev) {
		t.Errorf("broken event matches a path: %v", err)
	}
}
