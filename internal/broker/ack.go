package broker

import "github.com/wattbus/wattbus/internal/mqtt"

// Ack is the right to acknowledge one message. It is small and may be kept in a
// slice; the zero value does nothing. Each Ack is used once.
type Ack struct {
	c     *conn
	local *localAck // in place of c
	seq   uint32
}

// maxOutstanding bounds the acknowledgements that one connection waits for: a
// client has no more packet identifiers. Beyond, its reading is suspended.
const maxOutstanding = 65_535

// ackRing holds the messages of one connection whose acknowledgement waits, in
// the order in which they came, which is the order of the acknowledgements
// [MQTT-4.6.0-2], [MQTT-4.6.0-3].
type ackRing struct {
	ring  []ackEntry // length a power of two; nil: few is used
	few   [4]ackEntry
	first uint32
	n     uint32
	room  chan struct{} // closed when an entry has left; nil: nobody waits
}

type ackEntry struct {
	id     uint16
	waits  uint16 // who has to be done before it may be sent
	qos    byte   // and what is still to be stored then, see ackStore
	reason mqtt.Reason
}

// What is in ackEntry.qos besides the QoS: once all who are waited for are done, the
// acknowledgement waits for the journal, which with ackHandlers is told that they are.
const (
	ackQoS      = 3
	ackStore    = 4
	ackHandlers = 8
)

func (r *ackRing) at(seq uint32) *ackEntry {
	if r.ring == nil {
		return &r.few[seq&uint32(len(r.few)-1)]
	}
	return &r.ring[seq&uint32(len(r.ring)-1)]
}

func (r *ackRing) push(e ackEntry) (seq uint32) {
	size := uint32(max(len(r.ring), len(r.few)))
	if r.n == size {
		ring := make([]ackEntry, 2*size)
		for seq := r.first; seq != r.first+r.n; seq++ {
			ring[seq&(2*size-1)] = *r.at(seq)
		}
		r.ring = ring
	}
	seq = r.first + r.n
	r.n++
	*r.at(seq) = e
	return seq
}

func (r *ackRing) pop() {
	r.first++
	r.n--
	if r.n == 0 && len(r.ring) > 256 {
		r.ring = nil
	}
}

// deferAck gives a handler the acknowledgement of m, which the reader is handling.
func (c *conn) deferAck(m *Inbound) Ack {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.deferred {
		c.acks.at(m.ack.seq).waits++
		return m.ack
	}
	c.takeAcks(c.w) // those of the messages before go first
	m.deferred = true
	m.ack = Ack{c: c, seq: c.acks.push(ackEntry{id: m.packetID, qos: m.QoS, waits: 2})} // the handler and the reader
	c.outstanding.Add(1)
	if m.QoS == 2 {
		s.setReceived(m.packetID, received{})
	}
	return m.ack
}

// ackLater lets the acknowledgement of m, which has been dispatched, wait until
// everything that it has brought about is stored.
func (c *conn) ackLater(w *work, m *Inbound) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.deferred {
		c.takeAcks(w)
		m.deferred = true
		m.ack = Ack{c: c, seq: c.acks.push(ackEntry{id: m.packetID, qos: m.QoS, waits: 1})} // the reader
		c.outstanding.Add(1)
		if m.QoS == 2 {
			s.setReceived(m.packetID, received{})
		}
	}
	e := c.acks.at(m.ack.seq)
	e.qos |= ackStore
	if m.QoS == 2 && w.handlers > 0 && s.journal != nil {
		e.qos |= ackHandlers
	}
}

// acknowledge is called by the reader when the handlers have returned from m. The QoS
// says how [MQTT-3.3.4-1]: with nothing, PUBACK [MQTT-4.3.2-2] of MQTT 3.1.1,
// [MQTT-4.3.2-4], or PUBREC [MQTT-4.3.3-8].
func (c *conn) acknowledge(w *work, m *Inbound) {
	switch {
	case m.QoS == 0:
	case m.deferred:
		c.s.mu.Lock()
		c.acks.at(m.ack.seq).reason = m.reason // the reader is among those it waits for
		w.acked += c.complete(m.ack.seq)
		c.s.mu.Unlock()
	default:
		c.ackNow(w, m.packetID, m.QoS, m.reason)
	}
}

// ackNow acknowledges in order: behind those that wait, if any do.
func (c *conn) ackNow(w *work, id uint16, qos byte, reason mqtt.Reason) {
	if c.outstanding.Load() == 0 {
		w.acks = appendAck(w.acks, c.version, id, qos, reason)
		w.acked++
		c.counted(qos, reason)
		return
	}
	c.s.mu.Lock()
	c.takeAcks(w)
	c.acks.push(ackEntry{id: id, qos: qos, reason: reason})
	c.outstanding.Add(1)
	w.acked += c.emit()
	c.s.mu.Unlock()
}

// appendAck answers PUBLISH with its identifier [MQTT-2.3.1-6], MQTT 5: [MQTT-2.2.1-5],
// and has no words or user properties for it, whatever the client wants to be told
// [MQTT-3.1.2-29], which could make it too large: [MQTT-3.4.2-2], [MQTT-3.4.2-3],
// [MQTT-3.5.2-2], [MQTT-3.5.2-3].
func appendAck(dst []byte, v mqtt.Version, id uint16, qos byte, reason mqtt.Reason) []byte {
	if qos == 1 {
		return mqtt.AppendPuback(dst, v, mqtt.Puback{PacketID: id, Reason: reason})
	}
	return mqtt.AppendPubrec(dst, v, mqtt.Pubrec{PacketID: id, Reason: reason})
}

// takeAcks moves the acknowledgements of the batch to what will be written.
// s.mu is held.
func (c *conn) takeAcks(w *work) {
	if len(w.acks) > 0 {
		c.put(func(dst []byte) []byte { return append(dst, w.acks...) })
		w.acks = w.acks[:0]
	}
}

// complete notes that one of those that an entry waits for is done. It returns
// how many acknowledgements may be sent now. s.mu is held.
func (c *conn) complete(seq uint32) (sent uint64) {
	if seq-c.acks.first >= c.acks.n { // left long ago: used twice
		return 0
	}
	e := c.acks.at(seq)
	if e.waits == 0 {
		return 0
	}
	if e.waits--; e.waits > 0 {
		return 0
	}
	if e.qos&ackStore != 0 {
		if j := c.s.journal; j != nil && e.qos&ackHandlers != 0 {
			j.receive(StoredReceived{Session: c.s.nr, PacketID: e.id, Done: true})
		}
		e.qos &= ackQoS
		e.waits = 1
		c.b.journal.ack(Ack{c: c, seq: seq})
		return 0
	}
	if e.qos == 2 {
		if r, ok := c.s.received.get(e.id); ok && !r.acked {
			c.s.setReceived(e.id, received{acked: true})
			if again := r.waiter; again.c != nil && again.c != c {
				sent += again.c.complete(again.seq)
			}
		}
	}
	return sent + c.emit()
}

// emit sends the acknowledgements at the head of the ring that wait for nobody.
// s.mu is held.
func (c *conn) emit() (sent uint64) {
	r := &c.acks
	for r.n > 0 && r.at(r.first).waits == 0 {
		e := *r.at(r.first)
		r.pop()
		sent++
		c.counted(e.qos&ackQoS, e.reason)
		if c.closed {
			continue
		}
		if c.out == nil {
			c.out = smallChunk()
		}
		c.out.b = appendAck(c.out.b, c.version, e.id, e.qos, e.reason)
	}
	if sent > 0 {
		c.outstanding.Add(-int32(sent))
		if r.room != nil {
			close(r.room)
			r.room = nil
		}
	}
	return sent
}

// Acknowledge acknowledges messages that were deferred: PUBACK or PUBREC go out in
// the order in which the client published, in one write for each connection. It
// may be called from any goroutine. It does not wait for a slow client, and a
// connection that is gone is ignored: its client sends the message again.
func Acknowledge(acks []Ack) {
	var few [32]*conn
	dirty := few[:0]
	var sent uint64
	var b *Broker
	for _, a := range acks {
		if a.local != nil {
			a.local.release()
			continue
		}
		if a.c == nil {
			continue
		}
		s := a.c.s
		b = a.c.b
		s.mu.Lock()
		sent += a.c.complete(a.seq)
		// The connection of the session may be a newer one that waited for this.
		for _, c := range [2]*conn{a.c, s.conn} {
			if c != nil && c.out != nil && !c.dirty && !c.flushing {
				c.dirty = true
				dirty = append(dirty, c)
			}
		}
		s.mu.Unlock()
	}
	for _, c := range dirty {
		c.flushNow()
	}
	if b != nil {
		b.count.acked.Add(sent)
	}
}
