package web

import "sync"

// The bounds of an outbox, per queue.
const (
	maxQueued = 1024
	maxBytes  = 1 << 20
	// Up to this length and size nothing is coalesced: a reader that keeps up sees every event.
	calmQueue = 32
	calmBytes = maxBytes / 4
	// From half of that on the stream is not given a rest.
	restQueue = calmQueue / 2
	restBytes = calmBytes / 2
)

// message is one thing to send: an event, or a control message.
type message struct {
	seq  uint64 // order over both queues
	key  string // of a device and type: a newer message of the same key may take this one's place; "": never
	name string // of the event or control
	id   string // of the event
	data []byte // JSON; shared, never written to
}

// outbox keeps what a live stream has not sent yet, in two bounded queues: one for states, readings and totals, where the
// newest per device is what counts, and one for what must not be replaced, so that a flood of the former cannot push out
// a command's end. Full queues drop their oldest. Safe for concurrent use.
type outbox struct {
	mu        sync.Mutex
	seq       uint64
	latest    queue
	keep      queue
	coalesced int64 // since taken last
	dropped   int64
	ready     chan struct{} // holds one token while there is something to take
	pressing  chan struct{} // holds one once so much waits that it is not to rest any longer
}

// queue is a ring of messages; newest finds the last one of a key by its place since the beginning.
type queue struct {
	ring   []message // its length is 0 or a power of 2
	head   uint64    // place of the oldest
	tail   uint64    // place behind the newest
	bytes  int
	newest map[string]uint64
}

func newOutbox() *outbox {
	return &outbox{ready: make(chan struct{}, 1), pressing: make(chan struct{}, 1)}
}

// push adds a message; it never blocks.
func (o *outbox) push(m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := &o.keep
	if m.key != "" {
		q = &o.latest
		if place, ok := q.newest[m.key]; ok && (q.len() >= calmQueue || q.bytes+len(m.data) > calmBytes) {
			old := q.at(place)
			q.bytes += len(m.data) - len(old.data)
			old.data, old.id = m.data, m.id
			o.coalesced++
			return
		}
	}
	for q.len() > 0 && (q.len() == maxQueued || q.bytes+len(m.data) > maxBytes) {
		q.pop()
		o.dropped++
	}
	o.seq++
	m.seq = o.seq
	q.append(m)
	select {
	case o.ready <- struct{}{}:
	default:
	}
	if q.len() >= restQueue || q.bytes >= restBytes {
		select {
		case o.pressing <- struct{}{}:
		default:
		}
	}
}

// take moves up to len(dst) messages, oldest first, and says what was coalesced and dropped since the last take.
func (o *outbox) take(dst []message) (n int, coalesced, dropped int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n < len(dst) && o.latest.len()+o.keep.len() > 0 {
		q := &o.keep
		if o.keep.len() == 0 || o.latest.len() > 0 && o.latest.at(o.latest.head).seq < o.keep.at(o.keep.head).seq {
			q = &o.latest
		}
		dst[n] = q.pop()
		n++
	}
	if o.latest.len()+o.keep.len() > 0 {
		select {
		case o.ready <- struct{}{}:
		default:
		}
	}
	coalesced, dropped = o.coalesced, o.dropped
	o.coalesced, o.dropped = 0, 0
	return n, coalesced, dropped
}

func (q *queue) len() int { return int(q.tail - q.head) }

func (q *queue) at(place uint64) *message { return &q.ring[place&uint64(len(q.ring)-1)] }

func (q *queue) append(m message) {
	if q.len() == len(q.ring) {
		grown := make([]message, max(16, 2*len(q.ring)))
		for p := q.head; p != q.tail; p++ {
			grown[p&uint64(len(grown)-1)] = *q.at(p)
		}
		q.ring = grown
	}
	*q.at(q.tail) = m
	if m.key != "" {
		if q.newest == nil {
			q.newest = map[string]uint64{}
		}
		q.newest[m.key] = q.tail
	}
	q.bytes += len(m.data)
	q.tail++
}

func (q *queue) pop() message {
	slot := q.at(q.head)
	m := *slot
	*slot = message{}
	if m.key != "" && q.newest[m.key] == q.head {
		delete(q.newest, m.key)
	}
	q.bytes -= len(m.data)
	q.head++
	return m
}
