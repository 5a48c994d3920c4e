package meter

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/clock"
)

// Scheduler wakes agents at business times: one goroutine and one timer for any number of them. Give the same one to all
// agents of a process.
type Scheduler struct {
	clock *clock.Clock

	mu      sync.Mutex
	queue   alarms
	earlier chan struct{} // tells Run that the first alarm has changed; 1 deep
}

// NewScheduler makes a scheduler; Run starts it.
func NewScheduler(c *clock.Clock) *Scheduler {
	return &Scheduler{clock: c, earlier: make(chan struct{}, 1)}
}

// alarm is one agent's place in the queue. ring must not block.
type alarm struct {
	at    time.Time
	ring  func()
	index int // in the queue, -1 outside
}

func newAlarm(ring func()) *alarm { return &alarm{ring: ring, index: -1} }

// set makes the alarm ring once, at or after a business time; it replaces an earlier setting.
func (s *Scheduler) set(a *alarm, at time.Time) {
	s.mu.Lock()
	a.at = at
	if a.index < 0 {
		heap.Push(&s.queue, a)
	} else {
		heap.Fix(&s.queue, a.index)
	}
	first := s.queue[0] == a
	s.mu.Unlock()
	if first {
		s.nudge()
	}
}

func (s *Scheduler) nudge() {
	select {
	case s.earlier <- struct{}{}:
	default:
	}
}

// clear takes the alarm out of the queue.
func (s *Scheduler) clear(a *alarm) {
	s.mu.Lock()
	if a.index >= 0 {
		heap.Remove(&s.queue, a.index)
	}
	s.mu.Unlock()
}

// Run rings alarms until ctx ends; it returns nil.
func (s *Scheduler) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		s.mu.Lock()
		now := s.clock.Now()
		for len(s.queue) > 0 && !s.queue[0].at.After(now) {
			a := heap.Pop(&s.queue).(*alarm)
			a.ring()
		}
		var first time.Time
		if len(s.queue) > 0 {
			first = s.queue[0].at
		}
		s.mu.Unlock()
		if first.IsZero() {
			select {
			case <-ctx.Done():
			case <-s.earlier:
			}
			continue
		}
		s.wait(ctx, first)
	}
	return nil
}

var errEarlier = errors.New("the first alarm has changed")

// wait waits for a business time, or for a change of the first alarm.
func (s *Scheduler) wait(ctx context.Context, t time.Time) {
	ctx, cancel := context.WithCancelCause(ctx)
	var waker sync.WaitGroup
	waker.Go(func() {
		select {
		case <-s.earlier:
			cancel(errEarlier)
		case <-ctx.Done():
		}
	})
	_ = s.clock.WaitUntil(ctx, t)
	cancel(nil)
	waker.Wait()
}

// alarms is a heap, the earliest first.
type alarms []*alarm

func (q alarms) Len() int           { return len(q) }
func (q alarms) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q alarms) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *alarms) Push(x any) {
	a := x.(*alarm)
	a.index = len(*q)
	*q = append(*q, a)
}
func (q *alarms) Pop() any {
	old := *q
	a := old[len(old)-1]
	old[len(old)-1] = nil
	a.index = -1
	*q = old[:len(old)-1]
	return a
}
