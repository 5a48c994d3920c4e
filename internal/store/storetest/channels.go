package storetest

import (
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// channels keeps 16 channels of one device apart, in chunks and blocks of each length of intervals, and refuses a 17th.
func channels(t *testing.T, b *bench) {
	c := &store.Commit{}
	var rows []store.Row
	for _, length := range []uint16{1, 5, 15, 30, 60} {
		for ch := range cim.Channel(16) {
			k := store.Block{Device: 1, Channel: ch, Day: cim.Day(100 + length), Length: length, Version: 1, Recorded: 5, Register: uint64(ch) * 1e6, HasReg: true}
			for i := range uint32(1440) / uint32(length) {
				k.Wh, k.Quality = append(k.Wh, i*uint32(ch)), append(k.Quality, cim.Raw)
			}
			c.Blocks = append(c.Blocks, k)
			rows = append(rows, store.Row{Device: 1, Channel: ch, Length: length, Quality: cim.Raw, Start: cim.Day(200).Start(), Wh: uint32(ch)})
		}
	}
	c.Chunks = []store.Chunk{{Day: 200, Recorded: 7, Rows: rows}}
	b.commit(c, true)
	b.reopen()
	same(t, "chunk", b.chunks(0, 999)[0].Rows, rows)
	for i := range c.Blocks {
		k := &c.Blocks[i]
		same(t, "block", b.blocks(store.BlockQuery{Device: 1, Channel: k.Channel, From: k.Day, To: k.Day + 1}), c.Blocks[i:i+1])
	}
	infos := list(t, func(f func(store.BlockInfo) error) error {
		return b.BlockInfos(t.Context(), store.InfoQuery{To: 999}, f)
	})
	if len(infos) != len(c.Blocks) || !slices.IsSortedFunc(infos, func(x, y store.BlockInfo) int { return int(x.Day) - int(y.Day) }) {
		t.Fatalf("%d infos of %d blocks", len(infos), len(c.Blocks))
	}
	beyond := rows[0]
	beyond.Channel = 16
	if _, err := b.Commit(t.Context(), &store.Commit{Chunks: []store.Chunk{{Day: 200, Rows: []store.Row{beyond}}}}); err == nil {
		t.Fatal("channel 16 was kept")
	}
}
