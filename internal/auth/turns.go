package auth

import (
	"errors"
	"sync"
	"time"
)

// Bounds of who waits for a password to be hashed.
const (
	maxWaiting       = 4096 // at all
	maxWaitingSource = 256  // from one network address
)

var (
	errBusy  = errors.New("too many logins are being checked")
	errEnded = errors.New("connection ended")
)

// turns lets a few work at once. Who has to wait stands in the queue of its source,
// and the queues take turns, so that a flood from one address costs the others one
// place, not all of them.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting int
	queues  map[string]*queue
	ring    []*queue // queues that somebody stands in, in the order of their turns
}

type queue struct {
	source string
	list   []*waiter
}

type waiter struct {
	turn chan struct{} // closed when it may work
	left bool          // does not wait any more
}

func newTurns(n int) *turns { return &turns{free: n, queues: map[string]*queue{}} }

// take waits for a turn. Each success needs a give.
func (t *turns) take(source string, ended <-chan struct{}, most time.Duration) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	q := t.queues[source]
	if q == nil {
		q = &queue{source: source}
	}
	if t.waiting >= maxWaiting || len(q.list) >= maxWaitingSource {
		t.mu.Unlock()
		return errBusy
	}
	if len(q.list) == 0 {
		t.queues[source] = q
		t.ring = append(t.ring, q)
	}
	w := &waiter{turn: make(chan struct{})}
	q.list = append(q.list, w)
	t.waiting++
	t.mu.Unlock()

	timer := time.NewTimer(most)
	defer timer.Stop()
	var err error
	select {
	case <-w.turn:
		return nil
	case <-ended:
		err = errEnded
	case <-timer.C:
		err = errBusy
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-w.turn: // it came at the same moment: passed on
		t.next()
	default:
		w.left = true
	}
	return err
}

// give ends a turn.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next passes the turn on. t.mu is held.
func (t *turns) next() {
	for len(t.ring) > 0 {
		q := t.ring[0]
		t.ring[0] = nil
		t.ring = t.ring[1:]
		w := q.list[0]
		q.list[0] = nil
		q.list = q.list[1:]
		t.waiting--
		if len(q.list) > 0 {
			t.ring = append(t.ring, q)
		} else {
			delete(t.queues, q.source)
		}
		if !w.left {
			close(w.turn)
			return
		}
	}
	t.free++
}
