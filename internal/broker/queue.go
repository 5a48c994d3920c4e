package broker

import "time"

// message is what waits for sessions: one copy for all of them, never changed.
type message struct {
	topic   string
	payload []byte
	more    *more // what only MQTT 5 has; nil for most
}

// more is what a message has besides, in MQTT 5.
type more struct {
	props   []byte        // the publisher's properties as they came, see mqtt.Forward
	expires time.Duration // Broker.now when it is not to be delivered any more; 0: never

	// Of a message made for one delivery alone, which shares the rest with others.
	ids   []uint32 // subscription identifiers, where they are more than one
	share *share   // the shared subscription it goes out for

	stored *stored // what the journal knows of it, for all copies; nil: it is never stored
}

// moreOverhead stands for what more takes besides its bytes.
const moreOverhead = 96

// messageOverhead stands for what a queued message takes besides its topic and
// payload, in bytes.
const messageOverhead = 96

func (m *message) size() int64 {
	n := len(m.topic) + len(m.payload) + messageOverhead
	if m.more != nil {
		n += len(m.more.props) + 4*len(m.more.ids) + moreOverhead
	}
	return int64(n)
}

// expires is when the message is not to be delivered any more, 0 for never.
func (m *message) expires() time.Duration {
	if m.more == nil {
		return 0
	}
	return m.more.expires
}

// expired reports whether the time of the message is over.
func (m *message) expired(b *Broker) bool { return m.expires() > 0 && m.expiredAt(b.now()) }

func (m *message) expiredAt(now time.Duration) bool {
	at := m.expires()
	return at > 0 && at <= now
}

// share is the shared subscription the message goes out for, nil for none.
func (m *message) share() *share {
	if m.more == nil {
		return nil
	}
	return m.more.share
}

// item is a message in the queue of one session.
type item struct {
	m     *message // nil once PUBREC has come
	id    uint32   // subscription identifier; 0: none, or in the message
	flags itemFlags
	seq   uint64 // what the journal knows it by; 0: it is not stored
}

type itemFlags uint8

const (
	itemQoS      itemFlags = 3      // the QoS of this delivery
	itemRetain   itemFlags = 1 << 2 // say RETAIN
	itemReleased itemFlags = 1 << 3 // PUBREC has come: PUBREL is what is sent again
	itemDone     itemFlags = 1 << 4 // acknowledged behind one that is not
	itemUnsent   itemFlags = 1 << 5 // on its way, but not sent yet
	itemAgain    itemFlags = 1 << 6 // before the broker was started, it may have been sent
	itemHold     itemFlags = 1 << 7 // the journal stores its state before anything more is sent
)

func (it item) qos() byte { return byte(it.flags & itemQoS) }

// queue is a ring of items in order. Positions count from the first item ever
// pushed, so they stay valid while items before them leave.
type queue struct {
	ring  []item // length a power of two
	first uint64 // position of the oldest item
	n     int
}

func (q *queue) end() uint64 { return q.first + uint64(q.n) }

func (q *queue) at(pos uint64) *item { return &q.ring[pos&uint64(len(q.ring)-1)] }

func (q *queue) push(it item) {
	if q.n == len(q.ring) {
		ring := make([]item, max(4, 2*len(q.ring)))
		for pos := q.first; pos < q.end(); pos++ {
			ring[pos&uint64(len(ring)-1)] = *q.at(pos)
		}
		q.ring = ring
	}
	q.n++
	*q.at(q.end() - 1) = it
}

// pop takes the oldest item. An empty queue holds no memory worth naming.
func (q *queue) pop() item {
	p := q.at(q.first)
	it := *p
	*p = item{}
	q.first++
	q.n--
	if q.n == 0 && len(q.ring) > 64 {
		q.ring = nil
	}
	return it
}

// popLast takes the newest item.
func (q *queue) popLast() item {
	p := q.at(q.end() - 1)
	it := *p
	*p = item{}
	q.n--
	return it
}
