package backfill

import (
	"container/heap"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// Span is what a meter is asked for.
type Span struct {
	From, To uint32 // seconds since the epoch, [From, To)
	Parts    int    // about how many messages the answer has
}

// Options are the budgets, and what the planner needs from outside. The functions are called from within its methods only.
type Options struct {
	Gap  func(device uint32) (Span, bool)             // the next span that the device misses and may be asked for now
	Send func(device uint32, id uint64, s Span) error // an error is taken for a lost request
	ID   func() uint64                                // never the same twice
	// Live reports whether the next span ended a short while ago: it goes before the history of others. nil: none does.
	Live func(device uint32) bool
	// Asleep is how long a device still sleeps, wall time; 0: it is awake. nil: none sleeps. It is asked shortly before it wakes.
	Asleep func(device uint32) time.Duration

	PerConcentrator int           // requests under way below one concentrator; default 8
	Total           int           // requests under way at all; default 256
	PartsPerSecond  float64       // per concentrator, averaged over a second; 0: as fast as they come
	Timeout         time.Duration // wall time without a part after which a request is lost; doubles with each loss; default 10 s
	MaxTimeout      time.Duration // however often the meter failed; default 12 times Timeout
	MinBackoff      time.Duration // wall time before a meter that did not answer is asked again, doubling; default half of Timeout
	MaxBackoff      time.Duration // default 90 times Timeout
}

// lead is how long before a device wakes its request is sent, so that it waits where the device fetches it.
const lead = 5 * time.Second

// The life of a meter in the planner. One that misses nothing is not there.
//
//	        Wake               budget                 Result, nothing more missing
//	(none) ──────> waiting ─────────────> in flight ───────────────────────────────> (none)
//	                  ^  ^  not before        │ Result, more missing: to the end of the queue
//	                  │  └────────────────────┤
//	                  └── back-off ───────────┘ time-out, or a Result that brought nothing
type meter struct {
	device   uint32
	conc     *concentrator
	id       uint64 // of the request under way; 0: none
	queued   bool
	lane     lane   // of the queue that it stands in
	ticket   uint64 // of its entry there
	fails    int
	progress bool      // something came for the request under way
	at       time.Time // of its entry in the timers: time-out, or not before
	index    int       // in timers; -1: none
}

type concentrator struct {
	path     string
	queues   [lanes]queue // ready to be asked, first come first served
	inFlight int
	meters   int
	listed   [lanes]bool // in Planner.ready
	tokens   float64
	filled   time.Time
}

// Planner holds the meters that miss something. Its methods must not be called concurrently.
type Planner struct {
	o             Options
	meters        map[uint32]*meter
	requests      map[uint64]*meter
	concentrators map[string]*concentrator
	ready         [lanes][]*concentrator // with a queue, served in turn
	tickets       uint64
	timers        timers
	stats         Stats
}

// Stats are counters since the start, and two gauges.
type Stats struct {
	Waiting, InFlight                         int
	Requests, Parts, Results, Timeouts, Empty int64 // Empty: results that brought nothing
}

// New returns a planner that knows of no gap.
func New(o Options) *Planner {
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	if o.PerConcentrator <= 0 {
		o.PerConcentrator = 8
	}
	if o.Total <= 0 {
		o.Total = 256
	}
	def(&o.Timeout, 10*time.Second)
	def(&o.MaxTimeout, 12*o.Timeout)
	def(&o.MinBackoff, o.Timeout/2)
	def(&o.MaxBackoff, 90*o.Timeout)
	return &Planner{o: o, meters: map[uint32]*meter{}, requests: map[uint64]*meter{}, concentrators: map[string]*concentrator{}}
}

// Budget is what bounds the requests, and how many there are.
func (p *Planner) Budget() api.BackfillBudget {
	s := p.Stats()
	return api.BackfillBudget{PerConcentrator: p.o.PerConcentrator, Total: p.o.Total, PartsPerSecond: p.o.PartsPerSecond, InFlight: s.InFlight, Waiting: s.Waiting}
}

// Stats returns the counters.
func (p *Planner) Stats() Stats {
	s := p.stats
	s.InFlight = len(p.requests)
	s.Waiting = len(p.meters) - len(p.requests)
	return s
}

// Wake says that a device below the concentrator path (of its parents) misses something and may be asked from the wall time
// notBefore on. A device that is known already keeps its turn; fresh says that it can be reached again, which ends a back-off,
// and a request that was sent before.
func (p *Planner) Wake(device uint32, path string, notBefore time.Time, fresh bool) {
	m := p.meters[device]
	switch {
	case m == nil:
		m = &meter{device: device, index: -1}
		p.meters[device] = m
		p.hang(m, path)
	case m.id != 0:
		if !fresh {
			return
		}
		// It is on a new connection, or moved: the request went to where it is not any more.
		p.end(m)
		m.fails = 0
		if m.conc.path != path {
			p.hang(m, path)
		}
	default:
		if m.conc.path != path {
			p.unqueue(m)
			p.hang(m, path)
		}
		switch {
		case fresh:
			m.fails = 0
		case m.queued && m.lane == history && p.lane(m) == live:
			p.unqueue(m) // it need not wait any more for those before it
		case m.queued || m.index >= 0:
			return
		}
	}
	p.schedule(m, notBefore)
}

// Forget drops a device: its link is gone, or it misses nothing any more.
func (p *Planner) Forget(device uint32) {
	if m := p.meters[device]; m != nil {
		p.end(m)
		p.unqueue(m)
		p.timers.drop(m)
		p.unhang(m)
		delete(p.meters, device)
	}
}

// Part tells of a part of a load profile for the request id; filled is how many missing intervals it brought. It reports
// whether the request is one of the planner's.
func (p *Planner) Part(id uint64, filled int, now time.Time) bool {
	m := p.requests[id]
	if m == nil {
		return false
	}
	p.stats.Parts++
	m.progress = m.progress || filled > 0
	p.timers.set(m, now.Add(p.timeout(m)))
	return true
}

// Late tells that missing intervals came from a device for no request under way: it answers what it was asked before. So it can be
// reached again, which ends a back-off.
func (p *Planner) Late(device uint32, now time.Time) {
	m := p.meters[device]
	if m == nil {
		return
	}
	m.fails = 0
	if m.id != 0 {
		m.progress = true
		p.timers.set(m, now.Add(p.timeout(m)))
		return
	}
	p.schedule(m, now)
}

// Result tells that the request id has been answered.
func (p *Planner) Result(id uint64, now time.Time) {
	m := p.requests[id]
	if m == nil {
		return
	}
	p.stats.Results++
	p.end(m)
	if _, more := p.o.Gap(m.device); !more {
		p.Forget(m.device)
		return
	}
	if m.progress {
		m.fails = 0
		p.schedule(m, now)
		return
	}
	p.stats.Empty++
	p.backOff(m, now)
}

// Tick sends what the budgets allow at the wall time now, and returns when it wants to be called next, the zero time for not
// before something else happens.
func (p *Planner) Tick(now time.Time) (next time.Time) {
	for len(p.timers) > 0 && !p.timers[0].at.After(now) {
		m := p.timers[0]
		p.timers.drop(m)
		if m.id == 0 {
			if wait := p.asleep(m) - lead; wait > 0 {
				p.timers.set(m, now.Add(wait))
			} else {
				p.enqueue(m)
			}
			continue
		}
		p.stats.Timeouts++
		p.end(m)
		if m.progress { // the rest got lost, or the result
			m.fails = 0
			p.enqueue(m)
			continue
		}
		p.backOff(m, now)
	}
	for l := range lanes {
		if at := p.dispatch(l, now); next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if len(p.timers) > 0 && (next.IsZero() || p.timers[0].at.Before(next)) {
		next = p.timers[0].at
	}
	return next
}

// dispatch goes round the concentrators with a queue in the lane, one request each, until the budgets are used up.
func (p *Planner) dispatch(l lane, now time.Time) (next time.Time) {
	idle := 0
	for idle < len(p.ready[l]) && len(p.requests) < p.o.Total {
		c := p.ready[l][0]
		p.ready[l] = p.ready[l][1:]
		if c.queues[l].empty() {
			c.listed[l] = false
			continue
		}
		p.ready[l] = append(p.ready[l], c)
		wait := p.allowed(c, now)
		if wait != 0 {
			idle++
			if wait > 0 && (next.IsZero() || now.Add(wait).Before(next)) {
				next = now.Add(wait)
			}
			continue
		}
		if p.request(c.queues[l].pop(), now) {
			idle = 0
		}
	}
	return next
}

// allowed returns 0 if the concentrator may get a request now, else how long to wait at least; negative: until another ends.
func (p *Planner) allowed(c *concentrator, now time.Time) time.Duration {
	if c.inFlight >= p.o.PerConcentrator {
		return -1
	}
	rate := p.o.PartsPerSecond
	if rate <= 0 {
		return 0
	}
	if c.filled.IsZero() {
		c.tokens = rate
	} else {
		c.tokens = min(c.tokens+now.Sub(c.filled).Seconds()*rate, rate)
	}
	c.filled = now
	if c.tokens > 0 {
		return 0 // the answer may overdraw it, and is paid back before the next
	}
	return time.Duration(-c.tokens/rate*float64(time.Second)) + time.Millisecond
}

func (p *Planner) request(m *meter, now time.Time) bool {
	span, ok := p.o.Gap(m.device)
	if !ok {
		p.Forget(m.device)
		return false
	}
	m.id, m.progress = p.o.ID(), false
	p.requests[m.id] = m
	m.conc.inFlight++
	m.conc.tokens -= float64(span.Parts)
	p.stats.Requests++
	p.timers.set(m, now.Add(p.asleep(m)+p.timeout(m)))
	// An error is left to the time-out: the bus tells the operator.
	_ = p.o.Send(m.device, m.id, span)
	return true
}

func (p *Planner) asleep(m *meter) time.Duration {
	if p.o.Asleep == nil {
		return 0
	}
	return p.o.Asleep(m.device)
}

func (p *Planner) timeout(m *meter) time.Duration {
	return min(p.o.Timeout<<min(m.fails, 8), p.o.MaxTimeout)
}

func (p *Planner) backOff(m *meter, now time.Time) {
	wait := min(p.o.MinBackoff<<min(m.fails, 16), p.o.MaxBackoff)
	m.fails++
	p.schedule(m, now.Add(wait))
}

func (p *Planner) schedule(m *meter, at time.Time) {
	p.timers.drop(m)
	if m.queued {
		return
	}
	p.timers.set(m, at)
}

func (p *Planner) enqueue(m *meter) {
	if m.queued {
		return
	}
	p.tickets++
	l := p.lane(m)
	m.queued, m.lane, m.ticket = true, l, p.tickets
	m.conc.queues[l].push(m)
	if !m.conc.listed[l] {
		m.conc.listed[l] = true
		p.ready[l] = append(p.ready[l], m.conc)
	}
}

func (p *Planner) unqueue(m *meter) {
	if !m.queued {
		return
	}
	m.queued = false
	m.conc.queues[m.lane].left()
}

// end takes the request under way off the books.
func (p *Planner) end(m *meter) {
	if m.id != 0 {
		delete(p.requests, m.id)
		m.id = 0
		m.conc.inFlight--
		p.timers.drop(m)
	}
}

func (p *Planner) hang(m *meter, path string) {
	if m.conc != nil {
		p.unhang(m)
	}
	c := p.concentrators[path]
	if c == nil {
		c = &concentrator{path: path}
		p.concentrators[path] = c
	}
	c.meters++
	m.conc = c
}

func (p *Planner) unhang(m *meter) {
	c := m.conc
	if c.meters--; c.meters == 0 && p.o.PartsPerSecond <= 0 {
		delete(p.concentrators, c.path) // with a rate limit it remembers what it owes
	}
	m.conc = nil
}

// timers is a heap of meters by time.
type timers []*meter

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i]; t[i].index, t[j].index = i, j }

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	m := x.(*meter)
	m.index = len(*t)
	*t = append(*t, m)
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	old := *t
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	m.index = -1
	return m
}

func (t *timers) set(m *meter, at time.Time) {
	m.at = at
	if m.index >= 0 {
		heap.Fix(t, m.index)
		return
	}
	heap.Push(t, m)
}

func (t *timers) drop(m *meter) {
	if m.index >= 0 {
		heap.Remove(t, m.index)
	}
}
