package top

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/screen"
)

// The most that is kept of each list; a longer one is cut, and says so.
const (
	MaxRows  = 5000
	maxLog   = 500
	maxRates = 120
	maxTyped = 64
)

// Model is what is known and how it is looked at. It is not safe for concurrent use.
type Model struct {
	Server  string // as the user wrote it
	Colours bool

	totals        *api.Totals
	rates         []float64 // of readings, a second each, oldest first
	completeness  map[string]api.KeyCounts
	concentrators table[api.Concentrator]
	outages       table[api.Outage]
	commands      table[api.Command]
	events        table[event]

	live     bool
	trouble  string // why nothing comes, else empty
	view     view
	filter   string
	typing   bool
	help     bool
	paused   bool
	bare     bool // no styles: the output is no terminal
	pageRows int  // lines of the list in the last frame
	wall     time.Time
}

// event is one line of the log.
type event struct {
	at         time.Time
	kind, what string
	text       string
}

// view is which lists are on the screen.
type view int

const (
	viewAll view = iota
	viewOutages
	viewCommands
	viewConcentrators
	viewEvents
	views
)

// New makes a model of a centre that nothing is known of yet.
func New(server string, colours bool) *Model {
	m := &Model{Server: server, Colours: colours}
	m.concentrators = concentratorTable(m)
	m.outages = outageTable(m)
	m.commands = commandTable(m)
	m.events = eventTable()
	return m
}

// SetTotals takes new totals, at the wall's time.
func (m *Model) SetTotals(t api.Totals, wall time.Time) {
	m.wall, m.trouble = wall, ""
	m.totals = &t
	m.rates = append(m.rates, t.ReadingsPerSec)
	m.rates = m.rates[max(0, len(m.rates)-maxRates):]
}

// SetLists takes new lists.
func (m *Model) SetLists(cs []api.Concentrator, os []api.Outage, cmds []api.Command) {
	m.concentrators.rows, m.outages.rows, m.commands.rows = cs, os, cmds
}

// SetCompleteness takes the completeness of the meters on each concentrator, by its path. Each is told with those below it.
func (m *Model) SetCompleteness(items []api.KeyCounts) {
	m.completeness = make(map[string]api.KeyCounts, len(items))
	for _, it := range items {
		for path := it.Key; ; {
			k := m.completeness[path]
			k.Expected, k.There = k.Expected+it.Expected, k.There+it.There
			m.completeness[path] = k
			i := strings.LastIndexByte(path, '/')
			if i < 0 {
				break
			}
			path = path[:i]
		}
	}
}

// SetLive says whether events come as they happen, and if not why.
func (m *Model) SetLive(live bool, trouble string) { m.live, m.trouble = live, trouble }

// Add takes a live event. It reports whether lists should be asked for anew.
func (m *Model) Add(ev api.Event, wall time.Time) (stale bool) {
	m.live = true
	name := strings.TrimSuffix(strings.TrimPrefix(ev.Type, "wattbus."), ".v1")
	e := event{at: ev.Time, kind: name, what: ev.Subject}
	switch name {
	case api.EventTotals:
		var t api.Totals
		if json.Unmarshal(ev.Data, &t) == nil {
			m.SetTotals(t, wall)
		}
		return false
	case api.EventState:
		var x api.Meter
		if json.Unmarshal(ev.Data, &x) != nil {
			return false
		}
		e.text = x.State + " at " + orDash(x.Path)
	case api.EventConcentrator:
		var x api.Concentrator
		if json.Unmarshal(ev.Data, &x) != nil {
			return false
		}
		e.text = x.State + " at " + orDash(x.Path)
	case api.EventCommand:
		var x api.Command
		if json.Unmarshal(ev.Data, &x) != nil {
			return false
		}
		e.what, e.text = x.ID, commandText(x)
	case api.EventOutage:
		var x api.Outage
		if json.Unmarshal(ev.Data, &x) != nil {
			return false
		}
		e.what = place(x)
		e.text = x.Kind
		if x.End != nil {
			e.text += " is over"
		}
	case api.EventStorm:
		var x api.Storm
		if json.Unmarshal(ev.Data, &x) != nil {
			return false
		}
		e.text = map[bool]string{true: "storm mode begins", false: "storm mode ends"}[x.Active]
	default:
		return false
	}
	if m.told(e) {
		return name != api.EventState
	}
	rows := append([]event{e}, m.events.rows...)
	m.events.rows = rows[:min(len(rows), maxLog)]
	return name != api.EventState
}

// told reports whether the newest line of what e is about says the same: an event comes for every change, also of what no line tells.
func (m *Model) told(e event) bool {
	for _, was := range m.events.rows {
		if was.kind == e.kind && was.what == e.what {
			return was.text == e.text
		}
	}
	return false
}

// Paused reports whether the picture is to stand still.
func (m *Model) Paused() bool { return m.paused }

// Key does what the key means. It reports whether the user wants to go.
func (m *Model) Key(k screen.Key) (quit bool) {
	if k == screen.Interrupt {
		return true
	}
	if m.typing {
		m.typeKey(k)
		return false
	}
	if m.help {
		m.help = false
		return false
	}
	l := m.list()
	switch k {
	case "q", "Q":
		return true
	case "?", "h":
		m.help = true
	case screen.Escape:
		m.filter = ""
	case "/":
		m.typing = true
	case " ":
		m.paused = !m.paused
	case screen.Tab, screen.Right:
		m.view = (m.view + 1) % views
	case screen.BackTab, screen.Left:
		m.view = (m.view + views - 1) % views
	case "1", "2", "3", "4", "5":
		m.view = view(k[0] - '1')
	case "s":
		l.nextSort()
	case "r":
		l.reverse()
	case screen.Down, "j":
		l.scroll(1)
	case screen.Up, "k":
		l.scroll(-1)
	case screen.PageDown:
		l.scroll(m.pageRows)
	case screen.PageUp:
		l.scroll(-m.pageRows)
	case screen.Home, "g":
		l.scroll(-1 << 30)
	case screen.End, "G":
		l.scroll(1 << 30)
	}
	return false
}

func (m *Model) typeKey(k screen.Key) {
	switch k {
	case screen.Enter:
		m.typing = false
	case screen.Escape:
		m.typing, m.filter = false, ""
	case screen.Backspace:
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	default:
		if r := []rune(k); len(r) == 1 && len(m.filter) < maxTyped {
			m.filter += string(k)
		}
	}
}

// list is the one that keys work on; of several on the screen, that of the concentrators.
func (m *Model) list() lister {
	switch m.view {
	case viewOutages:
		return &m.outages
	case viewCommands:
		return &m.commands
	case viewEvents:
		return &m.events
	}
	return &m.concentrators
}
