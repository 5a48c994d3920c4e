package mdms

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// BenchmarkJudge judges days that are clean, as they come from the seal: "cpu-µs/day" is all of it, with the look at the newest
// verdict; "commit-µs/day" the transaction that keeps the verdicts. WATTBUS_METERS asks for more than 20,000 meters.
func BenchmarkJudge(b *testing.B) {
	meters := 20_000
	if n, err := strconv.Atoi(os.Getenv("WATTBUS_METERS")); err == nil {
		meters = n
	}
	ctx := context.Background()
	first := cim.DayOf(t0)
	m := bare(b, clock.New(unix((first+40).Start()), 1))
	for i := range meters {
		d := m.add(cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%d", i), Expected: first.Start(), Complete: first.Start()})
		d.imp.from = first.Start()
	}
	day := first
	blocks := make([]store.Block, meters)
	fresh := func() {
		for i := range blocks {
			k := emptyBlock(dayKey{day, uint32(i), cim.Import}, 30)
			for s := range k.Wh {
				k.Wh[s], k.Quality[s] = uint32(100+(i+s*37)%401), cim.Raw
			}
			k.Version, k.HasReg, k.Register = 1, true, 1e6
			blocks[i] = *k
		}
	}
	fresh()
	judgeAll := func() (out []judged) {
		tasks, keys := map[dayKey]*task{}, make([]dayKey, len(blocks))
		for i := range blocks {
			keys[i] = dayKey{day, uint32(i), cim.Import}
			tasks[keys[i]] = &task{block: &blocks[i]}
		}
		if err := m.lookTogether(ctx, keys, tasks); err != nil {
			b.Fatal(err)
		}
		for _, k := range keys {
			x, err := m.judgeDay(ctx, k, tasks[k], nil)
			if err != nil || x == nil || x.verdict.Doc != nil || len(x.findings) > 0 {
				b.Fatalf("%+v, %v", x, err)
			}
			out = append(out, *x)
		}
		return out
	}
	judgeAll() // the history of each is read once
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	var commit time.Duration
	var used, days float64
	for b.Loop() {
		b.StopTimer()
		day++
		fresh()
		b.StartTimer()
		before := cpu()
		out := judgeAll()
		used += float64(cpu()-before) / 1e3
		days += float64(meters)
		start := time.Now()
		for len(out) > 0 {
			n := min(judgeBatch, len(out))
			c := store.Commit{}
			for _, x := range out[:n] {
				c.Verdicts = append(c.Verdicts, x.verdict)
			}
			if _, err := m.o.Store.Commit(ctx, &c); err != nil {
				b.Fatal(err)
			}
			out = out[n:]
		}
		commit += time.Since(start)
	}
	b.ReportMetric(used/days, "cpu-µs/day")
	b.ReportMetric(float64(commit.Microseconds())/days, "commit-µs/day")
}
