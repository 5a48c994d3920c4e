package auth

import (
	"sync"
	"time"
)

// quiet bounds how much is logged: burst lines in every span, the rest is counted.
type quiet struct {
	mu     sync.Mutex
	since  time.Time
	n      int
	hidden int
}

const (
	quietBurst = 20
	quietSpan  = 10 * time.Second
)

// allows reports whether a line may be written, and how many were not before it.
func (q *quiet) allows(now time.Time) (hidden int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.since) >= quietSpan {
		q.since, q.n = now, 0
	}
	if q.n >= quietBurst {
		q.hidden++
		return 0, false
	}
	q.n++
	hidden, q.hidden = q.hidden, 0
	return hidden, true
}
