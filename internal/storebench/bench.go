package storebench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/store"
)

// Options say how much is measured.
type Options struct {
	Store      store.Store // empty
	Meters     int
	Length     uint16 // minutes of an interval
	Days       int    // sealed days before the measured one, of a tenth of the meters
	CommitRows int    // readings in a commit
	SealRows   int    // blocks in a commit
	CPU        func() time.Duration
	Progress   func(part string, done, total int64)
}

// Row is one figure.
type Row struct {
	What  string
	Value float64
	Unit  string
}

type bench struct {
	Options
	load    *load
	today   *curves
	next    *curves // of the day after
	beside  int     // commits of it so far
	quality []cim.Quality
	seq     uint64
	rows    []Row
}

// Run measures. The order is that of a centre's day: intervals come in, the day is over, sealed and validated while the next one's come
// in, and then it is looked at.
func Run(ctx context.Context, o Options) ([]Row, error) {
	set, err := dataset.Load()
	if err != nil {
		return nil, err
	}
	b := &bench{Options: o, load: newLoad(set, o.Length)}
	b.quality = slices.Repeat([]cim.Quality{cim.Raw}, b.load.slots())
	for _, part := range []func(context.Context) error{b.past, b.ingest, b.seal, b.validate, b.query, b.sums, b.export} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return b.rows, nil
}

func (b *bench) add(what string, value float64, unit string) {
	b.rows = append(b.rows, Row{what, value, unit})
}

func (b *bench) commit(ctx context.Context, c *store.Commit) error {
	b.seq++
	c.Stream, c.Sequence = "bench", b.seq
	_, err := b.Store.Commit(ctx, c)
	return err
}

// past makes the sealed days before.
func (b *bench) past(ctx context.Context) error {
	for d := range b.Days {
		c := b.load.day(b.load.first - cim.Day(b.Days-d))
		for at := 0; at < b.Meters; at += 10 * b.SealRows {
			if err := b.commit(ctx, &store.Commit{Blocks: b.load.blocks(c, b.quality, at, min(at+10*b.SealRows, b.Meters), 10)}); err != nil {
				return err
			}
		}
		b.Progress("past days", int64(d+1), int64(b.Days))
	}
	return nil
}

// ingest commits a day of all meters, slot by slot.
func (b *bench) ingest(ctx context.Context) error {
	b.today = b.load.day(b.load.first)
	n := int64(0)
	total := int64(b.Meters) * int64(b.load.slots())
	var took, cpu time.Duration
	for s := range b.load.slots() {
		for at := 0; at < b.Meters; at += b.CommitRows {
			k := b.load.chunk(b.today, s, at, min(at+b.CommitRows, b.Meters))
			start, used := time.Now(), b.CPU()
			if err := b.commit(ctx, &store.Commit{Chunks: []store.Chunk{k}}); err != nil {
				return err
			}
			took, cpu = took+time.Since(start), cpu+b.CPU()-used
			n += int64(len(k.Rows))
		}
		b.Progress("intervals", n, total)
	}
	b.add(fmt.Sprintf("intervals committed, %d in a commit", b.CommitRows), float64(n)/took.Seconds(), "1/s")
	b.add("intervals committed", cpu.Seconds()/float64(n)*1e6, "CPU s/million")
	b.add("committed and sealed: intervals", float64(n), "") // the rate follows in seal
	b.rows[len(b.rows)-1].Value = took.Seconds()
	return nil
}

// seal seals the day while the next one's intervals come in.
func (b *bench) seal(ctx context.Context) error {
	start, used := time.Now(), b.CPU()
	came, waits, err := b.meanwhile(ctx, func() error {
		for at := 0; at < b.Meters; at += b.SealRows {
			to := min(at+b.SealRows, b.Meters)
			c := &store.Commit{Blocks: b.load.blocks(b.today, b.quality, at, to, 1)}
			if to == b.Meters {
				c.DropDays = []cim.Day{b.today.day}
			}
			if err := b.commit(ctx, c); err != nil {
				return err
			}
			b.Progress("seal", int64(to), int64(b.Meters))
		}
		return nil
	})
	if err != nil {
		return err
	}
	took, cpu := time.Since(start), b.CPU()-used
	n := float64(b.Meters * b.load.slots())
	last := &b.rows[len(b.rows)-1]
	*last = Row{"intervals committed and sealed", n / (last.Value + took.Seconds()), "1/s"}
	b.add(fmt.Sprintf("a day of %d meters sealed, while %.0f intervals/s come in", b.Meters, float64(came)/took.Seconds()), took.Seconds(), "s")
	b.add("sealed, with what came in meanwhile", cpu.Seconds()/(n+float64(came))*1e6, "CPU s/million")
	b.add("a commit of readings meanwhile, median", quantile(waits, 50), "ms")
	b.add("a commit of readings meanwhile, the longest", quantile(waits, 100), "ms")
	z, err := b.Store.Size(ctx)
	if err != nil {
		return err
	}
	b.add("sealed interval", float64(z.BlockBytes)/float64(z.BlockIntervals), "bytes")
	b.add("sealed interval, once more by slot", float64(z.SlotBytes)/float64(z.BlockIntervals), "bytes")
	b.add("sealed interval, both", float64(z.BlockBytes+z.SlotBytes)/float64(z.BlockIntervals), "bytes")
	return b.arrivals()
}

// besideRows is how many readings a commit of meanwhile brings.
const besideRows = 20_000

// meanwhile does f while the next day's intervals come in, 200,000 a second as from 360 million meters' half hours, and returns how many
// came and how long each of their commits took: the store puts these and f's in turn.
func (b *bench) meanwhile(ctx context.Context, f func() error) (came int64, waits []time.Duration, err error) {
	if b.next == nil {
		b.next = b.load.day(b.load.first + 1)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ; ; b.beside++ {
			select {
			case <-stop:
				done <- nil
				return
			case <-ctx.Done():
				done <- ctx.Err()
				return
			case <-tick.C:
			}
			at := b.beside * besideRows % b.Meters
			k := b.load.chunk(b.next, b.beside*besideRows/b.Meters%b.load.slots(), at, min(at+besideRows, b.Meters))
			start := time.Now()
			if _, err := b.Store.Commit(ctx, &store.Commit{Chunks: []store.Chunk{k}}); err != nil {
				done <- err
				return
			}
			waits = append(waits, time.Since(start))
			came += int64(len(k.Rows))
		}
	}()
	err = f()
	close(stop)
	err = errors.Join(err, <-done)
	return came, waits, err
}

// quantile sorts, and returns milliseconds; 0 for none.
func quantile(times []time.Duration, percent int) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(len(times)*percent/100, len(times)-1)].Seconds() * 1e3
}

// query reads single meters' days and months, as they come.
func (b *bench) query(ctx context.Context) error {
	for _, q := range []struct {
		what string
		days cim.Day
	}{{"one meter's day", 1}, {"one meter's month", 30}} {
		var times []time.Duration
		for range 400 {
			m := uint32(rand.IntN(b.Meters)) / 10 * 10
			start, n := time.Now(), 0
			err := b.Store.Blocks(ctx, store.BlockQuery{Device: m, From: b.today.day + 1 - q.days, To: b.today.day + 1}, func(k *store.Block) error {
				n += len(k.Wh)
				return nil
			})
			if err != nil {
				return err
			}
			if want := min(int(q.days), b.Days+1) * b.load.slots(); n != want {
				return fmt.Errorf("meter %d: %d intervals read, want %d", m, n, want)
			}
			times = append(times, time.Since(start))
		}
		b.add(q.what+", median", quantile(times, 50), "ms")
		b.add(q.what+", 99 of 100", quantile(times, 99), "ms")
	}
	return nil
}
