package connector

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/topic"
)

// The media types of CloudEvents' structured form and of the data.
const (
	structuredType = "application/cloudevents+json"
	dataType       = "application/json"
	specVersion    = "1.0"
)

// appendStructured appends the event as a CloudEvent in JSON.
func appendStructured(b []byte, e *bus.OutEvent) []byte {
	b = append(b, `{"specversion":"1.0","id":`...)
	b = appendString(b, e.UID)
	b = append(b, `,"type":"wattbus.`...)
	b = append(b, e.Name...)
	b = append(b, `.v1","source":`...)
	b = appendString(b, e.Source())
	b = append(b, `,"subject":`...)
	b = appendString(b, e.ID)
	b = append(b, `,"time":"`...)
	b = e.At().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","datacontenttype":"application/json","data":`...)
	b = append(b, e.Data...)
	return append(b, '}')
}

// appendString appends a JSON string. Ids and paths of the contract's grammar need no escapes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f || c == '<' || c == '>' || c == '&' {
			q, err := json.Marshal(s)
			if err != nil {
				q = []byte(`""`) // a string always encodes
			}
			return append(b, q...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// attribute is one of a CloudEvent's context attributes.
type attribute struct{ name, value string }

// attributes are those that the binary form has in headers. datacontenttype is not among them: each transport has its own place
// for it.
func attributes(e *bus.OutEvent) [6]attribute {
	return [6]attribute{{"specversion", specVersion}, {"id", e.UID}, {"type", e.Type()}, {"source", e.Source()}, {"subject", e.ID},
		{"time", e.At().Format(time.RFC3339Nano)}}
}

// filter is a compiled Filter.
type filter struct {
	events, kinds, meters map[string]bool
	paths                 []string
}

func newFilter(s *Spec) *filter {
	set := func(all []string) map[string]bool {
		if len(all) == 0 {
			return nil
		}
		m := make(map[string]bool, len(all))
		for _, x := range all {
			m[x] = true
		}
		return m
	}
	return &filter{events: set(s.Events), kinds: set(s.Filter.Kinds), meters: set(s.Filter.Meters), paths: slices.Clone(s.Filter.Paths)}
}

func (f *filter) match(e *bus.OutEvent) bool {
	return f.events[e.Name] && (f.kinds == nil || f.kinds[e.Kind]) && (f.meters == nil || f.meters[e.ID]) &&
		(f.paths == nil || slices.ContainsFunc(f.paths, func(p string) bool { return topic.Contains(p, e.Path) }))
}

// address is an address with places for what differs between events.
type address struct {
	text   []string // one more than parts
	parts  []string // kind, name, id
	escape func(id string) string
}

func parseAddress(s string) (*address, error) {
	a := &address{escape: func(id string) string { return id }}
	for {
		before, rest, ok := strings.Cut(s, "{")
		a.text = append(a.text, before)
		if !ok {
			return a, nil
		}
		part, after, ok := strings.Cut(rest, "}")
		if !ok {
			return nil, errors.New("a { without its }")
		}
		if !slices.Contains([]string{"kind", "name", "id"}, part) {
			return nil, fmt.Errorf("{%.20s}, want {kind}, {name} or {id}", part)
		}
		a.parts = append(a.parts, part)
		s = after
	}
}

// fixed reports whether all events have the same address.
func (a *address) fixed() bool { return len(a.parts) == 0 }

// has reports whether a part differs between events.
func (a *address) has(part string) bool { return slices.Contains(a.parts, part) }

// of is the address of an event.
func (a *address) of(e *bus.OutEvent) string {
	if a.fixed() {
		return a.text[0]
	}
	var b strings.Builder
	b.WriteString(a.text[0])
	for i, p := range a.parts {
		switch p {
		case "kind":
			b.WriteString(e.Kind)
		case "name":
			b.WriteString(e.Name)
		case "id":
			b.WriteString(a.escape(e.ID))
		}
		b.WriteString(a.text[i+1])
	}
	return b.String()
}
