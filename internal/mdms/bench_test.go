package mdms

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store/sqlite"
	"github.com/wattbus/wattbus/internal/topic"
)

// bare is an MDMS whose loop the test itself turns.
func bare(t testing.TB, clk *clock.Clock) *MDMS {
	dir := t.TempDir()
	b, err := bus.Open(context.Background(), bus.Options{Dir: filepath.Join(dir, "bus")})
	if err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(context.Background(), sqlite.Options{Path: filepath.Join(dir, "wattbus.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close(); b.Close() })
	m, err := New(Options{Bus: b, Store: st, Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.restore(context.Background()); err != nil {
		t.Fatal(err)
	}
	return m
}

func batch(t testing.TB, seq uint64, fill func(add func(path, id, event string, payload []byte))) bus.Batch {
	var enc bus.Encoder
	now := time.Now().UnixMilli()
	fill(func(path, id, event string, payload []byte) {
		if err := enc.Append(&bus.Entry{Received: now, Path: path, Kind: topic.Meter, ID: id, Event: event, Payload: payload}); err != nil {
			t.Fatal(err)
		}
	})
	out, err := bus.DecodeBatch(enc.Take(nil))
	if err != nil {
		t.Fatal(err)
	}
	out.Stream, out.Sequence = "bench", seq
	return out
}

// advance lets a paused clock run to a time.
func advance(clk *clock.Clock, to uint32) {
	clk.Resume()
	for clk.Unix() < to {
	}
	clk.Pause()
}

// BenchmarkIngest takes over batches of 5,000 readings of 50,000 meters, four batches a commit, each commit synced.
func BenchmarkIngest(b *testing.B) {
	const meters, size, group = 50_000, 5_000, 4
	clk := clock.New(time.Unix(int64(t0), 0), 1e6)
	clk.Pause()
	m := bare(b, clk)
	ids := make([]string, meters)
	seq := uint64(1)
	reg := batch(b, seq, func(add func(string, string, string, []byte)) {
		for i := range ids {
			ids[i] = fmt.Sprintf("M%06d", i)
			l := record.Location{Header: record.Header{Time: t0}, Sequence: 1, Interval: 30, Capabilities: record.CapBreaker, Oldest: t0}
			add(fmt.Sprintf("C%d", i%50), ids[i], "location", l.Append(nil))
		}
	})
	turn := func(bs ...bus.Batch) {
		w := &work{batches: bs, done: make(chan error, 1)}
		if _, err := m.turn(b.Context(), []*work{w}); err != nil {
			b.Fatal(err)
		}
	}
	turn(reg)
	slot, next := uint32(0), 0
	make4 := func() (out []bus.Batch) {
		for range group {
			seq++
			out = append(out, batch(b, seq, func(add func(string, string, string, []byte)) {
				for range size {
					r := record.Reading{Header: record.Header{Time: t0 + slot*1800}, Import: uint64(next)*1000 + uint64(slot)*uint64(next%400)*10, Power: 500, Voltage: 2300, Sequence: uint16(slot)}
					add(fmt.Sprintf("C%d", next%50), ids[next], "reading", r.Append(nil))
					if next++; next == meters {
						next = 0
						slot++
					}
				}
			}))
		}
		return out
	}
	var used time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		bs := make4()
		advance(clk, t0+slot*1800+60)
		start := processor(b)
		b.StartTimer()
		turn(bs...)
		b.StopTimer()
		used += processor(b) - start
		b.StartTimer()
	}
	n := float64(b.N) * size * group
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/reading")
	b.ReportMetric(float64(used.Nanoseconds())/n, "cpu-ns/reading")
}
