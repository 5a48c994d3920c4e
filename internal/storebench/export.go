package storebench

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/tariff"
)

// exported is about how many intervals are exported.
const exported = 1_000_000

// export reads single meters' months with their verdicts and writes them as CSV and as Parquet to nowhere.
func (b *bench) export(ctx context.Context) error {
	first := b.today.day - cim.Day(b.Days)
	meters := min(max(exported/(b.load.slots()*(b.Days+1)), 1), b.Meters/10)
	for _, format := range []export.Format{export.CSV, export.Parquet} {
		start, used := time.Now(), b.CPU()
		head := export.Head{Format: format, What: export.Intervals, From: int64(first.Start()), To: int64((b.today.day + 1).Start())}
		w, err := export.New(head, io.Discard)
		if err != nil {
			return err
		}
		for i := range meters {
			p, err := b.point(ctx, uint32(i*10), first)
			if err != nil {
				return err
			}
			p.Zone, p.From, p.To = tariff.UTC(), head.From, head.To
			if err := w.Point(p); err != nil {
				return err
			}
			b.Progress("export "+string(format), int64(i+1), int64(meters))
		}
		if err := w.Close(); err != nil {
			return err
		}
		n := float64(w.Rows())
		b.add(fmt.Sprintf("intervals of %d meters' %d days read and exported, %s", meters, b.Days+1, format), n/time.Since(start).Seconds(), "1/s")
		b.add("exported, "+string(format), (b.CPU()-used).Seconds()/n*1e6, "CPU s/million")
	}
	return nil
}

// point reads what a meter measured from a day on, with what was judged of it.
func (b *bench) point(ctx context.Context, device uint32, first cim.Day) (*export.Point, error) {
	q := store.BlockQuery{Device: device, From: first, To: b.today.day + 1}
	verdicts := map[cim.Day]*store.Verdict{}
	if err := b.Store.Verdicts(ctx, q, func(v *store.Verdict) error {
		k := *v
		verdicts[v.Day] = &k
		return nil
	}); err != nil {
		return nil, err
	}
	id := fmt.Sprintf("M%07d", device)
	m := billing.Metered{Meter: id, Factor: 1000, From: int64(first.Start()), To: int64((b.today.day + 1).Start())}
	err := b.Store.Blocks(ctx, q, func(k *store.Block) error {
		known := store.Known{Wh: k.Wh, Quality: k.Quality}
		if v := verdicts[k.Day]; v != nil {
			var err error
			if known, err = store.Merge(k.Wh, k.Quality, k.Version, v); err != nil {
				return err
			}
		}
		for i, wh := range known.Wh {
			if wh != cim.NoValue {
				at := int64(k.Day.Start()) + int64(i)*int64(k.Length)*60
				m.Intervals = append(m.Intervals, billing.Interval{Start: at, End: at + int64(k.Length)*60, Wh: int64(wh), Quality: known.Quality[i]})
			}
		}
		return nil
	})
	return &export.Point{ID: "UP" + id, Channels: []export.Channel{{Supply: billing.Supply{Meters: []billing.Metered{m}}}}}, err
}
