package top

import (
	"fmt"
	"strings"
	"time"
)

func (m *Model) line(width int) *line { return &line{room: width, colours: m.Colours, bare: m.bare} }

// Frame draws the picture: exactly the lines that fit, without line breaks.
func (m *Model) Frame(width, height int) []string {
	width, height = max(width, 1), max(height, 1)
	if m.help {
		return m.helpFrame(width, height)
	}
	out := m.header(width)
	room := height - len(out) - 2 // the line that parts, and the foot
	if room >= 3 {
		out = append(out, "")
		if m.view == viewAll {
			out = append(out, m.all(width, room)...)
		} else {
			m.pageRows = max(1, room-2)
			out = append(out, m.list().draw(m, width, room, true)...)
		}
	}
	for len(out) < height-1 {
		out = append(out, "")
	}
	out = out[:height-1]
	return append(out, m.foot(width))
}

// Plain is one frame of everything, at most rows rows of each list, for what is no terminal.
func (m *Model) Plain(width, rows int) []string {
	m.bare = true
	out := m.header(width)
	for _, l := range []lister{&m.outages, &m.commands, &m.concentrators} {
		out = append(out, "")
		out = append(out, l.draw(m, width, rows+2, false)...)
	}
	for i := range out {
		out[i] = strings.TrimRight(out[i], " ")
	}
	return out
}

// all shares the room among the three lists: those of outages and commands take what they need, up to a third each.
func (m *Model) all(width, room int) []string {
	var out []string
	third := max(3, room/3)
	for _, l := range []lister{&m.outages, &m.commands} {
		if room-len(out) < 7 {
			break
		}
		h := min(third, 2+max(1, l.count(m.filter)))
		out = append(out, l.draw(m, width, h, false)...)
		out = append(out, "")
	}
	left := room - len(out)
	m.pageRows = max(1, left-2)
	if left >= 3 {
		out = append(out, m.concentrators.draw(m, width, left, true)...)
	}
	return out
}

func (m *Model) header(width int) []string {
	l := m.line(width).add(bold, "wattbus top").add(plain, "  "+m.Server+"  ")
	switch {
	case m.bare:
	case m.trouble != "":
		l.add(alarm, m.trouble)
	case m.paused:
		l.add(yellow, "paused")
	case m.live:
		l.add(green, "live")
	default:
		l.add(dim, "connecting")
	}
	out := []string{l.String()}
	t := m.totals
	if t == nil {
		return append(out, m.line(width).add(dim, "nothing is known yet").String())
	}
	l = m.line(width).add(plain, t.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	if t.Paused {
		l.add(yellow, ", standing still")
	} else if t.Speed != 1 {
		l.add(dim, fmt.Sprintf(", %g times as fast as yours", t.Speed))
	}
	if t.Storm {
		l.add(plain, "  ").add(alarm, "STORM")
	}
	out = append(out, l.String())

	l = m.line(width).add(dim, "readings  ").add(bold, fmt.Sprintf("%10s", rate(t.ReadingsPerSec))).add(plain, "/s  ")
	l.add(cyan, spark(m.rates, min(maxRates/2, max(0, width-l.used-24)))).add(dim, "  power  ").add(plain, watts(t.PowerW))
	out = append(out, l.String())

	l = m.line(width).add(dim, "complete  ").add(completeStyle(t.Completeness.Percent), fmt.Sprintf("%10s", fmt.Sprintf("%.3f", t.Completeness.Percent))).add(plain, " %")
	l.add(dim, "  missing  ").add(plain, number(t.Completeness.Missing)).add(dim, " of ").add(plain, number(t.Completeness.Expected))
	l.add(dim, "  fetching  ").add(plain, number(int64(t.Backfill.InFlight))).add(dim, ", waiting  ").add(plain, number(int64(t.Backfill.Waiting)))
	out = append(out, l.String())

	l = m.line(width).add(dim, "meters    ").add(bold, fmt.Sprintf("%10s", number(int64(t.Meters)))).add(plain, "   ")
	for i, s := range states(t.States) {
		if i > 0 {
			l.add(plain, "  ")
		}
		l.add(stateStyle(s), s).add(plain, " "+number(int64(t.States[s])))
	}
	out = append(out, l.String())

	l = m.line(width).add(dim, "outages   ").add(countStyle(t.OutagesOpen, red), fmt.Sprintf("%10s", number(int64(t.OutagesOpen)))).add(plain, "  ")
	l.add(dim, " commands  ").add(plain, number(int64(t.CommandsOpen))).add(dim, "  dead letters  ").add(countStyle(int(t.DeadLetters), yellow), number(t.DeadLetters))
	l.add(dim, "  store  ").add(plain, size(t.Store.Bytes))
	return append(out, l.String())
}

func (m *Model) foot(width int) string {
	l := m.line(width)
	if m.typing {
		return l.add(bold, "/"+m.filter+"▏").add(dim, "  enter keeps the filter, esc drops it").String()
	}
	for i, name := range []string{"all", "outages", "commands", "concentrators", "events"} {
		st := dim
		if view(i) == m.view {
			st = reverse
		}
		l.add(st, fmt.Sprintf("%d %s", i+1, name)).add(plain, "  ")
	}
	if m.filter != "" {
		l.add(yellow, "/"+m.filter).add(plain, "  ")
	}
	return l.add(dim, "q quit  ? help").String()
}

func (m *Model) helpFrame(width, height int) []string {
	out := []string{m.line(width).add(bold, "wattbus top: keys").String(), ""}
	for _, k := range [][2]string{
		{"1 to 5, tab", "which list: all, outages, commands, concentrators, events"},
		{"↑ ↓ PgUp PgDn", "scroll; Home and End, too"},
		{"s", "sort by the next column; ▾ marks it"},
		{"r", "the other way round, ▴"},
		{"/", "show only rows that contain a text; esc shows all again"},
		{"space", "stand still, and go on"},
		{"ctrl-l", "draw everything anew"},
		{"ctrl-z", "back to the shell; fg comes back"},
		{"q, ctrl-c", "end"},
	} {
		out = append(out, m.line(width).add(plain, "  ").add(bold, Fit(k[0], 16, false)).add(plain, k[1]).String())
	}
	out = append(out, "", m.line(width).add(dim, "Times are business time, those of commands the wall's. Any key goes back.").String())
	return out[:min(len(out), height)]
}

// ago is how long ago a business time was.
func (m *Model) ago(t time.Time) string {
	if m.totals == nil || t.IsZero() {
		return "-"
	}
	return short(m.totals.Time.Sub(t))
}

func completeStyle(p float64) style {
	switch {
	case p < 95:
		return alarm
	case p < 99.5:
		return yellow
	}
	return green
}

func countStyle(n int, st style) style {
	if n > 0 {
		return st
	}
	return plain
}
