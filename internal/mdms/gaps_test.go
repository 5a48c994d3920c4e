package mdms

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/clock"
)

// TestLastHoursAreFetchedFirst: of all meters, before the history of any of them.
func TestLastHoursAreFetchedFirst(t *testing.T) {
	t.Parallel()
	const slots, meters = 10 * 48, 4
	c := newCentre(t, clock.New(at(slots), 1))
	c.opts.Backfill.Total = 1
	c.halt()
	c.run()
	w := newWorld(c, meters, t0, slots, false)
	for _, id := range w.ids {
		w.register(w.meters[id])
	}
	c.flush()
	c.until("all collected", 120*time.Second, func() bool {
		tot, ok := c.totals()
		return ok && tot.Completeness.Expected == meters*slots && tot.Completeness.Missing == 0
	})
	w.check()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.from) < 2*meters {
		t.Fatalf("only %d requests", len(w.from))
	}
	for i, from := range w.from {
		if live := from >= t0+slots*1800-lastHours; live != (i < meters) {
			t.Fatalf("request %d is from %v on", i, unix(from))
		}
	}
	w.stop()
}

func TestGone(t *testing.T) {
	const now = 20 * dayLength
	s := &series{length: 30, from: now - 10*dayLength, complete: now - 8*dayLength, oldest: now - 7*dayLength + 5*3600 + 1,
		lost: []lostDay{{day: 11, missing: 7}}}
	r := newRow(s, 14, 30) // a day with two values, the first hour's
	r.cells[1].wh, r.cells[2].wh = 1, 2
	r.setFirst()
	s.insert(r)
	for _, x := range []struct {
		from, to uint32
		want     int64
	}{{0, now, 7 + 48 + 11}, {0, now - 8*dayLength, 7}, {now - 7*dayLength, now, 11}, {now - 7*dayLength + 4*3600, now, 3}, {now - 6*dayLength, now, 0}} {
		if got := s.gone(x.from, x.to); got != x.want {
			t.Errorf("from %d h to %d h before now: %d, want %d", (now-x.from)/3600, (now-x.to)/3600, got, x.want)
		}
	}
	for range maxRefused {
		r.refuse(5)
	}
	ages := map[int]int64{}
	s.byAge(0, now, now, func(i int, n int64) { ages[i] += n })
	if got := s.gone(now-6*dayLength, now); got != 1 {
		t.Errorf("said three times not to be there: %d, want 1", got)
	}
	if got := ages[5]; got != 7+48+11+1 {
		t.Errorf("%v by age, want %d lost for good", ages, 7+48+11+1)
	}
	s.oldest = now - 5*dayLength
	if got := s.gone(now-6*dayLength, now); got != 46 {
		t.Errorf("of a day with a row: %d, want 46", got)
	}
}
