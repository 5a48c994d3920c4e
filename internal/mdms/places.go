package mdms

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/topic"
)

// placeOf takes over which place a question is about. One that no meter hangs in is a mistake: a sum of nothing would not tell. m.mu
// is held.
func (m *MDMS) placeOf(q *api.SumQuery, x *slice) error {
	for _, p := range []struct {
		kind, name string
		to         *uint32
		of         func(place) uint32
	}{
		{"substation", q.Substation, &x.place.substation, func(p place) uint32 { return p.substation }},
		{"feeder", q.Feeder, &x.place.feeder, func(p place) uint32 { return p.feeder }},
		{"transformer", q.Transformer, &x.place.transformer, func(p place) uint32 { return p.transformer }},
	} {
		if p.name == "" {
			continue
		}
		n, ok := m.grid.of[p.name]
		if ok && m.hangsAt(func(s place) bool { return p.of(s) == n }) {
			*p.to = n
			continue
		}
		var names []string
		seen := make([]bool, len(m.grid.all))
		for _, d := range m.devices {
			if n := p.of(d.place); n != 0 && !seen[n] {
				seen[n] = true
				names = append(names, m.grid.all[n])
			}
		}
		return unknownPlace(p.kind, p.name, names)
	}
	if q.Path == "" {
		return nil
	}
	if below := m.below(q.Path); slices.ContainsFunc(m.columns, func(c column) bool { return below[c.path] }) {
		return nil
	}
	return unknownPlace("path", q.Path, m.paths())
}

// hangsAt reports whether some device hangs at a place. m.mu is held.
func (m *MDMS) hangsAt(is func(place) bool) bool {
	at := make([]bool, len(m.spots.all))
	for n, p := range m.spots.all {
		at[n] = is(p)
	}
	return slices.Contains(at, true) && slices.ContainsFunc(m.columns, func(c column) bool { return at[c.spot] })
}

// paths are the paths at which devices hang. m.mu is held.
func (m *MDMS) paths() []string {
	paths := map[string]bool{}
	for _, d := range m.devices {
		for p := d.EndDevice.Path; p != "" && !paths[p]; p, _ = topic.Parent(p) {
			paths[p] = true
		}
	}
	return slices.Collect(maps.Keys(paths))
}

// unknownPlace is a problem with the names that are nearest to what was asked for.
func unknownPlace(kind, name string, names []string) error {
	return unknownName(kind, fmt.Sprintf("no meter hangs at %s %.80q", kind, name), name, names)
}

func unknownName(field, detail, name string, names []string) error {
	switch near := nearest(name, names); {
	case len(near) > 0:
		detail += "; did you mean " + strings.Join(near, ", ") + "?"
	case len(names) == 0:
		detail += "; there is none at all"
	}
	p := api.NotFound("%s", detail)
	p.Field = field
	return p
}

// nearest are up to three names that differ the least from one.
func nearest(name string, names []string) []string {
	type candidate struct {
		name string
		far  int
	}
	var all []candidate
	for _, n := range names {
		far := distance(strings.ToLower(name), strings.ToLower(n))
		if far <= max(len(name)/3, 2) || strings.HasPrefix(strings.ToLower(n), strings.ToLower(name)) {
			all = append(all, candidate{n, far})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.name, b.name)
	})
	var out []string
	for i := range min(len(all), 3) {
		out = append(out, all[i].name)
	}
	return out
}

// distance is how many characters have to be changed, added or taken out (Levenshtein).
func distance(a, b string) int {
	if len(a) > 80 || len(b) > 80 {
		return 80
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, prev+cost)
		}
	}
	return row[len(b)]
}
