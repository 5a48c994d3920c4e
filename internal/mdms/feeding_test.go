package mdms

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestFeedingAlone has a meter of another format that tells an export register alone, as one behind a plant does: what it fed in is
// accounted for as anything else, also after restarts, and when it tells what it takes, that begins apart.
func TestFeedingAlone(t *testing.T) {
	t.Parallel()
	const slots, gap = 3 * 48, 60
	c := newCentre(t, clock.New(at(slots), 1))
	c.answers()
	tell := func(from, to int, has cim.Values) {
		for i := from; i <= to; i++ {
			if i == gap || i == gap+1 { // so that two intervals and a third one lack
				continue
			}
			m := record.Measurement{Header: record.Header{Time: t0 + uint32(i)*1800}, Has: has, Interval: 30, Import: 900_000, Export: 5_000 + uint64(i)*70}
			c.send("C1", topic.Meter, "PV1", "x-plant", m.Append(nil))
		}
		c.flush()
	}
	holds := func(when string, expected, missing int64) {
		t.Helper()
		var k api.KeyCounts
		c.until(when, 120*time.Second, func() bool {
			by := ask[api.CompleteByQuery, api.CompleteBy](c, api.QueryCompleteBy, api.CompleteByQuery{By: "concentrator"})
			if len(by.Items) != 1 {
				return false
			}
			k = by.Items[0]
			return k.Expected == expected && k.Missing == missing
		})
	}
	tell(0, slots/2, cim.HasExport)
	holds("before the restart", slots, slots/2+3)
	again := func() {
		c.halt()
		c.run()
		c.answers()
	}
	again()
	holds("after it", slots, slots/2+3)
	tell(slots/2+1, slots, cim.HasExport)
	holds("at the end", slots, 3)
	again()
	holds("after another", slots, 3)

	q := api.ReadingQuery{ID: "PV1", Paging: api.Paging{Limit: 1000}}
	items := ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, q).Items
	if len(items) != slots-3 {
		t.Fatalf("%d readings, want %d", len(items), slots-3)
	}
	for _, r := range items {
		if r.Import != nil || r.Export == nil || *r.Export != 70 {
			t.Fatalf("%+v", r)
		}
	}

	// It begins to tell what it takes, too.
	c.halt()
	c.opts.Clock = clock.New(at(slots+4), 1)
	c.run()
	c.answers()
	tell(slots+1, slots+4, cim.HasExport|cim.HasImport)
	holds("with import", slots+4+3, 3)
	again()
	holds("with import, after a restart", slots+4+3, 3)
}
