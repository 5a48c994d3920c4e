package storetest

import (
	"fmt"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// then asks for what was known of days that were not sealed yet: drafts and first versions tell it, and moves where a device hung.
func then(t *testing.T, b *bench) {
	const day = cim.Day(1000)
	dated := func(version, recorded, wh uint32) store.Block {
		k := block(1, day, version, wh)
		c := store.Came{Value: make([]uint32, 25), Register: make([]uint32, 25)}
		for i := range c.Value {
			c.Value[i] = day.Start() + uint32(i)*3600 + 7
		}
		k.Recorded, k.Came = recorded, store.PackCame(&c, day.Start(), 3600)
		return k
	}
	end := day.Start() + 86400
	first, second := dated(0, day.Start()+20_000, 10), dated(0, day.Start()+50_000, 20)
	sealed, newer := dated(1, end+30, 30), block(1, day, 2, 40)
	newer.Recorded = end + 90
	undated := block(1, day+1, 1, 50)
	b.commit(&store.Commit{Drafts: []store.Block{second, first}}, true)
	b.commit(&store.Commit{Drafts: []store.Block{first}, Blocks: []store.Block{sealed, undated}}, true)
	b.commit(&store.Commit{Blocks: []store.Block{newer}}, true)
	b.reopen()
	after := func(k store.Block) store.Block { k.After = true; return k }
	for at, want := range map[uint32][]store.Block{
		first.Recorded - 1:  {after(first)},
		first.Recorded:      {after(second)},
		second.Recorded:     {after(sealed)},
		sealed.Recorded - 1: {after(sealed)},
		sealed.Recorded:     {sealed},
		newer.Recorded - 1:  {sealed},
		newer.Recorded:      {newer},
		undated.Recorded:    {newer, undated},
	} {
		same(t, "as known then", b.blocks(store.BlockQuery{Device: 1, From: day, To: day + 2, AsKnown: at}), want)
	}
	same(t, "newest", b.blocks(store.BlockQuery{Device: 1, From: day, To: day + 1}), []store.Block{newer})
	if n, err := b.Expire(t.Context(), store.ExpireVersions, second.Recorded, 9); err != nil || n != 1 {
		t.Fatalf("%d expired, %v", n, err)
	}
	same(t, "without its first draft", b.blocks(store.BlockQuery{Device: 1, From: day, To: day + 1, AsKnown: first.Recorded - 1}), []store.Block{after(second)})

	b.commit(&store.Commit{Moves: []store.Move{{Device: 1, Recorded: 10, Path: "C1"}, {Device: 2, Recorded: 10, Path: "C2"}, {Device: 1, Recorded: 20, Path: "C3"}}}, true)
	b.commit(&store.Commit{Moves: []store.Move{{Device: 1, Recorded: 20, Path: "C4"}}}, true) // again, within the same second
	b.reopen()
	paths := func(at uint32) map[uint32]string {
		out := map[uint32]string{}
		if err := b.Paths(t.Context(), at, func(d uint32, path string) error { out[d] = path; return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	same(t, "paths before all", paths(9), map[uint32]string{1: "", 2: ""})
	same(t, "paths between", paths(10), map[uint32]string{1: "C1"})
	same(t, "paths at the end", paths(20), map[uint32]string{})
	for _, c := range []struct {
		device, before uint32
		limit          int
		want           []store.Move
	}{
		{1, 0, 9, []store.Move{{Device: 1, Recorded: 20, Path: "C4"}, {Device: 1, Recorded: 10, Path: "C1"}}},
		{1, 0, 1, []store.Move{{Device: 1, Recorded: 20, Path: "C4"}}},
		{1, 20, 9, []store.Move{{Device: 1, Recorded: 10, Path: "C1"}}},
		{2, 10, 9, nil},
		{3, 0, 9, nil},
	} {
		got, err := b.Moves(t.Context(), c.device, c.before, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("moves of %d before %d", c.device, c.before), got, c.want)
	}
	if n, err := b.Expire(t.Context(), store.ExpireVersions, 21, 9); err != nil || n != 1 {
		t.Fatalf("%d moves expired, %v", n, err)
	}

	rewritten := chunk(day, 1, 3)
	rewritten.Rows[0].Recorded, rewritten.Rows[2].Recorded = day.Start()+9, 1<<32-1
	b.commit(&store.Commit{Chunks: []store.Chunk{rewritten, chunk(day, 9, 2)}}, true)
	b.reopen()
	same(t, "chunks", b.chunks(day, day+1), []store.Chunk{rewritten, chunk(day, 9, 2)})
}
