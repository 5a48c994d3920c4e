package storebench

import (
	"context"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// sums adds up a sealed day, and lists who lacks intervals of it.
func (b *bench) sums(ctx context.Context) error {
	for _, which := range []string{"the first time", "again"} {
		start := time.Now()
		sum, err := store.SumDay(ctx, b.Store, b.today.day, cim.Import)
		if err != nil {
			return err
		}
		b.add("sum by slot of a sealed day, "+which, time.Since(start).Seconds()*1e3, "ms")
		if sum.Blocks != int64(b.Meters) {
			return fmt.Errorf("%d blocks in the sum, want %d", sum.Blocks, b.Meters)
		}
	}
	start, n := time.Now(), 0
	if err := b.Store.BlockInfos(ctx, store.InfoQuery{From: b.today.day, To: b.today.day + 1, Incomplete: true}, func(store.BlockInfo) error { n++; return nil }); err != nil {
		return err
	}
	b.add(fmt.Sprintf("who lacks intervals of a sealed day (%d do)", n), time.Since(start).Seconds()*1e3, "ms")
	return nil
}
