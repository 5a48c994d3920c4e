package broker

import (
	"sync"
	"time"
)

// Back-pressure. A session over its bound is under pressure until half is free
// again, or its connection has ended:
//
//   - What a client publishes to it is queued, but not acknowledged until the
//     pressure is over; a client has only so many messages on the way, so it stops
//     by itself. Its packets are read on, because among them are the
//     acknowledgements that empty its own queue: two clients that publish to each
//     other do not lock each other up.
//   - At overshoot times the bound the reader of a publisher waits.
//   - Publish, inside the process, waits at the bound.
//   - When nothing leaves the queue for StallTimeout, the connection is ended.
//
// The sum of all queues has the same, with the connection that has most to take in
// the place of the one.

const overshoot = 4

// pressure exists while a bound is exceeded. It is guarded by the lock of what it
// belongs to.
type pressure struct {
	owed  []Ack         // acknowledgements held back
	room  chan struct{} // closed when the pressure is over
	timer *time.Timer   // checks whether anything moves
	seen  uint64        // what had left when it last checked
}

// newPressure starts watching: check is called every StallTimeout until relieve.
func (b *Broker) newPressure(seen uint64, check func(p *pressure) (again bool)) *pressure {
	p := &pressure{room: make(chan struct{}), seen: seen}
	b.wg.Add(1)
	p.timer = time.AfterFunc(b.opt.StallTimeout, func() {
		defer b.wg.Done()
		if check(p) {
			b.wg.Add(1)
			p.timer.Reset(b.opt.StallTimeout)
		}
	})
	return p
}

// relieve ends a pressure that was taken off what it belongs to. The lock may be
// held: acknowledging, which takes the locks of other sessions, has a goroutine of
// its own.
func (b *Broker) relieve(p *pressure) {
	if p.timer.Stop() {
		b.wg.Done()
	}
	close(p.room)
	if len(p.owed) > 0 {
		b.wg.Add(1)
		go func() {
			defer b.wg.Done()
			Acknowledge(p.owed)
		}()
	}
}

// press puts the session under pressure. s.mu is held.
func (s *session) press(b *Broker) {
	if s.pressure == nil {
		s.pressure = b.newPressure(s.drained, func(p *pressure) bool { return b.checkSession(s, p) })
	}
}

// unpress takes the pressure off if there is room, or in any case. s.mu is held.
func (s *session) unpress(b *Broker, anyway bool) {
	if p := s.pressure; p != nil && (anyway || s.bytes <= b.opt.MaxSessionQueueBytes/2) {
		s.pressure = nil
		b.relieve(p)
	}
}

// checkSession ends the connection of a session from which nothing has left.
func (b *Broker) checkSession(s *session, p *pressure) (again bool) {
	s.mu.Lock()
	if s.pressure != p {
		s.mu.Unlock()
		return false
	}
	c, moved := s.conn, s.drained != p.seen
	p.seen = s.drained
	stalled := !moved && c != nil
	if stalled { // its reader may be among those who wait
		s.unpress(b, true)
	}
	s.mu.Unlock()
	if stalled {
		c.kick(causeStalled)
	}
	return !stalled
}

// total is the pressure on the sum of all queues.
type total struct {
	mu       sync.Mutex
	pressure *pressure
	drained  uint64 // items that have left since there is pressure
}

func (b *Broker) pressTotal() {
	t := &b.total
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pressure == nil && b.queued.Load() > b.opt.MaxQueueBytes {
		t.pressure = b.newPressure(t.drained, b.checkTotal)
		b.pressed.Store(true)
	}
}

// enqueued adds a message of n bytes to the sum of all queues.
func (b *Broker) enqueued(n int64) (total int64) {
	b.waiting.Add(1)
	return b.queued.Add(n)
}

// unqueue takes a message of n bytes off the sum of all queues.
func (b *Broker) unqueue(n int64) {
	left := b.queued.Add(-n)
	b.waiting.Add(-1)
	if !b.pressed.Load() {
		return
	}
	t := &b.total
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drained++
	if p := t.pressure; p != nil && left <= b.opt.MaxQueueBytes/4*3 {
		t.pressure = nil
		b.pressed.Store(false)
		b.relieve(p)
	}
}

// checkTotal ends the connection with the most to take, if nothing moves anywhere.
func (b *Broker) checkTotal(p *pressure) (again bool) {
	t := &b.total
	t.mu.Lock()
	if t.pressure != p {
		t.mu.Unlock()
		return false
	}
	moved := t.drained != p.seen
	p.seen = t.drained
	if !moved { // those who wait may be what keeps connections from ending
		t.pressure = nil
		b.pressed.Store(false)
		b.relieve(p)
	}
	t.mu.Unlock()
	if moved {
		return true
	}
	b.mu.Lock()
	sessions := make([]*session, 0, len(b.sessions))
	for _, s := range b.sessions {
		sessions = append(sessions, s)
	}
	b.mu.Unlock()
	var worst *conn
	var most int64
	for _, s := range sessions {
		s.mu.Lock()
		if s.conn != nil && s.bytes > most {
			worst, most = s.conn, s.bytes
		}
		s.mu.Unlock()
	}
	if worst != nil {
		worst.kick(causeStalled)
	}
	return false
}

// owe holds back the acknowledgement of the message in w,
// until the pressure it has brought about is over.
func (b *Broker) owe(w *work) {
	in := &w.in
	for _, s := range w.full {
		var hard bool
		if in.QoS > 0 {
			a := in.Defer()
			s.mu.Lock()
			if s.pressure != nil {
				s.pressure.owed = append(s.pressure.owed, a)
				a = Ack{}
			}
			hard = s.bytes > overshoot*b.opt.MaxSessionQueueBytes
			s.mu.Unlock()
			Acknowledge([]Ack{a}) // if it has passed already
		}
		if hard {
			w.wait = append(w.wait, s)
		}
	}
	if w.fullTotal {
		if in.QoS > 0 {
			a := in.Defer()
			b.total.mu.Lock()
			if p := b.total.pressure; p != nil {
				p.owed = append(p.owed, a)
				a = Ack{}
			}
			b.total.mu.Unlock()
			Acknowledge([]Ack{a})
		}
		w.waitTotal = b.queued.Load() > overshoot*b.opt.MaxQueueBytes
	}
	w.clearFull()
}

func (w *work) clearFull() {
	clear(w.full)
	w.full, w.fullTotal = w.full[:0], false
}

// roomIn gives a channel that is closed when the pressure on s is over, nil if
// there is none.
func (s *session) roomIn() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pressure == nil {
		return nil
	}
	return s.pressure.room
}

func (b *Broker) roomInTotal() <-chan struct{} {
	b.total.mu.Lock()
	defer b.total.mu.Unlock()
	if b.total.pressure == nil {
		return nil
	}
	return b.total.pressure.room
}

// waitFor waits until a channel that may be nil is closed, or nobody needs to wait
// any more. c is the connection whose reader waits; nil for Publish.
func (b *Broker) waitFor(room <-chan struct{}, c *conn) {
	if room == nil {
		return
	}
	var quit <-chan struct{}
	if c != nil {
		quit = c.quitting()
	}
	select {
	case <-room:
	case <-quit:
	case <-b.stop:
	}
}
