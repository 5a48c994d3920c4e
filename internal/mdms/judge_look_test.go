package mdms

import (
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
)

// TestVerdictsAreReadTogetherOnlyWhereThatIsLess has days come from the seal a hundred at a time, while the day has more and more verdicts:
// each time all of them would be read.
func TestVerdictsAreReadTogetherOnlyWhereThatIsLess(t *testing.T) {
	t.Parallel()
	day := cim.DayOf(t0)
	m := bare(t, clock.New(unix((day+1).Start()), 1))
	for _, c := range []struct {
		there, days int
		together    bool
	}{{0, 100, true}, {0, judgeTogether - 1, false}, {800, 100, true}, {1000, 100, false}, {1_000_000, 200_000, true}} {
		m.judge.told[day] = c.there
		keys, tasks := make([]dayKey, c.days), map[dayKey]*task{}
		for i := range keys {
			keys[i] = dayKey{day, uint32(i), cim.Import}
			tasks[keys[i]] = &task{}
		}
		if err := m.lookTogether(t.Context(), keys, tasks); err != nil {
			t.Fatal(err)
		}
		if got := tasks[keys[0]].looked; got != c.together {
			t.Errorf("%d days, %d verdicts: together %v, want %v", c.days, c.there, got, c.together)
		}
	}
}
