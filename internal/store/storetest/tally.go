package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// tallies compares what a store adds up in its commits with what its blocks add up to: lengths mixed, versions superseded,
// values missing and joined, commits that repeat what is there.
func tallies(t *testing.T, b *bench) {
	rnd := rand.New(rand.NewPCG(9, 9))
	versions := map[[2]uint32]uint32{}
	for round := range 40 {
		c := &store.Commit{}
		n := 1 + rnd.Uint32N(20)
		if round%9 == 5 { // many devices
			n = 200
		}
		for i := range n {
			dev, day := rnd.Uint32N(30), cim.Day(100+rnd.Uint32N(2))
			if n == 200 {
				dev = i % 150
			}
			key := [2]uint32{dev, uint32(day)}
			versions[key]++
			k := store.Block{Device: dev, Day: day, Length: []uint16{60, 30, 15}[rnd.IntN(3)], Version: versions[key], Recorded: 5, Missing: 3}
			for range 1440 / int(k.Length) {
				switch rnd.IntN(8) {
				case 0:
					k.Wh, k.Quality = append(k.Wh, cim.NoValue), append(k.Quality, cim.Missing)
				case 1:
					k.Wh, k.Quality = append(k.Wh, cim.NoValue), append(k.Quality, cim.Joined)
				default:
					k.Wh, k.Quality = append(k.Wh, rnd.Uint32()/2), append(k.Quality, cim.Raw)
				}
			}
			c.Blocks = append(c.Blocks, k)
		}
		b.commit(c, true)
	}
	b.reopen()
	for _, day := range []cim.Day{99, 100, 101} {
		kept, err := b.DayTally(t.Context(), day, cim.Import)
		if err != nil || kept == nil {
			t.Fatalf("%v: %+v, %v", day, kept, err)
		}
		read, err := store.ReadTally(t.Context(), b, day, cim.Import)
		if err != nil {
			t.Fatal(err)
		}
		same(t, day.String(), kept.Sum(), read.Sum())
		if s := kept.Sum(); day > 99 && (s.Blocks == 0 || s.Length != 15) {
			t.Fatalf("%+v", s)
		}
	}
	for _, day := range []cim.Day{99, 100, 101} {
		if !slotsHold(t, b, day) && day > 99 {
			t.Fatalf("%v: not all slots are kept", day)
		}
	}
	for _, day := range []cim.Day{99, 100, 101} {
		if !partsHold(t, b, day) {
			t.Fatalf("%v: not all parts are kept", day)
		}
	}
	// The same version once more changes nothing, whatever comes with it; a day whose tally is given up is read.
	b.commit(&store.Commit{Blocks: []store.Block{block(1, 100, 1, 7), block(7777, 100, 1, 7)}}, true)
	came := 0
	if err := b.Blocks(t.Context(), store.BlockQuery{Device: 7777, From: 100, To: 101}, func(*store.Block) error { came++; return nil }); err != nil || came != 1 {
		t.Fatalf("%d blocks came with a repetition, want 1; %v", came, err)
	}
	read, err := store.ReadTally(t.Context(), b, 100, cim.Import)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := store.SumDay(t.Context(), b, 100, cim.Import)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "after a repetition", sum, read.Sum())
	partsHold(t, b, 100)
	if slotsHold(t, b, 100) {
		t.Fatal("all slots are said to be kept, after a repetition")
	}
	// Slots go after some time, a part of a day is none, and more of such a day is not kept.
	for n := 1; n > 0; {
		if n, err = b.Expire(t.Context(), store.ExpireSlots, cim.Day(102).Start(), 7); err != nil || n > 7 {
			t.Fatalf("%d removed, %v", n, err)
		}
		slotsHold(t, b, 101)
	}
	if slotsHold(t, b, 101) {
		t.Fatal("all slots are said to be kept, and they were removed")
	}
	k := block(9999, 101, 1, 7)
	k.Recorded, k.Missing = 5, 3
	b.commit(&store.Commit{Blocks: []store.Block{k}}, true)
	if n, err := b.Expire(t.Context(), store.ExpireSlots, cim.Day(102).Start(), 7); err != nil || n > 0 {
		t.Fatalf("%d slots were kept of a day whose slots had gone, %v", n, err)
	}
}

// partsHold compares what a store keeps of a day by device with what its blocks add up to, if all is kept.
func partsHold(t *testing.T, b *bench, day cim.Day) (all bool) {
	t.Helper()
	kept, read := map[uint32]store.Part{}, map[uint32]store.Part{}
	all, err := b.DayParts(t.Context(), day, cim.Import, func(device uint32, p store.Part) error { kept[device] = p; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DayBlocks(t.Context(), store.DayQuery{Day: day, To: 1 << 32}, func(k *store.Block) error { read[k.Device] = store.PartOf(k); return nil }); err != nil {
		t.Fatal(err)
	}
	if all {
		same(t, day.String()+" by device", kept, read)
	}
	return all
}

// slotsHold compares blocks of which only a part of the day is read, from each of them and from where all are turned round, with the same
// part of the whole ones. It reports whether all are turned round.
func slotsHold(t *testing.T, b *bench, day cim.Day) (all bool) {
	t.Helper()
	for _, w := range []store.Within{{}, {From: 0, To: 1800}, {From: 39_600, To: 43_200}, {From: 43_200, To: 44_100}, {From: 85_500, To: 86_400}} {
		want := map[uint32][]uint32{}
		cut := func(k *store.Block) []uint32 {
			step := uint32(k.Length) * 60
			from, to := w.From/step, w.To/step
			if w == (store.Within{}) {
				to = uint32(len(k.Wh))
			}
			out := []uint32{k.Version}
			for i := from; i < to; i++ {
				out = append(out, k.Wh[i], uint32(k.Quality[i]))
			}
			return out
		}
		q := store.DayQuery{Day: day, From: 3, To: 25}
		if err := b.DayBlocks(t.Context(), q, func(k *store.Block) error {
			if want[k.Device] = cut(k); k.Recorded != 5 || k.Missing != 3 {
				t.Fatalf("%+v", k)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		got := map[uint32][]uint32{}
		q.Within = w
		if err := b.DayBlocks(t.Context(), q, func(k *store.Block) error { got[k.Device] = cut(k); return nil }); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("%v within %+v", day, w), got, want)
		if w == (store.Within{}) {
			w.To = 86400
		}
		turned := map[uint32][]uint32{}
		var err error
		all, err = b.DaySlots(t.Context(), day, cim.Import, w, func(head []byte, spans [][]byte) error {
			h, err := store.UnpackSlotHead(head)
			if err != nil {
				return err
			}
			take := make([]bool, h.Devices)
			h.Each(func(i int, device uint32) { take[i] = turned[device] == nil && device >= 3 && device < 25 })
			for i, device := range h.Named {
				if take[i] {
					if err := b.Blocks(t.Context(), store.BlockQuery{Device: device, From: day, To: day + 1}, func(k *store.Block) error { turned[device] = cut(k); return nil }); err != nil {
						return err
					}
				}
			}
			k := store.Block{Day: day}
			return h.Blocks(w, spans, &k, take, func(k *store.Block) error { turned[k.Device] = cut(k); return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		if all {
			same(t, fmt.Sprintf("%v turned round within %+v", day, w), turned, want)
		}
	}
	return all
}
