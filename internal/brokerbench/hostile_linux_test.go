package brokerbench

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// TestAttacks: each has a row, and one that there is not says which there are.
func TestAttacks(t *testing.T) {
	for _, name := range Attacks() {
		if !slices.Contains(Rows(), "hostile-"+name) {
			t.Errorf("attack %q has no row", name)
		}
	}
	if err := Attack(context.Background(), "kindness", ""); err == nil || !strings.Contains(err.Error(), "garbage") {
		t.Errorf("attack that there is not: %v", err)
	}
}
