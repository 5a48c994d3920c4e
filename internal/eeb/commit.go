package eeb

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
)

const (
	underWay = 4 // batches handed to the bus and not finished
	minRetry = 50 * time.Millisecond
	maxRetry = 2 * time.Second
	pause    = 2 * time.Millisecond // without a message: nobody has more to send for now
	few      = 128                  // messages; as long as it has fewer, a batch waits fewFor times as long
	fewFor   = 2
)

type flight struct {
	b       *batch
	pending *bus.Pending // nil when nothing is for the bus
	began   time.Time
}

// commit hands batches to the bus until ctx has ended and all are, or work ends. A second goroutine finishes them, in order.
func (e *EEB) commit(ctx, work context.Context) error {
	flights := make(chan flight, underWay)
	var finishing sync.WaitGroup
	lost, failed := 0, false
	finishing.Go(func() {
		for f := range flights {
			// After one that failed none is acknowledged: an aggregated message may stand in both.
			if failed {
				lost += len(f.b.acks)
			} else if err := e.finish(work, f); err != nil {
				failed = true
				lost += len(f.b.acks)
			}
		}
	})
	var last time.Time
	var rate trickle
	for {
		b := e.next(ctx, last, rate.low())
		if b == nil {
			break
		}
		last = time.Now()
		rate.add(b.size(), last)
		b.data = b.entries.Take(nil)
		f := flight{b: b, began: last}
		if len(b.data) > 0 {
			var err error
			if f.pending, err = e.o.Bus.PublishBatch(work, b.data); err != nil {
				close(flights)
				finishing.Wait()
				return fmt.Errorf("eeb: %d messages are not committed and not acknowledged: %w", lost+len(b.acks)+e.left(), err)
			}
		}
		flights <- f
	}
	close(flights)
	finishing.Wait()
	if lost > 0 {
		return fmt.Errorf("eeb: %d messages are not committed and not acknowledged: %w", lost, context.Cause(work))
	}
	return nil
}

func (e *EEB) left() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range append(e.full, e.open) {
		n += len(b.acks)
	}
	return n
}

// trickle measures how many messages come, over the last trickleSpan or so. Few are committed at once, each by itself: a batch costs bus
// and MDMS the same whether it has one message or a hundred, and beyond some hundred a second that is what the centre is busy with.
type trickle struct {
	n  float64 // messages, older ones counting for less
	at time.Time
}

const (
	trickleSpan = 100 * time.Millisecond
	trickleRate = 500 // messages a second, up to which each is committed at once
)

func (t *trickle) add(n int, now time.Time) {
	t.n = t.n*math.Exp(-float64(now.Sub(t.at))/float64(trickleSpan)) + float64(n)
	t.at = now
}

func (t *trickle) low() bool { return t.n < trickleRate*trickleSpan.Seconds() }

// next waits for a batch: a full one, or what has gathered when nobody has waited for more (eager), it is enough, nothing came for a
// moment (who waits for acknowledgements sends nothing more), or Linger has passed since the last one was taken, or some times that
// while it has few. It returns nil when ctx has ended and nothing is left.
func (e *EEB) next(ctx context.Context, last time.Time, eager bool) *batch {
	var timer *time.Timer
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	for {
		e.mu.Lock()
		var b *batch
		gathered := !e.open.empty()
		now := time.Now()
		linger := e.o.Linger
		if e.open.size() < few {
			linger *= fewFor
		}
		left := min(linger-now.Sub(last), pause-now.Sub(e.entered))
		switch {
		case len(e.full) > 0:
			b = e.full[0]
			e.full = e.full[1:]
			e.room.Broadcast()
		case gathered && (eager || e.open.urgent || e.closing || e.open.size() >= enough || left <= 0):
			b = e.open
			e.seals.settle(b)
			e.open, e.free = e.free, nil
			if e.open == nil {
				e.open = &batch{}
			}
		}
		ended := e.closing
		e.mu.Unlock()
		if b != nil {
			return b
		}
		if ended {
			return nil
		}
		var due <-chan time.Time
		if gathered {
			if timer == nil {
				timer = time.NewTimer(left)
			} else {
				timer.Reset(left)
			}
			due = timer.C
		}
		select {
		case <-e.wake:
		case <-due:
		case <-ctx.Done():
			e.close()
		}
	}
}

// finish waits for the commit, keeps locations and dead letters, and only then acknowledges. What fails is tried again until
// it succeeds or ctx ends; then nothing of the batch is acknowledged.
func (e *EEB) finish(ctx context.Context, f flight) error {
	b := f.b
	if f.pending != nil {
		if err := f.pending.Wait(ctx); err != nil {
			return err
		}
	}
	if len(b.locations) > 0 {
		if err := e.insist(ctx, "locations", func() error { return e.o.Locations.PutLocations(ctx, b.locations) }); err != nil {
			return err
		}
	}
	if len(b.seen) > 0 {
		if err := e.insist(ctx, "windows of sealed messages", func() error { return e.o.Seals.PutSealWindows(ctx, b.seen) }); err != nil {
			return err
		}
	}
	if len(b.dead) > 0 {
		if err := e.insist(ctx, "dead letters", func() error { return e.o.Bus.PublishDead(ctx, b.dead...) }); err != nil {
			return err
		}
	}
	entries := 0
	for t, n := range b.counts {
		if n > 0 {
			e.m.messages.WithLabelValues(uplinkType(t).String()).Add(float64(n))
			entries += n
		}
	}
	if entries > 0 {
		e.m.readings.Add(float64(b.counts[readingType] + b.counts[uplinkType(record.TypeMeasurement)]))
		e.m.commit.Observe(time.Since(f.began).Seconds())
		e.m.size.Observe(float64(entries))
	}
	broker.Acknowledge(b.acks)
	e.pacer.acknowledge(b.replies, time.Now())
	for _, a := range b.answers {
		e.send(a.to, a.to.String(), a.payload, 1)
	}

	e.mu.Lock()
	e.uncommitted -= b.bytes
	b.reset()
	if e.free == nil {
		e.free = b
	}
	e.room.Broadcast()
	e.mu.Unlock()
	return nil
}

// insist tries until it succeeds. A change of state is reported once.
func (e *EEB) insist(ctx context.Context, what string, do func() error) error {
	failed := false
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := do()
		if err == nil {
			if failed {
				e.m.stalled.Set(0)
				e.log.Info("stored again", "what", what)
			}
			return nil
		}
		if !failed && ctx.Err() == nil {
			failed = true
			e.m.stalled.Set(1)
			e.log.Warn("cannot be stored, trying again and acknowledging nothing", "what", what, "error", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("eeb: store %s: %w", what, err)
		case <-time.After(wait):
		}
	}
}
