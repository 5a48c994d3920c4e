package broker

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// Writing: whoever has something for a connection appends it to out, or to the
// queue of the session, under s.mu. One goroutine at a time (flushing) takes all
// there is, writes it in one call and looks again; an idle connection has none.

const (
	writeBatch  = 32 << 10 // bytes taken from the queue for one write, about
	flushTurn   = 4        // writes to one connection before a goroutine of its own goes on
	firstWindow = 20       // messages of QoS 1 and 2 before the first acknowledgement
	maxOut      = 64 << 10 // bytes of answers not taken by the peer before its reading is suspended
)

// chunk is a buffer for writing. Small ones hold acknowledgements, large ones messages.
type chunk struct {
	b     []byte
	done  int // bytes of b that are written
	err   error
	write func(fd uintptr) bool // writable; made once
}

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, 0, 512)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, 0, writeBatch+4096)} }}
)

func smallChunk() *chunk { return smallChunks.Get().(*chunk) }

func putChunk(k *chunk) {
	if k == nil {
		return
	}
	k.b, k.done, k.err = k.b[:0], 0, nil
	switch {
	case cap(k.b) <= 2048:
		smallChunks.Put(k)
	case cap(k.b) >= writeBatch && cap(k.b) <= 4*writeBatch:
		largeChunks.Put(k)
	}
}

// say appends one packet to what will be written. s.mu is held; the caller sees to
// it that somebody flushes.
func (c *conn) say(add func(dst []byte) []byte) {
	c.b.count.answers.Add(1)
	c.put(add)
}

// put is say for packets that are counted elsewhere.
func (c *conn) put(add func(dst []byte) []byte) {
	if c.closed {
		return
	}
	if c.out == nil {
		c.out = smallChunk()
	}
	c.out.b = add(c.out.b)
}

// setWindow bounds the messages on the way to the client by n. It begins with fewer, and
// each that is acknowledged lets one more go: what acknowledges nothing, a machine that has
// gone away, does not make the broker write to it what nobody takes.
func (c *conn) setWindow(n int) {
	c.window = min(n, firstWindow)
	c.opens = n - c.window
}

// sendable reports whether fill would find anything. s.mu is held.
func (c *conn) sendable() bool {
	s := c.s
	return c.out != nil || c.sealed() || c.resend < c.resendEnd && c.unacked < c.window ||
		s.pending.n > 0 && (c.room() || s.pending.at(s.pending.first).qos() == 0)
}

// room reports whether one more message of QoS 1 or 2 may be sent: the client says how
// many it takes [MQTT-3.3.4-9], [MQTT-4.9.0-2], the broker how many it keeps, also of those that are
// acknowledged behind one that is not. s.mu is held.
func (c *conn) room() bool {
	return c.unacked < c.window && c.s.inflight.n < c.b.opt.MaxInflight && c.resend >= c.resendEnd
}

// fill takes what may be written now: answers first, whatever the window is
// [MQTT-3.3.4-10], [MQTT-4.9.0-3], then what has to be sent again, then the queue as far
// as the window allows. s.mu is held. nil: nothing.
func (c *conn) fill() *chunk {
	s := c.s
	if c.closed {
		return c.lastChunk()
	}
	if !c.sendable() {
		return nil
	}
	k := c.out
	c.out = nil
	if c.outRoom != nil {
		close(c.outRoom)
		c.outRoom = nil
	}
	if c.resend == c.resendEnd && s.pending.n == 0 {
		return k
	}
	large := largeChunks.Get().(*chunk)
	if k != nil {
		large.b = append(large.b, k.b...)
		putChunk(k)
	}
	sent, payload := 0, 0
	// [MQTT-4.4.0-1], [MQTT-4.6.0-1]: again, in the order of the first time, with DUP
	// [MQTT-3.3.1-1] and the identifier of the first time [MQTT-2.3.1-4], and whatever
	// has expired meanwhile [MQTT-4.3.3-7]. It is kept until PUBACK [MQTT-4.3.2-3], PUBREC
	// [MQTT-4.3.3-3] or PUBCOMP [MQTT-4.3.3-5].
	c.resend = max(c.resend, s.inflight.first)
	for c.resend < c.resendEnd && len(large.b) < writeBatch && c.unacked < c.window {
		it := s.inflight.at(c.resend)
		if it.flags&itemHold != 0 { // proceed comes back to it
			break
		}
		id := packetID(c.resend)
		c.resend++
		switch {
		case it.flags&itemDone != 0:
			continue
		case it.flags&itemReleased != 0 && c.released:
		case it.flags&itemReleased != 0:
			large.b = mqtt.AppendPubrel(large.b, c.version, mqtt.Pubrel{PacketID: id})
		case it.flags&itemUnsent != 0 && it.m.expired(c.b): // [MQTT-3.3.2-5]
			c.unacked++ // which done takes back
			s.done(c.b, c.resend-1)
			c.b.drop(dropMessageExpired, 1)
			continue
		default:
			before := len(large.b)
			if large.b = c.appendItem(large.b, *it, id, it.flags&itemUnsent == 0); len(large.b) == before {
				c.unacked++ // which done takes back
				s.done(c.b, c.resend-1)
				continue
			}
			it.flags &^= itemUnsent
			sent++
			payload += len(it.m.payload)
		}
		c.unacked++
	}
	large.b = c.fillReleased(large.b)
	for c.resend >= c.resendEnd && s.pending.n > 0 && len(large.b) < writeBatch {
		qos := s.pending.at(s.pending.first).qos()
		if qos > 0 && !c.room() {
			break
		}
		if qos == 2 && s.pending.at(s.pending.first).seq != 0 {
			c.stage()
			break
		}
		it := s.pending.pop()
		if it.m.expired(c.b) { // [MQTT-3.3.2-5]
			s.discard(c.b, &it)
			c.b.drop(dropMessageExpired, 1)
			continue
		}
		before := len(large.b)
		if qos == 0 {
			large.b = c.appendItem(large.b, it, 0, false)
		} else {
			large.b = c.appendItem(large.b, it, packetID(s.inflight.end()), it.flags&itemAgain != 0)
		}
		switch {
		case qos == 0:
			s.release(c.b, it.m)
		case len(large.b) == before: // it is as good as sent [MQTT-3.1.2-25]
			s.discard(c.b, &it)
			continue
		default:
			s.inflight.push(it)
			c.unacked++
		}
		sent++
		payload += len(it.m.payload)
	}
	c.b.count.delivered.Add(uint64(sent))
	c.b.count.payloadOut.Add(uint64(payload))
	if len(large.b) == 0 {
		putChunk(large)
		return nil
	}
	return large
}

// stage puts messages in flight that are not sent yet, from one of QoS 2 on, as many as
// there is room for: their packet identifiers are stored first, so that a broker that was
// killed goes on with the same ones and nothing of QoS 2 arrives twice. s.mu is held.
func (c *conn) stage() {
	s := c.s
	from, unacked := s.inflight.end(), c.unacked
	for s.pending.n > 0 && unacked < c.window && s.inflight.n < c.b.opt.MaxInflight {
		if s.pending.at(s.pending.first).qos() == 0 {
			break
		}
		it := s.pending.pop()
		if it.m.expired(c.b) { // [MQTT-3.3.2-5]
			s.discard(c.b, &it)
			c.b.drop(dropMessageExpired, 1)
			continue
		}
		if it.flags&itemAgain == 0 {
			it.flags |= itemUnsent
		}
		s.hold(&it)
		s.inflight.push(it)
		unacked++
	}
	c.resend, c.resendEnd = from, s.inflight.end()
}

// hold lets the journal store that it, which is about to be in flight, may be sent, if it
// is of QoS 2 and stored. s.mu is held.
func (s *session) hold(it *item) {
	if it.qos() == 2 && it.seq != 0 {
		it.flags |= itemHold
		s.journal.stage(s, it.seq, s.inflight.end(), false, nil)
	}
}

// fillReleased sends PUBREL again where that stands behind a PUBLISH for which the window
// has no room: the window holds for PUBLISH alone [MQTT-3.3.4-10]. s.mu is held.
func (c *conn) fillReleased(dst []byte) []byte {
	if c.released || c.resend >= c.resendEnd || c.unacked < c.window {
		return dst
	}
	c.released = true
	for pos := c.resend; pos < c.resendEnd; pos++ {
		if c.s.inflight.at(pos).flags&(itemReleased|itemDone|itemHold) == itemReleased {
			dst = mqtt.AppendPubrel(dst, c.version, mqtt.Pubrel{PacketID: packetID(pos)})
		}
	}
	return dst
}

// appendItem encodes a message, or nothing if the client does not take one so large.
// The topic and the size were checked when it came in, so the encoder has nothing to
// refuse. s.mu is held.
//
// DUP is what this delivery is, not what the publisher said [MQTT-3.3.1-3]: 0 at first
// [MQTT-4.3.2-2] of MQTT 5, [MQTT-4.3.3-2] of MQTT 5, and at QoS 0 [MQTT-4.3.1-1].
func (c *conn) appendItem(dst []byte, it item, id uint16, dup bool) []byte {
	p := mqtt.Publish{
		Dup: dup, QoS: it.qos(), Retain: it.flags&itemRetain != 0,
		Topic: it.m.topic, PacketID: id, Payload: it.m.payload,
	}
	if c.v5 != nil {
		return c.appendItemV5(dst, it, p)
	}
	dst, err := mqtt.AppendPublish(dst, c.version, &p)
	if err != nil {
		c.b.log.Error("message cannot be encoded", "client_id", c.s.id, "topic", it.m.topic, "error", err)
	}
	return dst
}

func (c *conn) appendItemV5(dst []byte, it item, p mqtt.Publish) []byte {
	v := c.v5
	f := mqtt.Forward{Publish: p}
	if m := it.m.more; m != nil {
		f.Forwardable, f.SubscriptionIDs = m.props, m.ids
		if m.expires > 0 { // [MQTT-3.3.2-6]; what was begun is completed also later [MQTT-4.3.3-13]
			left := max(0, m.expires-c.b.now())
			f.HasExpiry, f.Expiry = true, uint32((left+time.Second-1)/time.Second)
		}
	}
	var one [1]uint32
	if it.id > 0 {
		one[0] = it.id
		f.SubscriptionIDs = one[:]
	}
	var known bool
	if f.TopicAlias, known = v.alias(p.Topic); known {
		f.Topic = ""
	}
	if v.maxPacket > 0 && f.Size(mqtt.V5) > v.maxPacket {
		if f.TopicAlias > 0 && !known { // it may do without a new alias
			delete(v.out, p.Topic)
			f.TopicAlias = 0
		}
		if f.Size(mqtt.V5) > v.maxPacket { // [MQTT-3.1.2-24]
			c.b.drop(dropTooLarge, 1)
			return dst
		}
	}
	return mqtt.AppendForward(dst, mqtt.V5, &f)
}

// wake starts a writer for what was queued, if none is at it.
func (c *conn) wake() {
	if c.sock != nil {
		c.flushNow()
		return
	}
	s := c.s
	s.mu.Lock()
	c.dirty = false
	start := !c.flushing && !c.closed && c.sendable()
	if start {
		c.flushing = true
	}
	s.mu.Unlock()
	if start {
		c.b.wg.Add(1)
		go func() {
			defer c.b.wg.Done()
			c.flush(true)
		}()
	}
}

// flushNow writes what there is as far as the socket takes it at once, and leaves
// the rest to a writer.
func (c *conn) flushNow() {
	s := c.s
	s.mu.Lock()
	c.dirty = false
	start := !c.flushing && !c.closed && c.sendable()
	if start {
		c.flushing = true
	}
	s.mu.Unlock()
	if start {
		c.flush(false)
	}
}

// flush writes until there is nothing left. The caller has set flushing. With
// wait it may block; else a goroutine takes over when the socket is full.
func (c *conn) flush(wait bool) {
	s := c.s
	for n := 0; ; n++ {
		if n == flushTurn && !wait && c.sock != nil { // the caller has others to serve
			c.b.wg.Go(func() { c.flush(true) })
			return
		}
		s.mu.Lock()
		k := c.fill()
		nothing := k == nil && (c.closed || !c.sealed())
		left := false // the socket, by finish
		if o := c.sock; o != nil {
			left = c.closed && o.writing
			o.writing, o.room = !nothing, false
		}
		if nothing {
			c.flushing = false
			c.tellIdle()
			s.mu.Unlock()
			if left {
				c.sock.close()
			}
			return
		}
		s.mu.Unlock()
		if k != nil {
			c.b.count.bytesOut.Add(uint64(len(k.b)))
		}
		if c.sock != nil {
			if k = c.seal(k); k == nil || !c.push(k) {
				return
			}
			continue
		}
		err := c.tryWrite(k)
		switch {
		case err != nil:
		case k.done == len(k.b):
		case wait:
			err = c.writeAll(k.b[k.done:])
		default:
			c.b.wg.Add(1)
			go func() {
				defer c.b.wg.Done()
				if err := c.writeAll(k.b[k.done:]); err != nil {
					c.lost(k, err)
					return
				}
				putChunk(k)
				c.flush(true)
			}()
			return
		}
		if err != nil {
			c.lost(k, err)
			return
		}
		putChunk(k)
	}
}

// lost ends the connection after a failed write; flushing stays set, so that
// nobody writes again.
func (c *conn) lost(k *chunk, err error) {
	putChunk(k)
	if c.v5 != nil {
		c.s.mu.Lock()
		c.v5.broken = true
		c.tellIdle()
		c.s.mu.Unlock()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.kick(causeStalled)
	} else {
		c.kick(causeClosed)
	}
}

// lastChunk is what is written after all when the connection is closed. s.mu is held.
func (c *conn) lastChunk() (k *chunk) {
	if c.v5 != nil {
		k, c.v5.last = c.v5.last, nil
	}
	return k
}

// tellIdle tells sayGoodbye that nobody writes any more. s.mu is held.
func (c *conn) tellIdle() {
	if v := c.v5; v != nil && v.idle != nil {
		close(v.idle)
		v.idle = nil
	}
}

// writeAll writes b and waits where the socket is full. It fails when the peer
// takes nothing for StallTimeout.
func (c *conn) writeAll(b []byte) error {
	for {
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.b.opt.StallTimeout))
		if c.kicked() { // whose deadline this may have overwritten
			return os.ErrDeadlineExceeded
		}
		n, err := c.nc.Write(b)
		b = b[n:]
		if len(b) == 0 {
			return nil
		}
		// A TLS connection is of no use after a deadline; a socket goes on.
		if n > 0 && c.raw != nil && errors.Is(err, os.ErrDeadlineExceeded) && !c.kicked() {
			continue
		}
		return err
	}
}
