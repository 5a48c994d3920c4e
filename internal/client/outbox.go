package client

import (
	"encoding/binary"
	"math"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// Packet identifiers. Those of queued messages follow from their place in the queue: the message with sequence number s has
// 1 + s mod MaxInflight, which is unique within a window of MaxInflight messages, so no table of identifiers is needed.
const (
	idBirth     = MaxInflight + 1
	idFarewell  = MaxInflight + 2
	idSubscribe = MaxInflight + 3 // SUBSCRIBE and UNSUBSCRIBE; one of them is in flight at a time
)

const (
	minSegment = 512
	maxSegment = 64 << 10
	// maxTwo is how many messages of QoS 2 are under way at a time: a Mosquitto that nobody configured takes 20, and ends the
	// connection of a client that sends more.
	maxTwo = 20
	// overhead is what a queued message counts beyond its packet: its entry in the ring, which may be twice as large as needed.
	overhead = 32
)

// progress is how far a queued message has come.
type progress uint8

const (
	queued   progress = iota // not acknowledged, whether sent or not
	released                 // QoS 2: PUBREC came; PUBREL is or will be sent
	finished                 // acknowledged, or dropped at QoS 0
)

// entry describes one message of the queue; its packet stands in a segment.
type entry struct {
	acked func()
	size  uint32
	state progress
	qos   byte
	sent  bool // at least once on some connection
	opens bool // its packet is the first of a segment
}

// place is where a packet begins: a segment, counted from the first one ever, and an offset.
type place struct {
	seg uint64
	off int
}

// boxLimits is what of the server's limits changes packets that are queued already.
type boxLimits struct {
	packet   int  // 0: none
	qos      byte // 0: not connected yet
	noRetain bool
}

// outbox is the queue of outgoing messages: encoded PUBLISH packets in the order of acceptance, from the oldest
// unfinished one (head) to the newest (tail). next is the first one not yet sent on the present connection, fresh the first
// one never sent.
//
//	finished │ sent, unacknowledged │ sent on a former connection │ never sent │
//	        head                   next                         fresh        tail
//
// It is guarded by the client's mutex.
type outbox struct {
	ring           []entry // a power of two; entry s is at s mod len
	head, next     uint64
	fresh, tail    uint64
	headAt, nextAt place
	segs           [][]byte
	first          uint64 // number of segs[0]
	spare          []byte // a small segment kept for the next message
	busy           uint64 // the writer holds segments from this one on
	bytes          int    // as bounded by QueueBytes, without reservations
	two            int    // messages of QoS 2 sent on this connection and not complete
	unsent         int    // bytes of packets from next on
	dropped        uint64 // messages of QoS 0 whose connection ended before they were sent
	finished       uint64 // messages acknowledged
	refused        uint64 // messages larger than the server takes
	expired        uint64 // messages too old to be sent
	limits         boxLimits
	aliases        *aliases // of the present connection; nil: none
	// What is from here on and before strange uses, at QoS 2, packet identifiers that the server may still hold from a client
	// before this one, see stranger.
	here, strange uint64
	expiry        map[uint64]time.Time          // of messages that have one; nil while none has
	refusals      map[uint64]func(*ReasonError) // Refused of those that have one; nil while none has
	gone          map[uint64]func()             // Gone of those that have one; nil while none has
}

var segments = sync.Pool{New: func() any { b := make([]byte, 0, maxSegment); return &b }}

const notBusy = math.MaxUint64

func (o *outbox) at(s uint64) *entry { return &o.ring[s&uint64(len(o.ring)-1)] }

func (o *outbox) empty() bool { return o.head == o.tail }

// id is the packet identifier of the message at s: free, for there are at most MaxInflight [MQTT-2.3.1-2], and the same when it is
// sent again [MQTT-2.3.1-3].
func (o *outbox) id(s uint64) uint16 { return uint16(s%MaxInflight) + 1 }

// append encodes m as the newest message; size is its length as a packet. A message that is no valid PUBLISH changes nothing.
func (o *outbox) append(v mqtt.Version, m *Message, size int) error {
	p := mqtt.Publish{QoS: m.QoS, Retain: m.Retain, Topic: m.Topic, Payload: m.Payload}
	if v == mqtt.V5 {
		p.Properties = outgoing(m.Properties)
	}
	if m.QoS > 0 {
		p.PacketID = 1 // the place is patched when the message is sent
	}
	opens := len(o.segs) == 0
	if !opens {
		last := o.segs[len(o.segs)-1]
		opens = cap(last)-len(last) < size
	}
	var seg []byte
	if opens {
		seg = o.newSegment(size)
	} else {
		seg = o.segs[len(o.segs)-1]
	}
	seg, err := mqtt.AppendPublish(seg, v, &p)
	if err != nil {
		return err
	}
	if opens {
		o.segs = append(o.segs, seg)
		at := place{seg: o.first + uint64(len(o.segs)) - 1}
		if o.next == o.tail {
			o.nextAt = at
		}
		if o.head == o.tail {
			o.headAt = at
		}
	} else {
		o.segs[len(o.segs)-1] = seg
	}
	if o.tail-o.head == uint64(len(o.ring)) {
		o.grow()
	}
	*o.at(o.tail) = entry{acked: m.Acked, size: uint32(size), qos: m.QoS, opens: opens}
	if m.Refused != nil && v == mqtt.V5 && m.QoS > 0 {
		if o.refusals == nil {
			o.refusals = map[uint64]func(*ReasonError){}
		}
		o.refusals[o.tail] = m.Refused
	}
	if m.Gone != nil {
		if o.gone == nil {
			o.gone = map[uint64]func(){}
		}
		o.gone[o.tail] = m.Gone
	}
	if p.Properties.Has(mqtt.PropMessageExpiry) {
		if o.expiry == nil {
			o.expiry = map[uint64]time.Time{}
		}
		o.expiry[o.tail] = time.Now().Add(time.Duration(p.Properties.MessageExpiry) * time.Second)
	}
	o.tail++
	o.bytes += size + overhead
	o.unsent += size
	return nil
}

func (o *outbox) grow() {
	ring := make([]entry, max(4, 2*len(o.ring)))
	for s := o.head; s < o.tail; s++ {
		ring[s&uint64(len(ring)-1)] = *o.at(s)
	}
	o.ring = ring
}

func (o *outbox) newSegment(size int) []byte {
	if o.spare != nil && cap(o.spare) >= size {
		seg := o.spare
		o.spare = nil
		return seg
	}
	want := max(minSegment, 2*size)
	if n := len(o.segs); n > 0 {
		want = max(want, 2*cap(o.segs[n-1]))
	}
	switch {
	case size > maxSegment:
		return make([]byte, 0, size)
	case want >= maxSegment:
		return (*segments.Get().(*[]byte))[:0]
	}
	return make([]byte, 0, want)
}

// dropSegment lets the oldest segment go. One that the writer may still be reading is left to the garbage collector.
func (o *outbox) dropSegment() {
	seg, n := o.segs[0], o.first
	o.segs[0] = nil
	o.segs = o.segs[1:]
	o.first++
	if n >= o.busy {
		return
	}
	switch {
	case cap(seg) == maxSegment:
		seg = seg[:0]
		segments.Put(&seg)
	case cap(seg) <= 2*minSegment:
		o.spare = seg[:0]
	}
}

// advance gives the place behind the packet of entry s that stands at p.
func (o *outbox) advance(p place, s uint64) place {
	p.off += int(o.at(s).size)
	if s+1 < o.tail && o.at(s+1).opens {
		return place{seg: p.seg + 1}
	}
	return p
}

// packet gives the bytes of entry s, which stands at p.
func (o *outbox) packet(p place, s uint64) []byte {
	return o.segs[p.seg-o.first][p.off : p.off+int(o.at(s).size)]
}

// lookup finds the message with a packet identifier among those that were sent.
func (o *outbox) lookup(id uint16) (uint64, bool) {
	if id == 0 || id > MaxInflight {
		return 0, false
	}
	s := o.head + (uint64(id)-1+MaxInflight-o.head%MaxInflight)%MaxInflight
	return s, s < o.fresh && o.at(s).qos > 0
}

// finish marks message s and removes what is finished at the head.
func (o *outbox) finish(s uint64) {
	e := o.at(s)
	if e.qos == 2 {
		o.two--
	}
	e.state, e.acked = finished, nil
	o.finished++
	o.trim()
}

func (o *outbox) trim() {
	for o.head < o.tail && o.at(o.head).state == finished {
		o.bytes -= int(o.at(o.head).size) + overhead
		if o.expiry != nil {
			if delete(o.expiry, o.head); len(o.expiry) == 0 {
				o.expiry = nil
			}
		}
		if o.refusals != nil {
			if delete(o.refusals, o.head); len(o.refusals) == 0 {
				o.refusals = nil
			}
		}
		if o.gone != nil {
			if f := o.gone[o.head]; f != nil {
				f()
			}
			if delete(o.gone, o.head); len(o.gone) == 0 {
				o.gone = nil
			}
		}
		to := o.advance(o.headAt, o.head)
		if o.next == o.head {
			o.unsent -= int(o.at(o.head).size)
		}
		o.head++
		for o.headAt.seg < to.seg {
			o.dropSegment()
			o.headAt.seg++
		}
		o.headAt = to
		if o.next < o.head {
			o.next, o.nextAt = o.head, o.headAt
		}
		if o.fresh < o.head {
			o.fresh = o.head
		}
	}
	if o.empty() && len(o.segs) > 0 {
		for len(o.segs) > 0 {
			o.dropSegment()
		}
		o.segs = nil
		if len(o.ring) > 64 {
			o.ring = nil
		}
	}
}

// rewind begins a new connection: everything unfinished is to be sent again. A session that the server no longer has does not
// remember the PUBRECs it sent, so those messages become PUBLISH packets again: twice rather than never.
func (o *outbox) rewind(sessionPresent bool) {
	o.next, o.nextAt = o.head, o.headAt
	o.unsent = o.bytes - overhead*int(o.tail-o.head)
	o.two = 0
	for s := o.head; s < o.fresh; s++ {
		switch e := o.at(s); {
		case e.state == released && sessionPresent:
			o.two++
		case e.state == released:
			e.state = queued
		}
	}
}

// stranger begins with a server that has a session of which this client knows nothing: that of a process before it, or of the time
// before it went to another server. A message of QoS 2 under an identifier that is not released there would be taken for one that
// came already, and be lost; so PUBREL goes before the first message with each identifier [MQTT-4.3.3-5]. A server that was connected
// before knows what was sent then under the same identifier.
func (o *outbox) stranger(before bool) {
	if o.here, o.strange = o.head, o.head+MaxInflight; before {
		o.here = o.fresh
	}
}

// dropUnsent drops the messages of QoS 0 that the ended connection did not take.
func (o *outbox) dropUnsent() {
	for s := o.next; s < o.tail; s++ {
		if e := o.at(s); e.qos == 0 && e.state != finished {
			e.state = finished
			o.dropped++
		}
	}
	o.trim()
}

// ready says whether there is something to send within a window of unfinished messages.
func (o *outbox) ready(window uint64) bool {
	if o.next == o.tail || o.next-o.head >= window {
		return false
	}
	e := o.at(o.next)
	return e.qos < 2 || e.state != queued || o.two < maxTwo
}

// gather appends to out the byte ranges to be sent next, as few as can be, up to about limit bytes and within a window of
// unfinished messages, and marks them as sent.
func (o *outbox) gather(out [][]byte, window uint64, limit int) [][]byte {
	var run []byte
	total := 0
	if o.aliases != nil {
		o.aliases.begin()
	}
	for total < limit && o.ready(window) {
		e := o.at(o.next)
		if e.state != queued { // finished before its turn came again, or waiting for PUBCOMP
			if run != nil {
				out, run = append(out, run), nil
			}
			o.skip()
			continue
		}
		p := o.packet(o.nextAt, o.next)
		if !o.allowed(e, p) {
			if run != nil {
				out, run = append(out, run), nil
			}
			e.state, e.acked = finished, nil
			o.skip()
			continue
		}
		if e.qos == 2 && o.next >= o.here && o.next < o.strange {
			if run != nil {
				out, run = append(out, run), nil
			}
			out = append(out, mqtt.AppendPubrel(nil, mqtt.V311, mqtt.Pubrel{PacketID: o.id(o.next)})) // the same in each version
		}
		if e.qos > 0 {
			patch(p, o.id(o.next), e.sent)
			if e.qos == 2 {
				o.two++
			}
		} else {
			e.state = finished
		}
		e.sent = true
		if o.busy == notBusy {
			o.busy = o.nextAt.seg
		}
		switch {
		case o.aliases != nil:
			run, out = o.aliases.follow(run, out, p, e.qos, o.limits.packet)
		case run != nil && o.nextAt.off > 0:
			run = run[:len(run)+len(p)]
		default:
			if run != nil {
				out = append(out, run)
			}
			run = p
		}
		total += len(p)
		o.skip()
	}
	if run != nil {
		out = append(out, run)
	}
	o.trim() // messages of QoS 0 are done with
	return out
}

func (o *outbox) skip() {
	o.unsent -= int(o.at(o.next).size)
	o.nextAt = o.advance(o.nextAt, o.next)
	o.next++
	o.fresh = max(o.fresh, o.next)
	o.here = max(o.here, o.next)
}

// patch writes the packet identifier into an encoded PUBLISH, and DUP if it may have been sent before.
func patch(p []byte, id uint16, dup bool) {
	if dup {
		p[0] |= 0x08
	}
	i := behindTopic(p)
	p[i], p[i+1] = byte(id>>8), byte(id)
}

// allowed makes a packet that is about to be sent what the server takes, and tells the server how much is left of its expiry
// interval. It returns false if it cannot be sent: it is too large [MQTT-3.2.2-15], or waited too long.
func (o *outbox) allowed(e *entry, p []byte) bool {
	if o.limits.packet > 0 && int(e.size) > o.limits.packet {
		o.refused++
		return false
	}
	if e.qos > o.limits.qos && o.limits.qos > 0 { // [MQTT-3.2.2-11]
		e.qos = o.limits.qos
		p[0] = p[0]&^0x06 | e.qos<<1
	}
	if o.limits.noRetain { // [MQTT-3.2.2-14]
		p[0] &^= 1
	}
	if o.expiry == nil || e.sent {
		return true
	}
	end, has := o.expiry[o.next]
	if !has {
		return true
	}
	left := time.Until(end)
	if left <= 0 {
		o.expired++
		return false
	}
	// The property stands first, or behind the payload format.
	at := properties(p, e.qos)
	if mqtt.Property(p[at]) == mqtt.PropPayloadFormat {
		at += 2
	}
	binary.BigEndian.PutUint32(p[at+1:], uint32((left+time.Second-1)/time.Second))
	return true
}

// properties gives the place of the first property in an encoded PUBLISH of MQTT 5 that has some.
func properties(p []byte, qos byte) int {
	i := behindTopic(p)
	if qos > 0 {
		i += 2
	}
	for p[i]&0x80 != 0 {
		i++
	}
	return i + 1
}

// behindTopic gives the place behind the topic of an encoded PUBLISH.
func behindTopic(p []byte) int {
	i := 2
	for p[i-1]&0x80 != 0 { // behind the remaining length
		i++
	}
	return i + 2 + int(p[i])<<8 + int(p[i+1])
}

// name gives the topic of message s, which was sent.
func (o *outbox) name(s uint64) string {
	at := o.headAt
	for x := o.head; x < s; x++ {
		at = o.advance(at, x)
	}
	p := o.packet(at, s)
	end := behindTopic(p)
	i := 2
	for p[i-1]&0x80 != 0 {
		i++
	}
	return string(p[i+2 : end])
}
