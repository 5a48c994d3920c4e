package broker

import "time"

// Long work: a SUBSCRIBE of a thousand filters, or the end of a session that has so many,
// takes a thousand times as long as a message, and may come as often. It is done in
// parts, by one goroutine at a time and not on the turn of a poller, with a pause as long
// as the part after each: so all of it takes less than one processor, and neighbours do
// not wait for it. A client that asks for a thousand filters waits for some milliseconds.
//
// Packets that wait for that count as ones that have arrived in part (MaxAssemblyBytes),
// with what they take when they are read: longFactor times their size.

const (
	longBytes    = 1 << 10 // a SUBSCRIBE or UNSUBSCRIBE of so many bytes is long work
	longRetained = 1 << 10 // so is looking through so many retained messages
	longPart     = 64      // steps that are done at once
	longFactor   = 8
)

// long hands over the turn for a packet that is long work, and gives back what was
// reserved for it when it is done.
func (c *conn) long(w *work, body []byte) (done func(), err error) {
	if len(body) < longBytes {
		return func() {}, nil
	}
	n := longFactor*len(body) + readBuffer
	if !c.reserve(n) {
		return nil, &protocolError{causeMemory, errMemory}
	}
	w.leave()
	return func() { c.b.assembly.Add(-int64(n)) }, nil
}

// inParts calls do for 0 to n-1, until it returns false. No lock is held.
func (b *Broker) inParts(n int, do func(i int) bool) {
	for i := 0; i < n; i += longPart {
		if n <= longPart {
			part(0, n, do)
			return
		}
		took, more := b.longStep(i, min(n, i+longPart), do)
		if !more {
			return
		}
		time.Sleep(took)
	}
}

func (b *Broker) longStep(i, end int, do func(i int) bool) (took time.Duration, more bool) {
	b.longTurn.Lock()
	defer b.longTurn.Unlock() // also when an access list panics
	begin := b.now()
	more = part(i, end, do)
	return b.now() - begin, more
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
