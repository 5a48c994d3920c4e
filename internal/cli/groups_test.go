package cli

import (
	"slices"
	"testing"
)

func TestMembersWithCommas(t *testing.T) {
	for _, args := range [][]string{{"M1", "M2", "M3"}, {"M1,M2,M3"}, {"M1,", "M2, M3"}, {"M1", "M2,M3,"}} {
		if got := splitIDs(args); !slices.Equal(got, []string{"M1", "M2", "M3"}) {
			t.Errorf("%q: members %q, want M1, M2 and M3", args, got)
		}
	}
}
