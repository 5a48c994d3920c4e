package storetest

import (
	"context"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// sampleCommit holds some of everything that a commit brings.
func sampleCommit() *store.Commit {
	holed := block(1, 2, 2, 70)
	holed.Wh[4], holed.Quality[4], holed.Missing = cim.NoValue, cim.Missing, 1
	holed.Anchors = []store.Anchor{{At: 6, Register: 2e9}, {At: 24, Register: 5}}
	export := block(2, 2, 1, 900)
	export.Channel = cim.Export
	return &store.Commit{Stream: "S", Sequence: 4711, Devices: []cim.EndDevice{device(0), device(1), device(2)},
		Chunks: []store.Chunk{chunk(3, 0, 40), chunk(4, 0, 3)}, Blocks: []store.Block{block(1, 2, 1, 20), holed, export},
		Commands: []store.Command{{ID: 7, Created: 5, Open: true, Doc: []byte(`{"id":7}`)}, {ID: 8, Created: 6, Doc: []byte(`{"id":8}`)}},
		Outages:  []store.Outage{{ID: 9, Start: 5, End: 9, Doc: []byte(`{"id":9}`)}}, Totals: []store.DayTotal{{Day: 2, Received: 70, Recovered: 1}}}
}

var (
	sampleLocations = []store.Location{{Kind: "concentrator", ID: "C1", Seen: 1}, {Kind: "meter", ID: "M1", Parent: "C1", Sequence: 4_000_000_000, Seen: 7}}
	sampleMembers   = []store.GroupMember{{Group: 12, Device: "M1", Confirmed: 3}, {Group: 12, Device: "M2"}}
)

// PutSample writes some of everything that a store keeps into an empty one. What it wrote lies in the fixtures of earlier
// schema versions, so that it is not changed; what is new goes into a sample of its own.
func PutSample(ctx context.Context, s store.Store) error {
	if _, err := s.Commit(ctx, sampleCommit()); err != nil {
		return err
	}
	if err := s.PutLocations(ctx, sampleLocations); err != nil {
		return err
	}
	_, err := s.Commit(ctx, &store.Commit{Groups: []store.Group{{Number: 12, Members: sampleMembers}}})
	return err
}

// CheckSample fails the test if the store holds anything but the sample.
func CheckSample(t *testing.T, s store.Store) {
	t.Helper()
	ctx, b, c := t.Context(), &bench{T: t, Store: s}, sampleCommit()
	if n, err := s.Sequence(ctx, "S"); err != nil || n != c.Sequence {
		t.Fatalf("sequence %d, %v", n, err)
	}
	same(t, "devices", b.devices(), c.Devices)
	same(t, "chunks", b.chunks(0, 99), c.Chunks)
	same(t, "newest", b.blocks(store.BlockQuery{Device: 1, To: 99}), c.Blocks[1:2])
	same(t, "as known then", b.blocks(store.BlockQuery{Device: 1, To: 99, AsKnown: c.Blocks[0].Recorded}), c.Blocks[:1])
	same(t, "export", b.blocks(store.BlockQuery{Device: 2, Channel: cim.Export, To: 99}), c.Blocks[2:])
	same(t, "infos", list(t, func(f func(store.BlockInfo) error) error { return b.BlockInfos(ctx, store.InfoQuery{To: 99}, f) }), []store.BlockInfo{
		{Device: 1, Day: 2, Length: 60, Version: 2, Missing: 1}, {Device: 2, Channel: cim.Export, Day: 2, Length: 60, Version: 1}})
	commands, err := s.Commands(ctx, store.CommandQuery{Limit: 9})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(commands) // newest first
	same(t, "commands", commands, c.Commands)
	outages, err := s.Outages(ctx, 0, 9, false)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "outages", outages, c.Outages)
	same(t, "totals", list(t, func(f func(store.DayTotal) error) error { return s.DayTotals(ctx, f) }), c.Totals)
	same(t, "locations", list(t, func(f func(store.Location) error) error { return s.Locations(ctx, f) }), sampleLocations)
	same(t, "members", list(t, func(f func(store.GroupMember) error) error { return s.Groups(ctx, f) }), sampleMembers)
}
