package mdms

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestCompletenessOfSpans compares the counts of spans that begin and end anywhere, in sealed and in open days, with the
// intervals that the readings of the same span show.
func TestCompletenessOfSpans(t *testing.T) {
	t.Parallel()
	const slots = 6*48 + 17
	c := newCentre(t, clock.New(at(slots), 1))
	c.opts.Backfill.Off = true
	c.halt()
	c.run()
	w := newWorld(c, 6, t0, slots, false)
	for n, id := range w.ids {
		m := w.meters[id]
		w.register(m)
		for s := range slots + 1 {
			if n < 3 || s == 0 || w.rnd.IntN(20) > 0 { // half of the meters lack some
				c.send(m.path, topic.Meter, id, "reading", w.reading(m, s))
			}
		}
	}
	c.flush()
	all := func() api.Completeness {
		return ask[api.Span, api.Completeness](c, api.QueryCompleteness, api.Span{})
	}
	c.until("up", 120*time.Second, func() bool { _, ok := c.totals(); return ok })
	c.until("all entered", 120*time.Second, func() bool { return all().Expected == 6*slots && all().Received > 5*slots })
	c.until("days sealed", 120*time.Second, func() bool {
		z, err := c.store.Size(t.Context())
		return err == nil && z.BlockIntervals > 0
	})
	for range 60 {
		a, b := w.rnd.IntN(slots), w.rnd.IntN(slots)
		from, to := unix(t0+uint32(min(a, b))*1800), unix(t0+uint32(max(a, b)+1)*1800)
		var want dayCount
		meters := map[string]int64{}
		for _, id := range w.ids {
			p := ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, api.ReadingQuery{ID: id, From: from, To: to, Paging: api.Paging{Limit: 1000}})
			for _, r := range p.Items {
				if r.Import != nil {
					want.received++
				} else {
					want.missing++
					meters[id]++
				}
			}
		}
		got := ask[api.Span, api.Completeness](c, api.QueryCompleteness, api.Span{From: from, To: to})
		if got.Received != want.received || got.Missing != want.missing || got.Recovered != 0 || !got.From.Equal(from) || !got.To.Equal(to) {
			t.Fatalf("%v to %v: %+v, want %+v", from, to, got, want)
		}
		var days int64
		for _, d := range got.Days {
			days += d.Expected
		}
		if days != got.Expected || len(got.Meters) != len(meters) {
			t.Fatalf("%v to %v: %d expected by day of %d; meters %+v, want %v", from, to, days, got.Expected, got.Meters, meters)
		}
		for _, m := range got.Meters {
			if m.Missing != meters[m.ID] || m.Expected != int64(to.Sub(from)/(30*time.Minute)) {
				t.Fatalf("%v to %v: %+v, want %d missing", from, to, m, meters[m.ID])
			}
		}
	}
	w.stop()
}
