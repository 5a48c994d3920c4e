package mdms

import (
	"context"
	"encoding/json"
	"errors"
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
		if rnd.IntN(9) == 0 {
			b.Length, b.Wh, b.Quality = 15, make([]uint32, 2*slots), make([]cim.Quality, 2*slots)
		}
		for s := range b.Wh {
			if b.Wh[s], b.Quality[s] = rnd.Uint32N(900), cim.Raw; rnd.IntN(40) == 0 {
				b.Wh[s], b.Quality[s] = cim.NoValue, []cim.Quality{cim.Missing, cim.Joined}[rnd.IntN(2)]
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
		n := rnd.IntN(60)
		if round%12 == 5 {
			n = 400 // enough of a day to be turned round
		}
		for range n {
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
		m.sameOfBlocks(t, rnd, day)
		if round%9 == 8 {
			m.sums.forget()
		}
	}
}

// blocksOnly is a store that keeps nothing turned round.
type blocksOnly struct{ store.Store }

func (blocksOnly) DaySlots(context.Context, cim.Day, cim.Channel, store.Within, func([]byte, [][]byte) error) (bool, error) {
	return false, nil
}

// sameOfBlocks asks about a part of a sealed day, and compares the answers with those out of the blocks.
func (m *MDMS) sameOfBlocks(t *testing.T, rnd *rand.Rand, day cim.Day) {
	t.Helper()
	minutes := []int{15, 30, 60, 360, 720}[rnd.IntN(5)]
	q := api.SumQuery{At: unix((day + cim.Day(rnd.IntN(3))).Start() + rnd.Uint32N(86400)), Minutes: minutes, By: []string{"feeder", "path", ""}[rnd.IntN(3)], Raw: rnd.IntN(3) == 0}
	if rnd.IntN(3) == 0 {
		q.Feeder = "F3"
	}
	var got, want [3]any
	st := m.o.Store
	for _, of := range []struct {
		st  store.Store
		out *[3]any
	}{{st, &got}, {blocksOnly{st}, &want}} {
		m.o.Store, m.added = of.st, kept[addedKey, *addedUp]{}
		var errs [3]error
		of.out[0], errs[0] = m.querySums(t.Context(), q)
		of.out[1], errs[1] = m.queryMissing(t.Context(), q)
		of.out[2], errs[2] = m.queryTop(t.Context(), q)
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
	}
	m.o.Store = st
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v:\n got %+v\nwant %+v", q, got, want)
	}
	if all, err := st.DaySlots(t.Context(), cim.DayOf(uint32(q.At.Unix())), cim.Import, store.Within{To: 900}, func([]byte, [][]byte) error { return nil }); err != nil || !all {
		counted := 0
		if err := st.DayBlocks(t.Context(), store.DayQuery{Day: cim.DayOf(uint32(q.At.Unix())), To: 1 << 32}, func(*store.Block) error { counted++; return nil }); err != nil || counted > 0 {
			t.Fatalf("%d blocks are not turned round, %v", counted, err)
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
