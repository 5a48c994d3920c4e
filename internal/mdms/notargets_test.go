package mdms

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
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
		if m.outbox.listening(topic.Meter, api.EventReading) || m.outbox.wanted[api.EventProfile] {
			b.Fatal("somebody listens")
		}
		m.outbox.settle()
		m.pack(c)
		m.handOver(b.Context(), c.Out)
	}
}
