package tariff

import (
	"cmp"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

const daySeconds = 24 * 3600

// periods reads what holds when: for each season and type of day, times that cover the day.
func (r *reader) periods(n *yaml.Node, c *Calendar) {
	c.times = make([][]span, len(c.seasons)*len(c.types))
	lines := make([]int, len(c.times))
	for i, p := range r.list(n, "periods") {
		field := fmt.Sprintf("periods[%d]", i)
		m := r.mapping(p, field, 2, "day-type", "times", "season")
		var seasons []int
		if m["season"] == nil {
			for s := range c.seasons {
				seasons = append(seasons, s)
			}
		} else if name, ok := r.text(m["season"], field+".season"); ok {
			s := slices.IndexFunc(c.seasons, func(s season) bool { return s.name == name })
			if s >= 0 {
				seasons = []int{s}
			} else if r.knowsSeasons {
				r.fail(m["season"].Line, field+".season", "%q is no season of this file", clip(name))
			}
		}
		name, ok := r.text(m["day-type"], field+".day-type")
		t := slices.Index(c.types, name)
		if ok && t < 0 && r.knowsTypes {
			r.fail(m["day-type"].Line, field+".day-type", "%q is no day type of this file", clip(name))
		}
		times := r.times(m["times"], field+".times", c)
		if t < 0 {
			continue
		}
		for _, s := range seasons {
			k := s*len(c.types) + t
			if lines[k] != 0 {
				r.fail(p.Line, field, "season %s, day type %s has times already, in line %d", c.seasons[s].name, name, lines[k])
				continue
			}
			c.times[k], lines[k] = times, p.Line
		}
	}
	if r.count() > 0 {
		return
	}
	for k, l := range lines {
		if l == 0 {
			r.fail(n.Line, "periods", "season %s, day type %s has no times: add an item for them", c.seasons[k/len(c.types)].name, c.types[k%len(c.types)])
		}
	}
}

// times reads the parts of one day, and refuses those that overlap or leave a time out.
func (r *reader) times(n *yaml.Node, field string, c *Calendar) []span {
	var out []span
	if n == nil {
		return nil
	}
	before := r.count()
	for i, t := range r.list(n, field) {
		at := fmt.Sprintf("%s[%d]", field, i)
		m := r.mapping(t, at, 3, "from", "to", "tou")
		s := span{line: t.Line}
		s.from = r.clock(m["from"], at+".from")
		s.to = r.clock(m["to"], at+".to")
		if name, ok := r.text(m["tou"], at+".tou"); ok {
			if s.tou = slices.Index(c.TOU, name); s.tou < 0 && r.knowsTOU {
				r.fail(m["tou"].Line, at+".tou", "%q is no name in tou", clip(name))
			}
		}
		if r.count() == before && s.from >= s.to {
			r.fail(t.Line, at, "from %s to %s is no time; divide what goes over midnight into one that ends at 24:00 and one that begins at 00:00",
				clockText(s.from), clockText(s.to))
		}
		out = append(out, s)
	}
	if r.count() > before {
		return nil
	}
	slices.SortStableFunc(out, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	end, line := 0, n.Line
	for _, s := range out {
		switch {
		case s.from > end:
			r.fail(s.line, field, "%s to %s is missing: each time of the day needs a tou", clockText(end), clockText(s.from))
		case s.from < end:
			r.fail(s.line, field, "%s to %s is there twice, also in line %d", clockText(s.from), clockText(min(end, s.to)), line)
		}
		end, line = max(end, s.to), s.line
	}
	if end < daySeconds {
		r.fail(line, field, "%s to 24:00 is missing: each time of the day needs a tou", clockText(end))
	}
	return out
}

// clock reads HH:MM, up to 24:00, in seconds.
func (r *reader) clock(n *yaml.Node, field string) int {
	s, ok := r.text(n, field)
	if !ok {
		return 0
	}
	digit := func(i int) int { return int(s[i]) - '0' }
	if len(s) == 5 && s[2] == ':' {
		h, m := digit(0)*10+digit(1), digit(3)*10+digit(4)
		right := true
		for _, i := range []int{0, 1, 3, 4} {
			right = right && digit(i) >= 0 && digit(i) <= 9
		}
		if right && m < 60 && (h < 24 || h == 24 && m == 0) {
			return h*3600 + m*60
		}
	}
	r.fail(n.Line, field, "%q is no time of the day, want one such as 06:00, at most 24:00", clip(s))
	return 0
}

func clockText(s int) string { return fmt.Sprintf("%02d:%02d", s/3600, s/60%60) }
