package mdms

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

// TestIndex: a part of an id finds what a look at each id finds, behind any cursor, also after more devices have come.
func TestIndex(t *testing.T) {
	var x index
	var ids, byOrdinal []string
	add := func(id string) {
		x.add(&device{EndDevice: cim.EndDevice{ID: id, Ordinal: uint32(len(ids))}})
		ids, byOrdinal = append(ids, id), append(byOrdinal, id)
	}
	check := func() {
		t.Helper()
		slices.Sort(ids)
		for _, part := range []string{"", "a", "A1", "m1", "-", "9", "m-1", "a1\nb", "zz", ".", "1"} {
			for _, cursor := range append([]string{"", "0", "zzz"}, ids...) {
				var got, want []string
				for n := range x.list(cursor, part) {
					got = append(got, byOrdinal[n])
				}
				for _, id := range ids {
					if (cursor == "" || id > cursor) && strings.Contains(strings.ToLower(id), strings.ToLower(part)) {
						want = append(want, id)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%q behind %q of %v: %v, want %v", part, cursor, ids, got, want)
				}
			}
		}
	}
	check()
	for i := range 40 {
		add(fmt.Sprintf("M-%d", i*37%101))
	}
	check()
	before := slices.Collect(x.list("", ""))
	for i := range 20 {
		add(fmt.Sprintf("a%d.M%d", i*7%20, i))
	}
	check()
	if !slices.IsSortedFunc(before, func(a, b uint32) int { return strings.Compare(byOrdinal[a], byOrdinal[b]) }) || len(before) != 40 {
		t.Errorf("a list that was taken before changed: %d devices", len(before))
	}
	add("Z1")
	add("0")
	check()
}
