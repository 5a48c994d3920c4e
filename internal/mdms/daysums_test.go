package mdms

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestDaySums: whatever is sealed, superseded, judged and asked for in any order, what is remembered of days is what the store holds.
func TestDaySums(t *testing.T) {
	if testing.Short() {
		t.Skip("has no goroutines, and takes its time")
	}
	t.Parallel()
	const n, slots = fewLacking + 100, 48 // so that some questions read all of a day, and others a few blocks
	rnd := rand.New(rand.NewPCG(11, 12))
	day := cim.DayOf(t0)
	m := bare(t, clock.New(time.Unix(int64((day+3).Start()), 0), 1))
	versions, verdicts := map[dayKey]uint32{}, map[dayKey]uint32{}
	add := func(i int) {
		e := cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%04d", i), Interval: 30, Expected: day.Start(), Complete: (day + 3).Start()}
		if i%17 == 0 {
			e.Expected += 7 * 3600 // on the first day not all is expected
		}
		d := m.add(e)
		d.place.feeder = m.grid.number(fmt.Sprintf("F%d", i%7))
		m.noteColumn(d)
	}
	for i := range n {
		add(i)
	}
	block := func(k dayKey) store.Block {
		versions[k]++
		b := store.Block{Device: k.device, Channel: k.channel, Day: k.day, Length: 30, Version: versions[k], Recorded: (k.day + 1).Start() + versions[k], Wh: make([]uint32, slots), Quality: make([]cim.Quality, slots)}
		for s := range b.Wh {
			if b.Wh[s], b.Quality[s] = rnd.Uint32N(900), cim.Raw; rnd.IntN(40) == 0 {
				b.Wh[s], b.Quality[s] = cim.NoValue, cim.Missing
				b.Missing++
			}
		}
		return b
	}
	verdict := func(k dayKey) store.Verdict {
		verdicts[k]++
		v := store.Verdict{Device: k.device, Channel: k.channel, Day: k.day, Length: 30, Version: verdicts[k], Recorded: (k.day + 1).Start() + 1000 + verdicts[k], Quality: cim.Estimated, Raw: versions[k], Rules: "r"}
		if rnd.IntN(4) > 0 {
			wh := rnd.Uint32N(5000)
			doc, err := json.Marshal(store.VerdictDoc{Cells: []store.Cell{{Slot: rnd.IntN(slots), Quality: cim.Edited, Wh: &wh}}})
			if err != nil {
				t.Fatal(err)
			}
			v.Doc = doc
		}
		return v
	}
	for round := range 60 {
		c := &store.Commit{}
		for range rnd.IntN(60) {
			k := dayKey{day + cim.Day(rnd.IntN(3)), uint32(rnd.IntN(len(m.devices)) / (1 + 40*rnd.IntN(2))), cim.Import}
			switch at := rnd.IntN(3); {
			case at > 0 && !slices.ContainsFunc(c.Blocks, func(b store.Block) bool { return b.Device == k.device && b.Day == k.day }):
				c.Blocks = append(c.Blocks, block(k))
			case at == 0 && !slices.ContainsFunc(c.Verdicts, func(v store.Verdict) bool { return v.Device == k.device && v.Day == k.day }):
				c.Verdicts = append(c.Verdicts, verdict(k))
			}
		}
		if err := m.tryCommit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if round%20 == 19 {
			add(len(m.devices))
		}
		q := api.SumQuery{Day: (day + cim.Day(rnd.IntN(3))).String(), By: "feeder", Raw: rnd.IntN(3) == 0}
		if rnd.IntN(3) == 0 {
			q.Feeder = "F3"
		}
		got, err := m.querySums(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		kept := m.sums.days
		m.sums.days, m.sums.held = nil, 0
		want, err := m.querySums(t.Context(), q)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("round %d, %+v: %v\n got %+v\nwant %+v", round, q, err, got, want)
		}
		m.sums.days = kept
		if round%9 == 8 {
			m.sums.forget()
		}
	}
}

// TestDaySumsBounded: what is remembered does not grow with the days that are asked for.
func TestDaySumsBounded(t *testing.T) {
	var s daySums
	for day := range cim.Day(40) {
		s.get(sumKey{day: day}, 1<<20)
		if held := len(s.days) << 20; s.held != held || held > maxDaySums {
			t.Fatalf("%d parts are held, %d counted, want at most %d", held, s.held, maxDaySums)
		}
		if s.days[sumKey{day: day}] == nil {
			t.Fatalf("the day %d that is asked for is not there", day)
		}
	}
}
