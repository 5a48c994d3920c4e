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

// TestFirstRegistrationComesLate has meters of several lengths tell readings in any order, register anywhere among these, and the centre
// restart between. All that they told is there in their own intervals, as if they had registered first.
func TestFirstRegistrationComesLate(t *testing.T) {
	t.Parallel()
	lengths := []uint16{5, 10, 15, 20, 30, 60}
	const days = 2
	start := cim.DayOf(t0).Start()
	end := start + days*dayLength + 5*3600
	for seed := range uint64(2) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		c := newCentre(t, clock.New(unix(end+60), 1e-3))
		c.halt()
		c.opts.Backfill.Off = true
		c.run()
		agents, sends := map[string]*agent{}, []func(){}
		for _, length := range lengths {
			id, a := fmt.Sprintf("M%02d", length), newAgent(rnd, start, int(end-start)/60)
			agents[id] = a
			var mine []func()
			for at := start; at <= end; at += uint32(length) * 60 {
				r := record.Reading{Header: record.Header{Time: at}, Import: a.at(at), Voltage: 2300}
				mine = append(mine, func() { c.send("C1", topic.Meter, id, "reading", r.Append(nil)) })
			}
			if seed > 0 {
				rnd.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
			}
			l := record.Location{Header: record.Header{Time: end}, Sequence: 1, Interval: length, Oldest: start}
			at := rnd.IntN(len(mine))
			mine = append(mine[:at:at], append([]func(){func() { c.send("C1", topic.Meter, id, "location", l.Append(nil)) }}, mine[at:]...)...)
			sends = append(sends, mine...)
		}
		for i, send := range sends {
			send()
			if i%100 == 0 {
				c.flush()
			}
			if i%500 == 499 {
				c.flush()
				c.halt()
				c.run()
			}
		}
		c.flush()
		for _, when := range []string{"at once", "after a restart"} {
			c.until(fmt.Sprintf("seed %d, %s: all there", seed, when), 120*time.Second, func() bool {
				tot, ok := c.totals()
				return ok && tot.Meters == len(lengths) && tot.Completeness.Missing == 0 && tot.Completeness.Expected > 0
			})
			for _, length := range lengths {
				id := fmt.Sprintf("M%02d", length)
				at, q := start, api.ReadingQuery{ID: id, Paging: api.Paging{Limit: 1000}}
				for _, r := range ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, q).Items {
					to := at + uint32(length)*60
					if a := agents[id]; r.Start.Unix() != int64(at) || r.End.Unix() != int64(to) || r.Import == nil || *r.Import != int64(a.at(to)-a.at(at)) || r.Register == nil || *r.Register != a.at(to) {
						t.Fatalf("seed %d, %s, %s: %v to %v: %v Wh, register %v; want from %v", seed, when, id, r.Start, r.End, deref(r.Import), r.Register, unix(at))
					}
					at = to
				}
				if at != end {
					t.Fatalf("seed %d, %s, %s: it ends at %v", seed, when, id, unix(at))
				}
			}
			c.halt()
			c.run()
		}
	}
}
