package eeb

import (
	"context"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// pacer spreads acknowledgements of registrations, so that a concentrator that was replaced, and whose devices all register at
// once, is not flooded with answers. Each concentrator has a budget; what is beyond waits its turn. A device that waits repeats
// its registration ever more seldom (docs/contract.md, section 2, Location), and these repeats change nothing: they go neither
// to the bus nor into the queue.
//
//	registration ──budget left──> acknowledged
//	        └──none──> waiting ──its turn──> acknowledged
//
// A device waits once, with its newest registration. About 150 bytes each; at the bound a registration is not acknowledged,
// and comes again.
type pacer struct {
	rate, burst float64
	most        int
	send        func(registration)

	mu      sync.Mutex
	queues  map[string]*ackQueue // by the concentrator that the devices hang on
	waiting map[waitKey]uint32   // sequence that waits
	full    int64                // registrations that found no room
	wake    chan struct{}
}

// ackQueue are the registrations below one concentrator.
type ackQueue struct {
	left float64 // of the budget
	at   time.Time
	list []registration
}

// waitKey is a device and where it registered: an answer goes the way that the registration came.
type waitKey struct{ kind, id, path string }

func newPacer(rate, burst float64, most int, send func(registration)) *pacer {
	return &pacer{rate: rate, burst: burst, most: most, send: send, queues: map[string]*ackQueue{}, waiting: map[waitKey]uint32{}, wake: make(chan struct{}, 1)}
}

// budget is what the pacer goes by, and how many wait.
func (p *pacer) budget(context.Context, struct{}) (api.RegistrationBudget, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return api.RegistrationBudget{AtOnce: p.burst, PerSecond: p.rate, Waiting: len(p.waiting), MostWaiting: p.most}, nil
}

// refill adds what the budget has gained.
func (q *ackQueue) refill(rate, burst float64, now time.Time) {
	q.left = min(burst, q.left+now.Sub(q.at).Seconds()*rate)
	q.at = now
}

// acknowledge answers registrations, now or when it is their turn.
func (p *pacer) acknowledge(rs []registration, now time.Time) {
	for _, r := range rs {
		if p.hold(r, now) {
			continue
		}
		p.send(r)
	}
}

// hold reports whether the registration has to wait, or finds no room to.
func (p *pacer) hold(r registration, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queues[r.path]
	if q == nil {
		q = &ackQueue{left: p.burst, at: now}
		p.queues[r.path] = q
	}
	q.refill(p.rate, p.burst, now)
	if len(q.list) == 0 && q.left >= 1 {
		q.left--
		return false
	}
	k := waitKey{r.kind, r.id, r.path}
	if _, there := p.waiting[k]; there {
		p.waiting[k] = r.seq
		return true
	}
	if len(p.waiting) >= p.most {
		p.full++
		return true
	}
	p.waiting[k] = r.seq
	q.list = append(q.list, r)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return true
}

// waits reports whether just this registration waits to be acknowledged.
func (p *pacer) waits(kind, id, path string, seq uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.waiting[waitKey{kind, id, path}]
	return ok && s == seq
}

// due takes out whose turn it is. It returns how long until the next one's, 0 when nobody waits, and forgets concentrators
// whose budget is whole again.
func (p *pacer) due(now time.Time) (out []registration, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for path, q := range p.queues {
		q.refill(p.rate, p.burst, now)
		n := min(int(q.left), len(q.list))
		for i := range q.list[:n] {
			r := q.list[i]
			k := waitKey{r.kind, r.id, r.path}
			r.seq = p.waiting[k]
			delete(p.waiting, k)
			out = append(out, r)
		}
		q.left -= float64(n)
		q.list = append(q.list[:0], q.list[n:]...)
		switch {
		case len(q.list) > 0:
			wait := time.Duration((1 - q.left) / p.rate * float64(time.Second))
			if wait = max(wait, time.Millisecond); next == 0 || wait < next {
				next = wait
			}
		case q.left >= p.burst:
			delete(p.queues, path)
		}
	}
	return out, next
}

func (p *pacer) counts() (waiting int, full int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting), p.full
}

// run acknowledges those that wait until ctx ends.
func (p *pacer) run(ctx context.Context) {
	const tick = 20 * time.Millisecond // so that a great many small queues are not gone through all the time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-p.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		out, next := p.due(time.Now())
		for _, r := range out {
			p.send(r)
		}
		if next == 0 {
			next = time.Hour
		}
		timer.Reset(max(next, tick))
	}
}
