package top

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

func concentratorTable(m *Model) table[api.Concentrator] {
	return table[api.Concentrator]{title: "Concentrators", none: "no concentrators", sort: 0, cols: []col[api.Concentrator]{
		{name: "path", cell: func(c api.Concentrator) string { return c.Path },
			less: func(a, b api.Concentrator) int { return strings.Compare(a.Path, b.Path) }},
		{name: "state", width: 8, cell: func(c api.Concentrator) string { return c.State }, look: func(c api.Concentrator) style { return stateStyle(c.State) },
			less: func(a, b api.Concentrator) int { return strings.Compare(a.State, b.State) }},
		{name: "since", width: 7, right: true, cell: func(c api.Concentrator) string { return m.ago(c.Since) },
			less: func(a, b api.Concentrator) int { return b.Since.Compare(a.Since) }},
		{name: "meters", width: 9, right: true, cell: func(c api.Concentrator) string { return number(int64(c.Below)) },
			less: func(a, b api.Concentrator) int { return cmp.Compare(b.Below, a.Below) }},
		{name: "not online", width: 11, right: true, cell: func(c api.Concentrator) string { return number(int64(c.Below - c.States[api.StateOnline])) },
			look: func(c api.Concentrator) style {
				if c.Below > c.States[api.StateOnline] {
					return yellow
				}
				return plain
			},
			less: func(a, b api.Concentrator) int {
				return cmp.Compare(b.Below-b.States[api.StateOnline], a.Below-a.States[api.StateOnline])
			}},
		{name: "complete", width: 9, right: true, cell: func(c api.Concentrator) string {
			k, ok := m.completeness[c.Path]
			if !ok || k.Expected == 0 {
				return "-"
			}
			return fmt.Sprintf("%.2f %%", math.Floor(share(k)*1e4)/1e2) // 100 only where all is there
		}, less: func(a, b api.Concentrator) int {
			return cmp.Compare(share(m.completeness[a.Path]), share(m.completeness[b.Path]))
		}},
	}}
}

func outageTable(m *Model) table[api.Outage] {
	begun := func(a, b api.Outage) int { return b.Start.Compare(a.Start) }
	return table[api.Outage]{title: "Outages", none: "no outage goes on", sort: 4, cols: []col[api.Outage]{
		{name: "of", cell: place, less: func(a, b api.Outage) int { return strings.Compare(place(a), place(b)) }},
		{name: "kind", width: 11, cell: func(o api.Outage) string { return o.Kind }, look: func(o api.Outage) style { return stateStyle(o.Kind) },
			less: func(a, b api.Outage) int { return strings.Compare(a.Kind, b.Kind) }},
		{name: "affected", width: 9, right: true, cell: func(o api.Outage) string { return number(int64(o.Affected)) },
			less: func(a, b api.Outage) int { return cmp.Compare(b.Affected, a.Affected) }},
		{name: "restored", width: 9, right: true, cell: func(o api.Outage) string { return number(int64(o.Restored)) },
			less: func(a, b api.Outage) int { return cmp.Compare(b.Restored, a.Restored) }},
		{name: "for", width: 7, right: true, cell: func(o api.Outage) string { return m.ago(o.Start) }, less: begun},
		{name: "sure", width: 5, right: true, cell: func(o api.Outage) string {
			if o.Confidence == 0 {
				return "-"
			}
			return fmt.Sprintf("%.0f %%", 100*o.Confidence)
		}},
	}}
}

func commandTable(m *Model) table[api.Command] {
	made := func(a, b api.Command) int { return b.Created.Compare(a.Created) }
	return table[api.Command]{title: "Commands in flight", none: "no command that somebody asked for is on its way", sort: 4, cols: []col[api.Command]{
		{name: "target", cell: func(c api.Command) string { return target(c.Target) },
			less: func(a, b api.Command) int { return strings.Compare(target(a.Target), target(b.Target)) }},
		{name: "type", width: 10, cell: func(c api.Command) string { return c.Type },
			less: func(a, b api.Command) int { return strings.Compare(a.Type, b.Type) }},
		{name: "state", width: 16, cell: func(c api.Command) string { return c.State }, look: func(c api.Command) style { return stateStyle(c.State) },
			less: func(a, b api.Command) int { return strings.Compare(a.State, b.State) }},
		{name: "ended", width: 13, right: true, cell: ended},
		{name: "for", width: 7, right: true, cell: func(c api.Command) string { return short(m.wall.Sub(c.Created)) }, less: made},
		{name: "id", width: 20, cell: func(c api.Command) string { return c.ID }},
	}}
}

func eventTable() table[event] {
	return table[event]{title: "Events", none: "nothing has happened yet", sort: 0, cols: []col[event]{
		{name: "time", width: 20, cell: func(e event) string { return e.at.UTC().Format(time.RFC3339) }},
		{name: "event", width: 13, cell: func(e event) string { return e.kind }},
		{name: "of", width: 20, cell: func(e event) string { return e.what }},
		{name: "what", cell: func(e event) string { return e.text }},
	}}
}

// share is how much of what is expected is there; of nothing, all.
func share(k api.KeyCounts) float64 {
	if k.Expected == 0 {
		return 1
	}
	return float64(k.There) / float64(k.Expected)
}

// ended tells how many of a command's meters are done with it.
func ended(c api.Command) string {
	if c.Bulk == nil {
		return "-"
	}
	n := 0
	for s, k := range c.Bulk.States {
		if api.Finished(s) {
			n += k
		}
	}
	return number(int64(n)) + "/" + number(int64(c.Bulk.Total))
}

// place names what an outage is of.
func place(o api.Outage) string {
	if s := o.Meter + o.Concentrator; s != "" {
		return s
	}
	return strings.TrimSpace(o.Scope + " " + o.Element)
}

// commandText tells how far a command is: of one for many meters by their states, and by what the readings behind a switch say.
func commandText(c api.Command) string {
	text := c.Type + " " + target(c.Target) + " is " + c.State
	if c.Verifies != "" {
		text += ", behind switch " + c.Verifies
	}
	if c.Bulk == nil {
		return text
	}
	var parts []string
	for _, s := range slices.Sorted(maps.Keys(c.Bulk.States)) {
		parts = append(parts, fmt.Sprintf("%s %s", number(int64(c.Bulk.States[s])), s))
	}
	for _, s := range slices.Sorted(maps.Keys(c.Bulk.Verification)) {
		parts = append(parts, fmt.Sprintf("reading behind it %s %s", s, number(int64(c.Bulk.Verification[s]))))
	}
	return text + ": " + strings.Join(parts, ", ")
}

// target names whom a command is for.
func target(t api.Target) string {
	switch {
	case t.Meter != "":
		return t.Meter
	case t.Group != nil:
		return fmt.Sprintf("group:%d", *t.Group)
	case t.Path != "":
		return "path:" + t.Path
	case t.Listed+len(t.Meters) > 0: // lists and live events only count them
		return fmt.Sprintf("%d meters", max(t.Listed, len(t.Meters)))
	}
	return "a search"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// stateStyle is the colour of a state, of whatever it is one.
func stateStyle(s string) style {
	switch s {
	case api.StateOnline, api.CommandDone:
		return green
	case api.StatePowerLost, "lost", api.CommandFailed, api.CommandRefused, api.CommandExpired:
		return red
	case api.StateCommLost, api.StateUnreachable, api.CommandPendingApproval, "offline":
		return yellow
	case api.StateDisconnected, api.StateSleeping, "maintenance":
		return cyan
	}
	return plain
}

// Coloured is text, which tells a state, in the colour of that state.
func Coloured(state, text string) string {
	if st := stateStyle(state); st != plain {
		return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
	}
	return text
}

// stateOrder is that of the contract, the worst first.
var stateOrder = []string{api.StatePowerLost, api.StateUnreachable, api.StateCommLost, api.StateDisconnected, api.StateSleeping, api.StateNeverSeen, api.StateOnline}

// states are the states that some meter is in, the worst first.
func states(by map[string]int) []string {
	out := slices.DeleteFunc(slices.Clone(stateOrder), func(s string) bool { return by[s] == 0 })
	var others []string
	for s, n := range by {
		if n > 0 && !slices.Contains(stateOrder, s) {
			others = append(others, s)
		}
	}
	slices.Sort(others)
	return append(out, others...)
}
