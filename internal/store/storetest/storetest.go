package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// Opener opens the backend's store in a directory, making it if it is not there.
type Opener func(ctx context.Context, dir string) (store.Store, error)

// Run runs the whole suite.
func Run(t *testing.T, open Opener) {
	for _, tc := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"locations", locations}, {"devices", devices}, {"replay", replay}, {"chunks", chunks}, {"versions", versions},
		{"infos", infos}, {"totals", totals}, {"commands", commands}, {"outages", outages}, {"interruptions", interruptions}, {"maintenance", maintenance}, {"groups", groups}, {"registry", registry}, {"atomic", atomic},
		{"verdicts", verdicts}, {"unjudged", unjudged}, {"findings", findings}, {"edits", edits}, {"rule sets", ruleSets},
		{"readers", readers}, {"size", size}, {"expire", expire}, {"runs", runs}, {"outbox", outbox}, {"channels", channels}, {"tallies", tallies}, {"dropped", dropped}, {"audit", auditTrail}, {"allowances", allowances}, {"seals", seals}, {"firmware", firmware}, {"then", then}, {"sub-meters", subMeters}, {"kill", kill},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &bench{T: t, dir: t.TempDir(), open: open}
			b.reopen()
			tc.run(t, b)
			if err := b.Store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

type bench struct {
	*testing.T
	store.Store
	dir  string
	open Opener
}

func (b *bench) reopen() {
	b.Helper()
	if b.Store != nil {
		if err := b.Store.Close(); err != nil {
			b.Fatal(err)
		}
	}
	var err error
	if b.Store, err = b.open(b.Context(), b.dir); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) commit(c *store.Commit, want bool) {
	b.Helper()
	got, err := b.Commit(b.Context(), c)
	if err != nil || got != want {
		b.Fatalf("commit applied: %v, %v; want %v", got, err, want)
	}
}

// list collects what an iterator calls back with.
func list[T any](t *testing.T, iterate func(f func(T) error) error) []T {
	t.Helper()
	var out []T
	if err := iterate(func(v T) error { out = append(out, v); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %.2000s\nwant %.2000s", what, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
	}
}

func locations(t *testing.T, b *bench) {
	ctx := t.Context()
	if err := b.PutLocations(ctx, []store.Location{{Kind: "meter", ID: "M1", Parent: "C1", Sequence: 1, Seen: 5}, {Kind: "concentrator", ID: "C1", Seen: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := b.PutLocations(ctx, []store.Location{{Kind: "meter", ID: "M1", Parent: "C2", Sequence: 4_000_000_000, Seen: 7}}); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	same(t, "locations", list(t, func(f func(store.Location) error) error { return b.Locations(ctx, f) }), []store.Location{
		{Kind: "concentrator", ID: "C1", Seen: 1}, {Kind: "meter", ID: "M1", Parent: "C2", Sequence: 4_000_000_000, Seen: 7}})
}

func device(n uint32) cim.EndDevice {
	return cim.EndDevice{Ordinal: n, Kind: "meter", ID: fmt.Sprintf("M%d", n), Path: "C1/C7", Sequence: n, Firmware: 1 << 31, Interval: 30,
		Capabilities: 9, Flags: 5, Oldest: 100, Expected: 200, FirstSeen: 300, LastSeen: 400, Complete: 500,
		Link: cim.Fact[cim.Link]{State: cim.LinkUp, Since: 1}, Power: cim.Fact[cim.Supply]{State: cim.PowerLost, Since: 2},
		Breaker:   cim.Fact[cim.Breaker]{State: cim.BreakerReady, Since: 3},
		Registers: cim.Registers{Time: 9, Import: ^uint64(0), Export: 7, Power: -5, Voltage: 2300}, SleepFrom: 11, SleepEvery: 1<<32 - 1}
}

func (b *bench) devices() []cim.EndDevice {
	b.Helper()
	return list(b.T, func(f func(cim.EndDevice) error) error { return b.Devices(b.Context(), f) })
}

func devices(t *testing.T, b *bench) {
	b.commit(&store.Commit{Devices: []cim.EndDevice{device(2), device(1)}}, true)
	d := device(1)
	d.Path, d.Registers.Import, d.Recorded, d.Exporting, d.Feeding = "C2", 12, 1<<32-1, 13, 1<<32-2
	b.commit(&store.Commit{Devices: []cim.EndDevice{d}}, true)
	b.reopen()
	same(t, "devices", b.devices(), []cim.EndDevice{d, device(2)})
	stop := errors.New("stop")
	if err := b.Devices(t.Context(), func(cim.EndDevice) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("the callback's error became %v", err)
	}
}

func replay(t *testing.T, b *bench) {
	b.commit(&store.Commit{Stream: "S", Sequence: 5, Devices: []cim.EndDevice{device(1)}}, true)
	d := device(1)
	d.Path = "elsewhere"
	for _, seq := range []uint64{5, 4, 0} {
		b.commit(&store.Commit{Stream: "S", Sequence: seq, Devices: []cim.EndDevice{d}, Chunks: []store.Chunk{chunk(1, 1, 3)}}, false)
	}
	b.commit(&store.Commit{Stream: "T", Sequence: 1}, true)
	b.reopen()
	same(t, "devices", b.devices(), []cim.EndDevice{device(1)})
	same(t, "chunks", b.chunks(0, 9), []store.Chunk(nil))
	for stream, want := range map[string]uint64{"S": 5, "T": 1, "U": 0} {
		if got, err := b.Sequence(t.Context(), stream); err != nil || got != want {
			t.Fatalf("sequence of %s: %d, %v", stream, got, err)
		}
	}
}

func chunk(day cim.Day, first uint32, n int) store.Chunk {
	c := store.Chunk{Day: day, Recorded: day.Start() + 77}
	for i := range n {
		r := store.Row{Device: first + uint32(i), Length: 30, Quality: cim.Raw, Start: day.Start(), Wh: uint32(i)}
		if r.HasReg = i%3 != 0; r.HasReg {
			r.Register = uint64(i) * 1e6
		}
		c.Rows = append(c.Rows, r)
	}
	return c
}

func (b *bench) chunks(from, to cim.Day) []store.Chunk {
	b.Helper()
	return list(b.T, func(f func(store.Chunk) error) error {
		return b.Chunks(b.Context(), from, to, func(c *store.Chunk) error {
			k := *c
			k.Rows = append([]store.Row(nil), c.Rows...)
			return f(k)
		})
	})
}

func chunks(t *testing.T, b *bench) {
	b.commit(&store.Commit{Chunks: []store.Chunk{chunk(2, 9, 3), chunk(1, 1, 4)}}, true)
	b.commit(&store.Commit{Chunks: []store.Chunk{chunk(2, 20, 100)}}, true)
	b.reopen()
	same(t, "chunks", b.chunks(1, 3), []store.Chunk{chunk(2, 9, 3), chunk(1, 1, 4), chunk(2, 20, 100)})
	same(t, "chunks of day 1", b.chunks(1, 2), []store.Chunk{chunk(1, 1, 4)})
	b.commit(&store.Commit{DropDays: []cim.Day{2}, Chunks: []store.Chunk{chunk(2, 50, 2)}}, true)
	same(t, "chunks after the drop", b.chunks(0, 9), []store.Chunk{chunk(1, 1, 4), chunk(2, 50, 2)})
}

func block(device uint32, day cim.Day, version uint32, wh uint32) store.Block {
	b := store.Block{Device: device, Day: day, Length: 60, Version: version, Recorded: day.Start() + 86400 + version, Register: 1e9, HasReg: true}
	for i := range uint32(24) {
		b.Wh, b.Quality = append(b.Wh, wh+i), append(b.Quality, cim.Raw)
	}
	return b
}

func (b *bench) blocks(q store.BlockQuery) []store.Block {
	b.Helper()
	return list(b.T, func(f func(store.Block) error) error {
		return b.Blocks(b.Context(), q, func(k *store.Block) error {
			c := *k
			c.Wh, c.Quality = append([]uint32(nil), k.Wh...), append([]cim.Quality(nil), k.Quality...)
			return f(c)
		})
	})
}

func versions(t *testing.T, b *bench) {
	export := block(1, 3, 1, 900)
	export.Channel = cim.Export
	export.Wh[4], export.Quality[4] = cim.NoValue, cim.Joined
	export.Anchors = []store.Anchor{{At: 6, Register: 2e9}, {At: 24, Register: 5}}
	b.commit(&store.Commit{Blocks: []store.Block{block(1, 4, 1, 40), block(1, 2, 1, 20), block(2, 2, 1, 7), export}}, true)
	b.commit(&store.Commit{Blocks: []store.Block{block(1, 2, 2, 21)}}, true)
	b.commit(&store.Commit{Blocks: []store.Block{block(1, 2, 1, 99)}}, true) // exists: stays as it is
	b.reopen()
	same(t, "newest", b.blocks(store.BlockQuery{Device: 1, From: 0, To: 9}), []store.Block{block(1, 2, 2, 21), block(1, 4, 1, 40)})
	same(t, "as known then", b.blocks(store.BlockQuery{Device: 1, From: 2, To: 3, AsKnown: block(1, 2, 1, 0).Recorded}), []store.Block{block(1, 2, 1, 20)})
	same(t, "export", b.blocks(store.BlockQuery{Device: 1, Channel: cim.Export, From: 3, To: 4}), []store.Block{export})
	same(t, "nothing", b.blocks(store.BlockQuery{Device: 1, From: 3, To: 3}), []store.Block(nil))
}

func infos(t *testing.T, b *bench) {
	holed := block(1, 2, 1, 20)
	holed.Wh[3], holed.Quality[3], holed.Missing = cim.NoValue, cim.Missing, 1
	late := block(2, 3, 1, 20)
	late.Missing = 5
	b.commit(&store.Commit{Blocks: []store.Block{holed, late, block(3, 3, 1, 1)}}, true)
	b.commit(&store.Commit{Blocks: []store.Block{block(2, 3, 2, 20)}}, true)
	get := func(q store.InfoQuery) []store.BlockInfo {
		return list(t, func(f func(store.BlockInfo) error) error { return b.BlockInfos(t.Context(), q, f) })
	}
	same(t, "all", get(store.InfoQuery{From: 2, To: 4}), []store.BlockInfo{{Device: 1, Day: 2, Length: 60, Version: 1, Missing: 1},
		{Device: 2, Day: 3, Length: 60, Version: 2}, {Device: 3, Day: 3, Length: 60, Version: 1}})
	same(t, "incomplete", get(store.InfoQuery{To: 9, Incomplete: true}), []store.BlockInfo{{Device: 1, Day: 2, Length: 60, Version: 1, Missing: 1}})
}

func totals(t *testing.T, b *bench) {
	b.commit(&store.Commit{Totals: []store.DayTotal{{Day: 2, Received: 5, Arrivals: []store.Arrivals{{Deadline: "30m", InTime: 5}}}, {Day: 1, Recovered: 1}}}, true)
	arrivals := []store.Arrivals{{Deadline: "30m", InTime: 5, Late: 1}, {Deadline: "06:00@Europe/Zurich", InTime: 6}}
	b.commit(&store.Commit{Totals: []store.DayTotal{{Day: 2, Received: 6, Recovered: 1, Arrivals: arrivals}}}, true)
	b.reopen()
	same(t, "totals", list(t, func(f func(store.DayTotal) error) error { return b.DayTotals(t.Context(), f) }),
		[]store.DayTotal{{Day: 1, Recovered: 1}, {Day: 2, Received: 6, Recovered: 1, Arrivals: arrivals}})
}

func commands(t *testing.T, b *bench) {
	ctx := t.Context()
	all := []store.Command{{ID: 1<<63 - 2, Created: 3, Open: true, Own: true, Meter: "M1", Doc: []byte("{}")}, {ID: 20, Created: 2, Own: true, Doc: []byte("b")},
		{ID: 10, Created: 1, Open: true, Meter: "M1", Doc: []byte("a")}}
	b.commit(&store.Commit{Commands: []store.Command{all[2], {ID: 20, Open: true, Doc: []byte("x")}, all[0]}}, true)
	b.commit(&store.Commit{Commands: []store.Command{all[1]}}, true)
	b.reopen()
	for _, tc := range []struct {
		store.CommandQuery
		want []store.Command
	}{{store.CommandQuery{}, all}, {store.CommandQuery{Limit: 2}, all[:2]}, {store.CommandQuery{Before: 20}, all[2:]}, {store.CommandQuery{Open: true}, []store.Command{all[0], all[2]}},
		{store.CommandQuery{Before: 10}, nil}, {store.CommandQuery{Own: true}, all[:2]}, {store.CommandQuery{Asked: true}, all[2:]}, {store.CommandQuery{Own: true, Limit: 1}, all[:1]},
		{store.CommandQuery{Meter: "M1"}, []store.Command{all[0], all[2]}}, {store.CommandQuery{Meter: "M1", Asked: true}, all[2:]}, {store.CommandQuery{Meter: "M2"}, nil},
		{store.CommandQuery{Own: true, Open: true, Before: 1<<63 - 2}, nil}} {
		if tc.Limit == 0 {
			tc.Limit = 9
		}
		got, err := b.Commands(ctx, tc.CommandQuery)
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("%+v", tc.CommandQuery), got, tc.want)
	}
	got, err := b.Command(ctx, 20)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "command 20", got, all[1])
	if _, err := b.Command(ctx, 21); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("command 21: %v", err)
	}
}

func outages(t *testing.T, b *bench) {
	open, ended := store.Outage{ID: 1, Start: 5, Doc: []byte("o")}, store.Outage{ID: 2, Start: 6, End: 9, Doc: []byte("e")}
	b.commit(&store.Commit{Outages: []store.Outage{open, {ID: 2, Start: 6, Doc: []byte("x")}}}, true)
	b.commit(&store.Commit{Outages: []store.Outage{ended}}, true)
	for _, tc := range []struct {
		before uint64
		limit  int
		open   bool
		want   []store.Outage
	}{{0, 9, false, []store.Outage{ended, open}}, {0, 1, false, []store.Outage{ended}}, {2, 9, false, []store.Outage{open}}, {0, 9, true, []store.Outage{open}}} {
		got, err := b.Outages(t.Context(), tc.before, tc.limit, tc.open)
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("%+v", tc), got, tc.want)
	}
}

func groups(t *testing.T, b *bench) {
	ctx := t.Context()
	put := func(g uint32, ms ...store.GroupMember) {
		t.Helper()
		if _, err := b.Commit(ctx, &store.Commit{Groups: []store.Group{{Number: g, Members: ms}}}); err != nil {
			t.Fatal(err)
		}
	}
	put(12, store.GroupMember{Group: 12, Device: "M1"}, store.GroupMember{Group: 12, Device: "M2"})
	put(4_000_000_000, store.GroupMember{Group: 4_000_000_000, Device: "M1"})
	put(12, store.GroupMember{Group: 12, Device: "M3", Confirmed: 7})
	b.reopen()
	same(t, "groups", list(t, func(f func(store.GroupMember) error) error { return b.Groups(ctx, f) }), []store.GroupMember{
		{Group: 12, Device: "M3", Confirmed: 7}, {Group: 4_000_000_000, Device: "M1"}})
}

// atomic checks that a commit of which one part is refused changes nothing.
func atomic(t *testing.T, b *bench) {
	bad := block(1, 2, 1, 20)
	bad.Length = 7
	if applied, err := b.Commit(t.Context(), &store.Commit{Stream: "S", Sequence: 9, Devices: []cim.EndDevice{device(1)}, Blocks: []store.Block{bad}}); err == nil || applied {
		t.Fatalf("a block of 7 minutes: %v, %v", applied, err)
	}
	same(t, "devices", b.devices(), []cim.EndDevice(nil))
	if seq, err := b.Sequence(t.Context(), "S"); seq != 0 || err != nil {
		t.Fatal(seq, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Commit(ctx, &store.Commit{Devices: []cim.EndDevice{device(1)}}); err == nil {
		t.Fatal("a commit under an ended context was applied")
	}
	b.commit(&store.Commit{Stream: "S", Sequence: 9}, true)
}

// readers read while commits go on.
func readers(t *testing.T, b *bench) {
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			for range 20 {
				n := 0
				err := b.Blocks(t.Context(), store.BlockQuery{Device: 1, To: 99}, func(*store.Block) error { n++; return nil })
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for i := range cim.Day(50) {
		b.commit(&store.Commit{Blocks: []store.Block{block(1, i+1, 1, 1)}}, true)
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func size(t *testing.T, b *bench) {
	b.commit(&store.Commit{Chunks: []store.Chunk{chunk(1, 1, 10)}, Blocks: []store.Block{block(1, 1, 1, 0)}}, true)
	z, err := b.Size(t.Context())
	if err != nil || z.BlockIntervals != 24 || z.ChunkIntervals != 10 || z.BlockBytes == 0 || z.ChunkBytes == 0 || z.Bytes < z.BlockBytes {
		t.Fatalf("%+v, %v", z, err)
	}
}

func registry(t *testing.T, b *bench) {
	parts := func() []string {
		t.Helper()
		var out []string
		if err := b.Registry(t.Context(), func(p []byte) error { out = append(out, string(p)); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	same(t, "at first", parts(), []string(nil))
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("part %d\x00\xff", i))
	}
	var first [][]byte
	for _, p := range want {
		first = append(first, []byte(p))
	}
	b.commit(&store.Commit{Registry: first}, true)
	b.commit(&store.Commit{Registry: [][]byte{[]byte("b"), []byte("a")}}, true)
	b.commit(&store.Commit{Stream: "S", Sequence: 5, Registry: [][]byte{[]byte("c")}}, true)
	b.commit(&store.Commit{Stream: "S", Sequence: 5, Registry: [][]byte{[]byte("d")}}, false)
	b.reopen()
	same(t, "parts", parts(), append(want, "b", "a", "c"))
}
