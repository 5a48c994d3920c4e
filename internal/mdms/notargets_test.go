package mdms

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// outCounter counts the messages for other systems in commits.
type outCounter struct {
	store.Store
	out, done atomic.Int64
}

func (s *outCounter) Commit(ctx context.Context, c *store.Commit) (bool, error) {
	s.out.Add(int64(len(c.Out)))
	if c.OutDone != 0 {
		s.done.Add(1)
	}
	return s.Store.Commit(ctx, c)
}

// TestNoTargets: while nobody wants readings, none becomes an event, and nothing for other systems is kept.
func TestNoTargets(t *testing.T) {
	t.Parallel()
	clk := clock.New(at(3), 1)
	m := bare(t, clk)
	s := &outCounter{Store: m.o.Store}
	m.o.Store = s
	for seq := range uint64(3) {
		b := batch(t, seq+1, func(add func(path, id, event string, payload []byte)) {
			for i := range 1000 {
				r := record.Reading{Header: record.Header{Time: t0 + uint32(seq)*1800}, Import: uint64(i) + seq*100}
				add("C1", fmt.Sprintf("M%d", i), "reading", r.Append(nil))
				p, err := record.Submeter{Header: record.Header{Time: t0 + uint32(seq)*1800}, Channel: 1, Unit: 3, Value: seq}.Append(nil)
				if err != nil {
					t.Fatal(err)
				}
				add("C1", fmt.Sprintf("M%d", i), "submeter", p)
			}
		})
		if _, err := m.turn(t.Context(), []*work{{batches: []bus.Batch{b}, done: make(chan error, 1)}}); err != nil {
			t.Fatal(err)
		}
		if n := len(m.outbox.waiting) + len(m.outbox.ready); n != 0 {
			t.Errorf("%d events wait", n)
		}
	}
	if s.out.Load() != 0 || s.done.Load() != 0 {
		t.Errorf("%d messages for other systems", s.out.Load())
	}
}

// BenchmarkNoTargets is all that is done for targets in a turn, however many readings it has, while none is declared.
func BenchmarkNoTargets(b *testing.B) {
	m := bare(b, clock.New(time.Unix(int64(t0), 0), 1))
	c := &store.Commit{}
	b.ReportAllocs()
	for b.Loop() {
		m.outbox.wanted = m.o.Bus.Wanted()
		if m.outbox.readings() {
			b.Fatal("somebody listens")
		}
		m.tellStates()
		m.outbox.settle()
		m.pack(c)
		m.handOver(b.Context(), c.Out)
	}
}

// discard is a store that keeps nothing of what is committed.
type discard struct{ store.Store }

func (discard) Commit(context.Context, *store.Commit) (bool, error) { return true, nil }

// BenchmarkTurn is the MDMS's own part of a reading's way, without the store's: one reading a turn, and 5,000 of 50,000 meters.
func BenchmarkTurn(b *testing.B) {
	for _, size := range []int{1, 5_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const meters = 50_000
			clk := clock.New(time.Unix(int64(t0), 0), 1e6)
			clk.Pause()
			m := bare(b, clk)
			m.o.Store = discard{m.o.Store}
			seq := uint64(0)
			fill := func(n int, f func(add func(string, string, string, []byte), i int)) []*work {
				var ws []*work
				for at := 0; at < meters && len(ws) < n; at += size {
					seq++
					ws = append(ws, &work{done: make(chan error, 1), batches: []bus.Batch{batch(b, seq, func(add func(string, string, string, []byte)) {
						for i := at; i < min(at+size, meters); i++ {
							f(add, i)
						}
					})}})
				}
				return ws
			}
			turn := func(ws []*work) {
				for i := range ws {
					if _, err := m.turn(b.Context(), ws[i:i+1]); err != nil {
						b.Fatal(err)
					}
				}
			}
			turn(fill(meters, func(add func(string, string, string, []byte), i int) {
				l := record.Location{Header: record.Header{Time: t0}, Sequence: 1, Interval: 30, Capabilities: record.CapBreaker, Oldest: t0}
				add(fmt.Sprintf("C%d", i%50), fmt.Sprintf("M%06d", i), "location", l.Append(nil))
			}))
			var used time.Duration
			b.ResetTimer()
			b.StopTimer()
			for done, slot := 0, uint32(1); done < b.N; slot++ {
				ws := fill(b.N-done, func(add func(string, string, string, []byte), i int) {
					r := record.Reading{Header: record.Header{Time: t0 + slot*1800}, Import: uint64(slot) * uint64(i%400) * 10, Power: 500, Voltage: 2300, Sequence: uint16(slot)}
					add(fmt.Sprintf("C%d", i%50), fmt.Sprintf("M%06d", i), "reading", r.Append(nil))
				})
				advance(clk, t0+slot*1800+60)
				before := processor(b)
				b.StartTimer()
				turn(ws)
				b.StopTimer()
				used += processor(b) - before
				done += len(ws)
			}
			b.ReportMetric(float64(used.Nanoseconds())/float64(b.N*size), "cpu-ns/reading")
		})
	}
}

// processor is the processor time of this process.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
