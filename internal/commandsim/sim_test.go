package commandsim

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// TestSchedules runs 1,000 schedules, or as many as WATTBUS_SCHEDULES says (make schedules: a million), from WATTBUS_SEED on.
func TestSchedules(t *testing.T) {
	t.Parallel()
	number := func(name string, def uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return def
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	n, first := number("WATTBUS_SCHEDULES", 1_000), number("WATTBUS_SEED", 1)
	if testing.Short() {
		n = min(n, 200)
	}
	const workers = 2
	var next atomic.Uint64
	var counts [workers]Counts
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for {
				k := next.Add(1) - 1
				if k >= n || t.Failed() {
					return
				}
				c, err := Schedule(first + k)
				if counts[w].Add(c); err != nil {
					t.Errorf("seed %d (WATTBUS_SEED=%d WATTBUS_SCHEDULES=1): %v", first+k, first+k, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, c := range counts[1:] {
		counts[0].Add(c)
	}
	t.Logf("seeds %d to %d: %+v", first, first+n-1, counts[0])
	if c := counts[0]; !t.Failed() && n >= 500 && (c.Carried == 0 || c.Copies == 0 || c.CentreRestarts == 0 || c.MeterRestarts == 0 || c.Quarantines == 0 || c.Forged == 0 || c.Unopened == 0) {
		t.Errorf("the schedules are empty: %+v", c)
	}
}
