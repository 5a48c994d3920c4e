package mdms

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestClockAhead has meters whose clocks are ahead by half a minute and by many hours: to them a day is over that is not for the centre,
// which ends right then. Such a day is whole but not sealed; its intervals were once left out of the books that were opened again, and
// their chunks deleted once the day of all other meters was sealed.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	const slots = 48
	for _, hours := range []int{0, 20} {
		t.Run(fmt.Sprintf("%d hours", hours), func(t *testing.T) {
			t.Parallel()
			day := cim.DayOf(t0) + 1
			clockAt := func(seconds int) *clock.Clock {
				clk := clock.New(unix((day + 1).Start()).Add(time.Duration(seconds)*time.Second), 1)
				clk.Pause()
				return clk
			}
			c := newCentre(t, clockAt(-30-hours*3600))
			c.halt()
			c.opts.Backfill.Off, c.pieces = true, 1
			c.run()
			ahead := &simMeter{id: "M1", truth: newTruth(rand.New(rand.NewPCG(7, 7)), day.Start(), 1800, slots+hours*2)}
			right := &simMeter{id: "M2", truth: ahead.truth}
			tell := func(m *simMeter, from, to int) {
				for s := from; s <= to; s++ {
					r := record.Reading{Header: record.Header{Time: m.start + uint32(s)*1800}, Import: m.reg[s], Voltage: 2300}
					c.send("C1", topic.Meter, m.id, "reading", r.Append(nil))
				}
				c.flush()
			}
			there := func(m *simMeter) (n int) {
				q := api.ReadingQuery{ID: m.id, From: unix(day.Start()), To: unix((day + 1).Start()), Paging: api.Paging{Limit: 1000}}
				p, _ := try[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, q) // it may not be known yet
				for _, r := range p.Items {
					if i := int(r.Start.Unix()-int64(m.start)) / 1800; r.Import != nil && *r.Import == int64(m.wh(i)) {
						n++
					}
				}
				return n
			}
			wants := func(when string, m *simMeter, want int) {
				t.Helper()
				c.until(fmt.Sprintf("%s: %d intervals of %s", when, want, m.id), 120*time.Second, func() bool { return there(m) == want })
			}
			again := func(seconds int) {
				c.halt()
				c.opts.Clock = clockAt(seconds)
				c.run()
				c.answers()
			}
			for _, m := range []*simMeter{ahead, right} {
				l := record.Location{Header: record.Header{Time: day.Start()}, Sequence: 1, Interval: 30, Oldest: day.Start()}
				c.send("C1", topic.Meter, m.id, "location", l.Append(nil))
			}
			tell(right, 0, slots-1-hours*2)
			tell(ahead, 0, slots)
			wants("before the day is over", ahead, slots)
			again(-20 - hours*3600)
			wants("opened again before that", ahead, slots)
			again(30)
			wants("opened again after that", ahead, slots)
			tell(right, slots-hours*2, slots)
			wants("once the day is sealed", right, slots)
			c.until("all is sealed", 120*time.Second, func() bool {
				z, err := c.store.Size(t.Context())
				return err == nil && z.BlockIntervals == 2*slots && z.ChunkIntervals <= 2 // the registers at midnight
			})
			again(60)
			wants("in the end", ahead, slots)
			if tot, ok := c.totals(); !ok || tot.Completeness.Missing != 0 {
				t.Fatalf("%+v", tot.Completeness)
			}
		})
	}
}
