package cli

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/top"
)

// expendable are the columns that go first, in this order, when a table is too wide: others of their table say much the same.
var expendable = []string{"wakes_at", "stated", "cause", "numbers", "link", "power", "breaker", "code", "edited", "estimated", "path", "class", "restored", "confidence", "sends",
	"took_ms", "fuse_a", "phases", "lateral", "valid_from", "customer", "channel", "refused", "usage_point", "feeder", "transformer", "by", "image", "key"}

const (
	gap     = 2  // blanks between columns
	minimum = 16 // columns that a long text keeps: times and states whole
	naming  = 24 // columns that the first one keeps: ids whole
	ample   = 28 // what is longer is cut before whole columns are left out
)

// grid is a table for people, made to fit.
type grid struct {
	names   []string
	rows    [][]string
	width   int // 0: any
	colours bool
	left    []string // names of columns that were left out
	under   []string // what stands under each row instead of in a column, nil for nothing
}

// lengthy are the columns of which the first goes under the rows when a table is too wide: what stands in it is for reading, not for comparing.
var lengthy = []string{"evidence", "result", "text", "why", "progress"}

// nominal are columns whose numbers are names.
var nominal = []string{"group", "sequence", "version", "channel", "code", "firmware", "subject", "command", "serial", "case", "value"}

// text renders it.
func (g *grid) text() string {
	g.fit()
	widths := g.widths()
	right := make([]bool, len(g.names))
	for i := range right {
		right[i] = g.numeric(i)
	}
	var b strings.Builder
	line := func(cells []string, head bool) {
		for i, c := range cells {
			if head {
				c = strings.ToUpper(c)
			}
			text := c
			if g.width > 0 {
				text = strings.TrimRight(top.Fit(c, widths[i], false), " ")
			}
			blanks := strings.Repeat(" ", max(0, widths[i]-top.Width(text)))
			if !head && g.colours && (g.names[i] == "state" || g.names[i] == "kind") {
				text = top.Coloured(c, text)
			}
			switch {
			case right[i]:
				text = blanks + text
			case i < len(cells)-1:
				text += blanks
			}
			b.WriteString(text)
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", gap))
			}
		}
		b.WriteByte('\n')
	}
	line(g.names, true)
	for k, r := range g.rows {
		line(r, false)
		if g.under != nil && g.under[k] != "-" {
			b.WriteString("    " + strings.TrimRight(top.Fit(g.under[k], max(minimum, g.width-4), false), " ") + "\n")
		}
	}
	if len(g.left) > 0 {
		b.WriteString(top.Fit("left out: "+strings.Join(g.left, ", "), max(minimum, g.width-len("; -o wide")), false))
		return strings.TrimRight(b.String(), " ") + "; -o wide\n"
	}
	return b.String()
}

// numeric reports whether a column holds quantities: they are told apart by their ends.
func (g *grid) numeric(i int) bool {
	if i == 0 || slices.Contains(nominal, g.names[i]) {
		return false
	}
	found := false
	for _, r := range g.rows {
		if r[i] == "-" {
			continue
		}
		if _, err := strconv.ParseFloat(strings.TrimSuffix(strings.ReplaceAll(r[i], ",", ""), "%"), 64); err != nil {
			return false
		}
		found = true
	}
	return found
}

// widths are those of the columns as they are, cut to what fit allows.
func (g *grid) widths() []int {
	out := make([]int, len(g.names))
	for i, n := range g.names {
		out[i] = top.Width(n)
		for _, r := range g.rows {
			out[i] = max(out[i], top.Width(r[i]))
		}
	}
	if g.width > 0 {
		g.shrink(out)
	}
	return out
}

func total(widths []int) int {
	sum := -gap
	for _, w := range widths {
		sum += w + gap
	}
	return sum
}

// shrink takes from the widest columns what is too much.
func (g *grid) shrink(widths []int) {
	least := func(i int) int {
		if i == 0 {
			return naming
		}
		return max(minimum, top.Width(g.names[i]))
	}
	for over := total(widths) - g.width; over > 0; over = total(widths) - g.width {
		widest := -1
		for i := range widths {
			if widths[i] > least(i) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest] -= min(over, widths[widest]-least(widest))
	}
}

func (g *grid) fits() bool { return g.width <= 0 || total(g.widths()) <= g.width }

// whole reports whether it fits with nothing cut.
func (g *grid) whole() bool {
	return g.width <= 0 || total((&grid{names: g.names, rows: g.rows}).widths()) <= g.width
}

// wide reports whether it fits only with texts cut to less than what is ample.
func (g *grid) wide() bool {
	widths := (&grid{names: g.names, rows: g.rows}).widths()
	for i, name := range g.names {
		if !slices.Contains(lengthy, name) {
			widths[i] = min(widths[i], ample)
		}
	}
	return g.width > 0 && total(widths) > g.width
}

// fit leaves out and shortens until the table fits: columns that say nothing, the parts of times that are all the same, what is expendable, and
// then what stands rightmost. Long texts are cut.
func (g *grid) fit() {
	if g.whole() {
		return
	}
	for i := len(g.names) - 1; i > 0; i-- {
		if len(g.rows) > 0 && !slices.ContainsFunc(g.rows, func(r []string) bool { return r[i] != "-" }) {
			g.drop(i, false)
		}
	}
	if g.whole() {
		return
	}
	g.shortTimes(false)
	if i := slices.IndexFunc(g.names, func(name string) bool { return slices.Contains(lengthy, name) }); i > 0 && g.wide() {
		for _, r := range g.rows {
			g.under = append(g.under, r[i])
		}
		g.drop(i, false)
	}
	for _, name := range expendable {
		if !g.wide() {
			return
		}
		if i := slices.Index(g.names, name); i > 0 {
			g.drop(i, true)
		}
	}
	for !g.fits() && len(g.names) > 1 && !g.shortest() {
		g.drop(len(g.names)-1, true)
	}
}

// shortest takes times without seconds, if that is enough.
func (g *grid) shortest() bool {
	short := &grid{names: g.names, width: g.width}
	for _, r := range g.rows {
		short.rows = append(short.rows, slices.Clone(r))
	}
	short.shortTimes(true)
	if !short.fits() {
		return false
	}
	g.rows = short.rows
	return true
}

func (g *grid) drop(i int, tell bool) {
	if tell {
		g.left = append(g.left, g.names[i])
	}
	g.names = slices.Delete(slices.Clone(g.names), i, i+1)
	for k, r := range g.rows {
		g.rows[k] = slices.Delete(r, i, i+1)
	}
}

// The forms of times in tables: whole as in RFC 3339, without what all of them share, and shorter still.
const (
	withoutYear    = "01-02 15:04:05"
	withoutSeconds = "2006-01-02 15:04"
	shortest       = "01-02 15:04"
)

// shortTimes writes times without what all of them share: the year, or else without seconds; shorter still without both.
func (g *grid) shortTimes(shorter bool) {
	from, layout := time.RFC3339, withoutSeconds
	if shorter {
		from, layout = withoutYear, shortest
	}
	years := map[int]bool{}
	var at [][2]int
	for k, r := range g.rows {
		for i, c := range r {
			if t, err := time.Parse(from, c); err == nil {
				years[t.Year()] = true
				at = append(at, [2]int{k, i})
			}
		}
	}
	if len(years) == 1 && !shorter {
		layout = withoutYear
	}
	for _, p := range at {
		t, _ := time.Parse(from, g.rows[p[0]][p[1]])
		g.rows[p[0]][p[1]] = t.Format(layout)
	}
}
