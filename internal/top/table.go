package top

import (
	"slices"
	"strings"
)

// lister is a table of any kind.
type lister interface {
	nextSort()
	reverse()
	scroll(n int)
	draw(m *Model, width, height int, focus bool) []string
	count(filter string) int
}

// col is a column. width 0 takes what is left.
type col[T any] struct {
	name  string
	width int
	right bool
	cell  func(T) string
	look  func(T) style    // nil: plain
	less  func(a, b T) int // nil: not to sort by
}

// table is a list on the screen.
type table[T any] struct {
	title string
	none  string // what is said where there is nothing
	cols  []col[T]
	rows  []T
	sort  int // column
	desc  bool
	top   int // first row shown
}

func (t *table[T]) nextSort() {
	for range t.cols {
		if t.sort = (t.sort + 1) % len(t.cols); t.cols[t.sort].less != nil {
			break
		}
	}
	t.desc, t.top = false, 0
}

func (t *table[T]) reverse() { t.desc, t.top = !t.desc, 0 }

func (t *table[T]) scroll(n int) { t.top = max(0, t.top+n) } // draw knows the end

func (t *table[T]) selected(filter string) []T {
	rows := t.rows
	if filter != "" {
		want := strings.ToLower(filter)
		rows = slices.DeleteFunc(slices.Clone(rows), func(r T) bool {
			for _, c := range t.cols {
				if strings.Contains(strings.ToLower(c.cell(r)), want) {
					return false
				}
			}
			return true
		})
	} else {
		rows = slices.Clone(rows)
	}
	if less := t.cols[t.sort].less; less != nil {
		slices.SortStableFunc(rows, func(a, b T) int {
			if t.desc {
				return less(b, a)
			}
			return less(a, b)
		})
	}
	return rows
}

func (t *table[T]) count(filter string) int { return len(t.selected(filter)) }

// draw makes the title, the heads of the columns and as many rows as fit into height lines.
func (t *table[T]) draw(m *Model, width, height int, focus bool) []string {
	rows := t.selected(m.filter)
	shown := max(0, height-2)
	if len(rows) == 0 {
		shown = max(1, shown)
	}
	t.top = max(0, min(t.top, len(rows)-shown))
	out := []string{t.head(m, width, len(rows), shown, focus)}
	widths := t.widths(width, rows)
	l := m.line(width)
	for i, c := range t.cols {
		name := strings.ToUpper(c.name)
		if i == t.sort && focus {
			name += map[bool]string{false: "▾", true: "▴"}[t.desc]
		}
		t.cell(l, i, widths, dim, name)
	}
	out = append(out, l.String())
	if len(rows) == 0 {
		return append(out, m.line(width).add(dim, "  "+t.none).String())
	}
	for _, r := range rows[t.top:min(len(rows), t.top+shown)] {
		l := m.line(width)
		for i, c := range t.cols {
			st := plain
			if c.look != nil {
				st = c.look(r)
			}
			t.cell(l, i, widths, st, c.cell(r))
		}
		out = append(out, l.String())
	}
	return out
}

func (t *table[T]) cell(l *line, i int, widths []int, st style, text string) {
	if widths[i] == 0 {
		return
	}
	if l.used > 0 {
		l.add(plain, "  ")
	}
	l.add(st, Fit(Clean(text), widths[i], t.cols[i].right))
}

// widths gives each column its width; those on the right go first where there is too little room.
func (t *table[T]) widths(width int, rows []T) []int {
	const (
		elastic = 12 // the least of a column without a width
		ample   = 36 // from where on it is no wider than what stands in it, so that the eye finds the row on a wide screen
	)
	out := make([]int, len(t.cols))
	used, open := 0, -1
	for i, c := range t.cols {
		w := c.width
		if w == 0 {
			w = elastic
		}
		if i > 0 {
			used += 2
		}
		if used+w > width && i > 0 {
			break
		}
		out[i] = w
		used += w
		if c.width == 0 {
			open = i
		}
	}
	if open >= 0 && used < width {
		room := out[open] + width - used
		want := ample
		for _, r := range rows {
			if want >= room {
				break
			}
			want = max(want, Width(Clean(t.cols[open].cell(r))))
		}
		out[open] = min(room, want)
	}
	return out
}

func (t *table[T]) head(m *Model, width, n, shown int, focus bool) string {
	st := bold
	if focus {
		st = reverse
	}
	l := m.line(width).add(st, " "+t.title+" ").add(plain, " "+number(int64(n)))
	if len(t.rows) >= MaxRows {
		l.add(yellow, " or more")
	}
	if n > shown && n > 0 {
		l.add(dim, ", "+number(int64(t.top+1))+" to "+number(int64(min(n, t.top+shown))))
	}
	return l.String()
}
