package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/topic"
)

// checkFilter says what is wrong with a filter, or sorts its types and returns nil. No types mean all.
func checkFilter(f *api.EventFilter) *api.Problem {
	known := api.EventTypes()
	for _, t := range f.Types {
		if !slices.Contains(known, t) {
			return api.BadRequest("type", "there is no event type %q: want %s", clip(t), strings.Join(known, ", "))
		}
	}
	if len(f.Types) == 0 {
		f.Types = known
	}
	f.Types = slices.Compact(slices.Sorted(slices.Values(f.Types)))
	if f.Meter != "" {
		if err := topic.CheckID(f.Meter); err != nil {
			return api.BadRequest("meter", "%v", err)
		}
	}
	if err := topic.CheckPath(f.Path); err != nil {
		return api.BadRequest("path", "%v", err)
	}
	if len(f.ID) > 64 {
		return api.BadRequest("id", "%d bytes, want at most 64", len(f.ID))
	}
	return nil
}

func clip(s string) string { return s[:min(len(s), 40)] }

// filterKey tells filters apart: by the client's name for it or by what it selects.
func filterKey(f api.EventFilter) string {
	if f.ID != "" {
		return "id " + f.ID
	}
	return strings.Join(f.Types, ",") + " " + f.Meter + " " + f.Path
}

// askedFor is the device id under which bus.EventInterest of another process asks whether anybody follows a type. No event
// comes there.
const askedFor = "-"

// subjectsOf are the filters of bus.SubscribeEvents that bring what any of the filters selects, each event by one subject only.
func subjectsOf(filters map[string]api.EventFilter) map[string]struct{} {
	all := map[string]bool{} // types followed of every device
	for _, f := range filters {
		if f.Meter == "" {
			for _, t := range f.Types {
				all[t] = true
			}
		}
	}
	subjects := map[string]struct{}{}
	for t := range all {
		subjects["*."+t+".>"] = struct{}{}
	}
	for _, f := range filters {
		if f.Meter == "" {
			continue
		}
		for _, t := range f.Types {
			if !all[t] {
				subjects["*."+t+"."+bus.EscapeID(f.Meter)] = struct{}{}
				subjects["*."+t+"."+askedFor] = struct{}{}
			}
		}
	}
	return subjects
}

// liveEvent is an event on its way to the streams. One goroutine uses it.
type liveEvent struct {
	name, device string
	raw          []byte
	head         *eventHead // taken out of raw when first needed
}

// eventHead are the attributes that routing looks at.
type eventHead struct {
	ID     string `json:"id"`
	Source string `json:"source"`
}

// newLiveEvent takes a subject apart: <kind>.<name>.<id>.
func newLiveEvent(subject string, raw []byte) (*liveEvent, error) {
	_, rest, _ := strings.Cut(subject, ".")
	name, id, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, fmt.Errorf("subject %q has too few tokens", subject)
	}
	if bytes.IndexByte(raw, '\n') >= 0 { // would end the data of a server-sent event
		var flat bytes.Buffer
		if err := json.Compact(&flat, raw); err != nil {
			return nil, fmt.Errorf("event on %q: %w", subject, err)
		}
		raw = flat.Bytes()
	}
	return &liveEvent{name: name, device: bus.UnescapeID(id), raw: raw}, nil
}

func (e *liveEvent) parsed() *eventHead {
	if e.head == nil {
		e.head = &eventHead{}
		if err := json.Unmarshal(e.raw, e.head); err != nil {
			e.head = &eventHead{} // matches no path
		}
	}
	return e.head
}

// matches reports whether the filter selects the event.
func matches(f *api.EventFilter, e *liveEvent) bool {
	if !slices.Contains(f.Types, e.name) || f.Meter != "" && f.Meter != e.device {
		return false
	}
	return f.Path == "" || below(f.Path, e.parsed().Source)
}

// below reports whether a source, /<path>/<kind>/<id>, lies under the path or is its last concentrator.
func below(path, source string) bool {
	rest, ok := strings.CutPrefix(source, "/"+path+"/")
	if ok {
		return strings.Contains(rest, "/")
	}
	outer, last := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		outer, last = "/"+path[:i], path[i+1:]
	}
	return source == outer+"/"+topic.Concentrator+"/"+last
}

// coalesces reports whether of several events of one device only the newest matters to a slow reader.
func coalesces(name string) bool {
	switch name {
	case api.EventState, api.EventReading, api.EventTotals, api.EventConcentrator:
		return true
	}
	return false
}
