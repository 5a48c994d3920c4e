package cli

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/top"
)

// Whatever stands in a table, it fits, and the first column is there.
func TestGridFits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := append([]string{"id", "state", "start", "evidence", "of", "a", "detail"}, expendable...)
	cells := []string{"-", "M1000317", "online", "2018-12-12T12:00:00Z", "2019-01-01T00:00:00Z", "変圧器 T1", strings.Repeat("long text ", 12), "7"}
	for range 2000 {
		g := grid{width: 40 + r.IntN(100)}
		for range 1 + r.IntN(12) {
			g.names = append(g.names, names[r.IntN(len(names))])
		}
		for range r.IntN(5) {
			var row []string
			for i := range g.names {
				if i == 0 {
					row = append(row, "M1000317")
					continue
				}
				row = append(row, cells[r.IntN(len(cells))])
			}
			g.rows = append(g.rows, row)
		}
		first := g.names[0]
		for l := range strings.SplitSeq(strings.TrimSuffix(g.text(), "\n"), "\n") {
			if top.Width(l) > g.width || strings.TrimRight(l, " ") != l {
				t.Fatalf("%d columns of %d: %q", top.Width(l), g.width, l)
			}
		}
		if g.names[0] != first {
			t.Fatalf("%s is gone", first)
		}
	}
}
