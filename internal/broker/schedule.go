package broker

import (
	heaps "container/heap"
	"context"
	"log/slog"
	"time"
)

// due is something that will happen to a session that is not connected: it ends, or
// its will goes out.
type due struct {
	at    time.Duration // Broker.now
	s     *session
	will  bool
	place int // in the schedule
}

// schedule is a heap of what is due, the next first. Broker.mu guards it.
type schedule []*due

func (q schedule) Len() int           { return len(q) }
func (q schedule) Less(i, j int) bool { return q[i].at < q[j].at }
func (q schedule) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}
func (q *schedule) Push(x any) {
	d := x.(*due)
	d.place = len(*q)
	*q = append(*q, d)
}
func (q *schedule) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return d
}

// plan puts something into the schedule. b.mu is held.
func (b *Broker) plan(after time.Duration, s *session, will bool) *due {
	d := &due{at: b.now() + after, s: s, will: will}
	heaps.Push(&b.schedule, d)
	if d.place == 0 {
		select {
		case b.sooner <- struct{}{}:
		default:
		}
	}
	return d
}

// cancel takes it out again; nil is nothing. b.mu is held.
func (b *Broker) cancel(d *due) {
	if d != nil {
		heaps.Remove(&b.schedule, d.place)
	}
}

// keepTime does what is due, until ctx ends. It sleeps until the next is.
func (b *Broker) keepTime(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(b.doDue())
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-b.sooner:
		}
	}
}

// doDue does what is due and returns the time to the next.
func (b *Broker) doDue() time.Duration {
	for {
		b.mu.Lock()
		if len(b.schedule) == 0 {
			b.mu.Unlock()
			return time.Hour
		}
		d := b.schedule[0]
		if left := d.at - b.now(); left > 0 {
			b.mu.Unlock()
			return left
		}
		s := d.s
		if d.will {
			will := b.takeWill(s)
			b.mu.Unlock()
			b.sendLater(s, will)
			continue
		}
		b.forget(s)
		b.mu.Unlock()
		b.end(s)
		if s.clean { // it stood for a will alone
			continue
		}
		b.count.expired.Add(1)
		b.log.Info("session expired", slog.String("client_id", s.id))
	}
}
