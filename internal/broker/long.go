package broker

import (
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// Long work: a SUBSCRIBE of a thousand filters, or the end of a session that has so many,
// takes a thousand times as long as a message, and may come as often. It is done in
// parts, reading the packet included, by one goroutine at a time and not on the turn of a
// poller, and after each part nobody does any for as long as it took: so all of it takes
// at most half a processor, and no more than one goroutine stands between a message and
// its processor. A client that asks for a thousand filters waits for some milliseconds.
//
// Packets that wait for that count as ones that have arrived in part (MaxAssemblyBytes),
// with what they take when they are read: longFactor times their size. They may take half
// of that bound, so that there is room for packets that do arrive in part.

const (
	longBytes    = 1 << 10 // a SUBSCRIBE or UNSUBSCRIBE of so many bytes may be long work, one with properties of so many is
	longRetained = 1 << 10 // so is looking through so many retained messages
	longPart     = 64      // steps that are done at once
	longFactor   = 8

	// The pause after a part. A longer part was interrupted.
	longPauseMin, longPauseMax = 50 * time.Microsecond, 2 * time.Millisecond
)

// long hands over the turn for a packet that is long work, and decodes it when there is
// time for that. done gives back what was reserved for it.
func (c *conn) long(w *work, t mqtt.PacketType, body []byte, decode func() error) (done func(), err error) {
	if len(body) < longBytes {
		return func() {}, decode()
	}
	if filters, properties := mqtt.CountFilters(t, c.version, body, longPart); filters <= longPart && properties < longBytes {
		return func() {}, decode() // few and large ones
	}
	n := int64(longFactor*len(body) + readBuffer)
	if c.b.longWaiting.Add(n) > c.b.opt.MaxAssemblyBytes/2 || !c.reserve(int(n)) {
		c.b.longWaiting.Add(-n)
		return nil, &protocolError{causeMemory, errMemory}
	}
	done = func() {
		c.b.longWaiting.Add(-n)
		c.b.assembly.Add(-n)
	}
	w.leave()
	c.b.longStep(func() bool {
		err = decode()
		return true
	})
	if err != nil {
		done()
	}
	return done, err
}

// inParts calls do for 0 to n-1, until it returns false. No lock is held.
func (b *Broker) inParts(n int, do func(i int) bool) {
	if n <= longPart {
		part(0, n, do)
		return
	}
	for i := 0; i < n; i += longPart {
		if !b.longStep(func() bool { return part(i, min(n, i+longPart), do) }) {
			return
		}
	}
}

// longStep does a part of long work, and pauses. It returns what do does.
func (b *Broker) longStep(do func() (more bool)) (more bool) {
	b.longTurn.Lock()
	defer b.longTurn.Unlock() // also when an access list panics
	begin := b.now()
	more = do()
	select {
	case <-b.stop: // nobody is held up any more
	default:
		time.Sleep(min(max(b.now()-begin, longPauseMin), longPauseMax))
	}
	return more
}

func part(i, end int, do func(i int) bool) bool {
	for ; i < end; i++ {
		if !do(i) {
			return false
		}
	}
	return true
}

// endsLong reports whether the end of the session is long work.
func (s *session) endsLong() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs) > longPart
}
