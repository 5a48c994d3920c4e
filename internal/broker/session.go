package broker

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// session is what a client has at the broker: its subscriptions and what waits
// for it. It lasts as long as the connection at least, and outlives it unless it is
// clean, with all of its state [MQTT-4.1.0-1], MQTT 3.1.1: [MQTT-4.1.0-2].
//
// Lock order: Broker.mu, then session.mu, then the locks of retained and subs.
type session struct {
	id    string
	nr    uint64 // unique in the broker, for sorting
	clean bool   // ends with the connection
	user  string // who made it; constant

	// Guarded by Broker.mu.
	owner  *conn         // the connection that has it, until that has ended completely
	local  *Local        // or the Local that has it
	expiry time.Duration // how long it lasts without a connection; negative: for ever
	ends   *due          // its end in the schedule; nil: not
	will   *delayedWill  // waits for its time or the end of the session; nil: none

	mu       sync.Mutex
	conn     *conn  // nil: not connected
	taker    *Local // has it in place of a connection
	gone     bool   // ended: takes nothing any more
	pending  queue  // not sent yet
	inflight queue  // sent, QoS 1 and 2; the packet identifier follows from the position
	bytes    int64  // of both
	drained  uint64
	pressure *pressure     // over the bound; nil: not
	soonest  time.Duration // when the first of pending expires, about; 0: none does
	subs     []*sub
	subAt    map[string]int // where a filter stands in subs, once they are many
	received *exchanges     // of QoS 2, begun by the client; nil: none
	journal  *journal       // stores it; nil: it is not stored
	loss     *loss          // what was dropped since its client left; nil: nothing
}

// sub is one subscription, of a session or of a handler.
type sub struct {
	filter string
	handle Handler  // only of a handler
	s      *session // only of a session's
	share  *share   // only of a group of sessions
	opts   atomic.Uint64
}

// What is in sub.opts besides the QoS: the options of MQTT 5, and whether the client
// is the bridge of a broker. A bridge gets nothing that it sent itself, and RETAIN as
// published, so that bridges neither loop nor lose what is retained.
const (
	subQoS         = 3
	subNoLocal     = 4
	subAsPublished = 8
	subBridge      = 16
	subID          = 32 // the bit from which on there is the subscription identifier
)

// options are sub.opts for what a client asks for. id is 0 for none.
func options(want mqtt.Subscription, id uint32, bridge bool) uint64 {
	o := uint64(want.QoS) | uint64(id)<<subID
	if want.NoLocal {
		o |= subNoLocal
	}
	if want.RetainAsPublished {
		o |= subAsPublished
	}
	if bridge {
		o |= subBridge
	}
	return o
}

func (u *sub) qos() byte { return byte(u.opts.Load() & subQoS) }

// setBridge is called when the client has come back, as the bridge of a broker or not.
func (u *sub) setBridge(bridge bool) {
	o := u.opts.Load() &^ subBridge
	if bridge {
		o |= subBridge
	}
	u.opts.Store(o)
}

// packetID is the packet identifier of the message at a position of inflight:
// 1 to 65,535 and round again, so that an acknowledgement finds its message
// without a search. MaxInflight is at most so many, so that it is free [MQTT-2.2.1-4],
// [MQTT-4.3.2-1], MQTT 5: [MQTT-4.3.3-1].
func packetID(pos uint64) uint16 { return uint16(pos%0xffff) + 1 }

// find gives the position that an acknowledgement is for.
func (s *session) find(id uint16) (pos uint64, ok bool) {
	q := &s.inflight
	off := (uint64(id) - 1 + 0xffff - q.first%0xffff) % 0xffff
	pos = q.first + off
	return pos, id != 0 && off < uint64(q.n) && q.at(pos).flags&itemDone == 0
}

// push queues a message: its bytes are those of the session from now on. s.mu is held.
func (s *session) push(it item) {
	if j := s.journal; j != nil && it.qos() > 0 {
		j.put(s.nr, &it)
	}
	s.pending.push(it)
	s.bytes += it.m.size()
	if at := it.m.expires(); at > 0 && (s.soonest == 0 || at < s.soonest) {
		s.soonest = at
	}
}

// dropDue takes what has expired out of the queue. s.mu is held.
func (s *session) dropDue(b *Broker) {
	now := b.now()
	if s.soonest == 0 || s.soonest > now {
		return
	}
	s.soonest = 0
	lost := 0
	for range s.pending.n {
		it := s.pending.pop()
		switch at := it.m.expires(); {
		case at == 0:
		case at <= now: // [MQTT-3.3.2-5]
			s.discard(b, &it)
			lost++
			continue
		case s.soonest == 0 || at < s.soonest:
			s.soonest = at
		}
		s.pending.push(it)
	}
	b.drop(dropMessageExpired, lost)
}

// discard lets go of an item that has left the queue, or is done. s.mu is held.
func (s *session) discard(b *Broker, it *item) {
	if it.seq != 0 {
		s.journal.remove(it.seq, it.m)
	}
	s.release(b, it.m)
}

// release takes the bytes of a message off the session. s.mu is held.
func (s *session) release(b *Broker, m *message) {
	if m == nil {
		return
	}
	n := m.size()
	s.bytes -= n
	s.drained++
	if s.conn == nil {
		b.offlineBytes.Add(-n)
	}
	b.unqueue(n)
	s.unpress(b, false)
}

// done is the last acknowledgement of the message at pos: PUBACK or PUBCOMP.
// s.mu is held.
func (s *session) done(b *Broker, pos uint64) {
	it := s.inflight.at(pos)
	s.discard(b, it)
	it.m, it.seq = nil, 0
	it.flags |= itemDone
	if c := s.conn; c != nil && (pos < c.resend || pos >= c.resendEnd) {
		c.unacked--
		if c.opens > 0 {
			c.opens--
			c.window++
		}
	}
	for s.inflight.n > 0 && s.inflight.at(s.inflight.first).flags&itemDone != 0 {
		s.inflight.pop()
	}
}

// puback, pubrec and pubcomp: the client answers what was sent to it. An
// identifier that is not in use is an answer to something older; it is ignored,
// only PUBREC is answered so that the client can let go [MQTT-4.3.3-1] of MQTT 3.1.1,
// [MQTT-4.3.3-4], in the order in which they come [MQTT-4.6.0-4]. After that PUBLISH is not
// sent again [MQTT-4.3.3-6]. PUBREL has no words that could make it too large
// [MQTT-3.6.2-2], [MQTT-3.6.2-3]. A refusal ends the exchange: the message is not sent again
// [MQTT-4.4.0-2], to nobody else either [MQTT-4.8.2-6].

func (s *session) puback(b *Broker, id uint16) {
	s.mu.Lock()
	if pos, ok := s.find(id); ok && s.inflight.at(pos).qos() == 1 {
		s.done(b, pos)
	}
	s.mu.Unlock()
}

func (s *session) pubrec(b *Broker, p mqtt.Pubrec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rel := mqtt.Pubrel{PacketID: p.PacketID}
	pos, ok := s.find(p.PacketID)
	switch {
	case ok && s.inflight.at(pos).qos() != 2:
		return
	case ok && p.Reason.Failed(): // MQTT 5, 4.3.3: that was the last of it
		s.done(b, pos)
		return
	case ok:
		if s.released(b, pos) { // PUBREL goes out once that is stored
			return
		}
	case p.Reason.Failed():
		return
	default:
		rel.Reason = mqtt.ReasonPacketIDNotFound
	}
	if c := s.conn; c != nil {
		c.say(func(dst []byte) []byte { return mqtt.AppendPubrel(dst, c.version, rel) })
	}
}

// released notes PUBREC for the message at pos. held: PUBREL has to wait, see proceed.
// s.mu is held.
func (s *session) released(b *Broker, pos uint64) (held bool) {
	it := s.inflight.at(pos)
	if it.flags&itemReleased == 0 && it.seq != 0 {
		s.journal.stage(s, it.seq, pos, true, it.m)
		it.flags |= itemHold
	}
	s.release(b, it.m)
	it.m = nil
	it.flags |= itemReleased
	return it.flags&itemHold != 0
}

func (s *session) pubcomp(b *Broker, id uint16) {
	s.mu.Lock()
	if pos, ok := s.find(id); ok && s.inflight.at(pos).flags&itemReleased != 0 {
		s.done(b, pos)
	}
	s.mu.Unlock()
}

// findSub gives the session's subscription with exactly this filter [MQTT-3.10.4-1],
// compared byte by byte [MQTT-4.7.3-4]. s.mu is held.
func (s *session) findSub(filter string) int {
	if s.subAt != nil {
		if i, ok := s.subAt[filter]; ok {
			return i
		}
		return -1
	}
	for i, u := range s.subs {
		if u.filter == filter {
			return i
		}
	}
	return -1
}

// manySubs is how many subscriptions are looked through one by one.
const manySubs = 32

// addSub appends a subscription that the session did not have. s.mu is held.
func (s *session) addSub(u *sub) {
	s.subs = append(s.subs, u)
	switch {
	case s.subAt != nil:
		s.subAt[u.filter] = len(s.subs) - 1
	case len(s.subs) > manySubs:
		s.subAt = make(map[string]int, 2*len(s.subs))
		for i, u := range s.subs {
			s.subAt[u.filter] = i
		}
	}
}

// removeSub takes the subscription at i away; the last one takes its place. s.mu is
// held.
func (s *session) removeSub(i int) {
	last := len(s.subs) - 1
	if s.subAt != nil {
		s.subAt[s.subs[last].filter] = i
		delete(s.subAt, s.subs[i].filter)
	}
	s.subs[i], s.subs[last] = s.subs[last], nil
	s.subs = s.subs[:last]
	if last == 0 {
		s.subAt = nil
	}
}

// end lets go of everything. The session takes nothing any more. What was on its way
// to it as a member of a group goes to another member, see share.
func (s *session) end(b *Broker) {
	if j := b.journal; j != nil { // what goes to others leaves here at the same time
		j.gate.RLock()
		defer j.gate.RUnlock()
	}
	s.mu.Lock()
	s.gone = true
	subs := s.subs
	s.subs, s.subAt = nil, nil
	lost := 0
	var shared []item
	for s.inflight.n > 0 {
		it := s.inflight.pop()
		s.discard(b, &it)
		if it.m == nil {
			continue
		}
		if it.m.share() != nil && it.qos() == 1 { // not QoS 2 [MQTT-4.8.2-5]
			shared = append(shared, it)
		}
	}
	for s.pending.n > 0 {
		it := s.pending.pop()
		s.discard(b, &it)
		switch {
		case it.m.share() != nil:
			shared = append(shared, it)
		case it.qos() > 0:
			lost++
		}
	}
	s.pending, s.inflight, s.received = queue{}, queue{}, nil
	if j := s.journal; j != nil {
		j.end(s.nr)
		s.journal = nil
	}
	if said := s.takeLost(b); said != nil {
		b.log.LogAttrs(context.Background(), slog.LevelWarn, "session ended, its client has missed messages", said...)
	}
	s.unpress(b, true)
	s.mu.Unlock()
	b.inParts(len(subs), func(i int) bool {
		b.removeSub(subs[i])
		return true
	})
	lost += b.redistribute(shared)
	if lost > 0 {
		b.drop(dropExpired, lost)
		b.log.Warn("messages were waiting for a session that has ended", slog.String("client_id", s.id), slog.Int("messages", lost))
	}
}
