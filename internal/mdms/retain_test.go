package mdms

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store"
)

// TestRetention removes more than one part at once of what is old, keeps what is not and what no retention was given for.
func TestRetention(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	c := newCentre(t, clock.New(at(0), 1))
	c.halt()
	registry := prometheus.NewRegistry()
	c.opts.Registerer = registry
	c.opts.Retention = Retention{Commands: 10 * day, Versions: 50 * day}
	c.run()
	now := uint32(at(0).Unix())
	var k store.Commit
	for i := range uint64(2*expireRows + 7) {
		k.Commands = append(k.Commands, store.Command{ID: i + 1, Created: now - 11*dayLength, Doc: []byte("{}")})
	}
	k.Commands = append(k.Commands, store.Command{ID: 1 << 40, Created: now - 9*dayLength, Doc: []byte("{}")})
	k.Outages = []store.Outage{{ID: 1, Start: 1, End: 2, Doc: []byte("{}")}}
	block := store.Block{Device: 7, Day: cim.DayOf(now) - 500, Length: 1440, Version: 1, Recorded: 5, Wh: []uint32{1}, Quality: []cim.Quality{cim.Raw}}
	second := block
	second.Version, second.Recorded = 2, now-51*dayLength
	k.Blocks = []store.Block{block, second}
	k.Totals = []store.DayTotal{{Day: block.Day, Received: 1}}
	if _, err := c.store.Commit(t.Context(), &k); err != nil {
		t.Fatal(err)
	}
	if err := c.mdms.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := c.store.Commands(t.Context(), store.CommandQuery{Limit: 9}); err != nil || len(left) != 1 || left[0].ID != 1<<40 {
		t.Errorf("commands %+v, %v", left, err)
	}
	if left, err := c.store.Outages(t.Context(), 0, 9, false); err != nil || len(left) != 1 {
		t.Errorf("outages %+v, %v", left, err)
	}
	blocks := 0
	if err := c.store.BlockInfos(t.Context(), store.InfoQuery{To: block.Day + 1}, func(b store.BlockInfo) error {
		blocks++
		return nil
	}); err != nil || blocks != 1 {
		t.Errorf("%d blocks, %v", blocks, err)
	}
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == "wattbus_expired_total" {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if got["commands"] != 2*expireRows+7 || got["versions"] != 1 || got["outages"]+got["intervals"] != 0 {
		t.Errorf("counted %v", got)
	}

	// What is kept by slot stays as long as the blocks do, and no longer.
	bySlot := func() bool {
		t.Helper()
		all, err := c.store.DaySlots(t.Context(), block.Day, block.Channel, store.Within{To: dayLength}, func([]byte, [][]byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if !bySlot() {
		t.Error("nothing is kept by slot of a day whose blocks are kept")
	}
	c.halt()
	c.opts.Registerer = prometheus.NewRegistry()
	c.opts.Retention.Intervals = 402 * day
	c.run()
	// What is to be removed is not kept any more, also before it is removed: while that goes on, some of it would look as if it were missing.
	c.until("what is kept is known", 120*time.Second, func() bool { return cim.Day(c.mdms.kept.Load()) == cim.DayOf(now)-402 })
	if err := c.mdms.expire(t.Context()); err != nil || bySlot() {
		t.Errorf("slots stay without the blocks, %v", err)
	}
}

// TestRemovedIsNotMissing asks for what was removed, long after there was a retention: it is told so, and not as if it had never come.
func TestRemovedIsNotMissing(t *testing.T) {
	t.Parallel()
	j := newJudged(t, 3, 1)
	j.readings(0, 3*48)
	j.settle()
	start := unix(j.start)
	refused := func(name string, err error, words ...string) {
		t.Helper()
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", name, err, w)
			}
		}
	}
	questions := func() map[string]error {
		errs := map[string]error{}
		_, errs["readings"] = request[api.Page[api.Reading]](j.centre, api.QueryReadings, api.ReadingQuery{ID: "M1", From: start})
		_, errs["export"] = request[api.ExportPage](j.centre, api.QueryExport, api.ExportQuery{From: start, To: start.AddDate(0, 0, 3)})
		_, errs["explain"] = request[api.Explanation](j.centre, api.QueryExplain, api.ExplainQuery{ID: "M1", At: start})
		_, errs["sums"] = request[api.Sums](j.centre, api.QuerySums, api.SumQuery{Day: start.Format(time.DateOnly)})
		_, errs["missing"] = request[api.Page[api.MissingMeter]](j.centre, api.QueryMissing, api.SumQuery{At: start})
		return errs
	}
	for name, err := range questions() {
		if err != nil {
			t.Errorf("%s of all that is kept: %v", name, err)
		}
	}
	if _, err := j.store.Expire(t.Context(), store.ExpireIntervals, j.start+dayLength, 100); err != nil {
		t.Fatal(err)
	}
	j.halt()
	j.run()
	j.settle()
	kept := unix(j.start + dayLength)
	for name, err := range questions() {
		refused(name, err, start.Format(time.DateOnly), "before "+kept.Format(time.RFC3339)+" are no longer kept", "--keep-intervals")
	}
	if got := j.ask(api.ReadingQuery{}); len(got) < 2*48 || !got[0].Start.Equal(kept) || got[0].Import == nil {
		t.Errorf("what is left: %d intervals, the first %+v", len(got), got[:min(1, len(got))])
	}

	j.halt()
	j.opts.Retention.Versions = giveUpDays * 24 * time.Hour
	j.run()
	j.settle()
	long := unix(j.opts.Clock.Unix() - (giveUpDays+1)*dayLength)
	_, err := request[api.ExportPage](j.centre, api.QueryExport, api.ExportQuery{From: kept, To: kept.AddDate(0, 0, 1), Known: long})
	refused("export as known long ago", err, long.Format(time.RFC3339), "superseded", "--keep-versions")
	_, err = request[api.ExportPage](j.centre, api.QueryExport, api.ExportQuery{From: kept, To: kept.AddDate(0, 0, 1), Before: long})
	refused("changes since long ago", err, long.Format(time.RFC3339), "superseded")
}

func TestRetentionIsNotTooShort(t *testing.T) {
	for name, r := range map[string]Retention{"versions": {Versions: time.Hour}, "intervals": {Intervals: 400 * 24 * time.Hour}, "commands": {Commands: time.Hour}, "outages": {Outages: -1}} {
		if err := r.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
