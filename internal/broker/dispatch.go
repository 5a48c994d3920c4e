package broker

import (
	"bytes"
	"slices"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// work is what a goroutine needs while it spreads messages. It comes from a pool,
// so an idle connection holds none.
type work struct {
	in    Inbound
	subs  []*sub
	dirty []*conn    // connections that something was queued for
	ready []*Local   // the same without a connection
	full  []*session // sessions that the message found over their bound
	wait  []*session // sessions so far over it that the reader waits
	props []byte     // of in, where they differ from those of the packet
	acks  []byte     // acknowledgements of the batch, not handed to the connection yet

	fullTotal, waitTotal bool // the same for the sum of all queues

	once     bool // of QoS 2, from a stored session: it is stored that it has come
	stored   bool // the message waits in what is stored
	handlers int  // that the message is for

	waitStore bool // so much is not stored yet that the reader waits

	packets, published, payload, acked, bytes uint64
	poller                                    *poller // whose turn it is, nil: the goroutine is alone with the connection
	turn                                      uint64
	left                                      *poller // that the turn was handed over to, for a broadcast

	buf [readBuffer]byte
}

// broadcastMin is how many subscriptions make a message one that is spread beside what others bring: a
// tenth of a millisecond.
const broadcastMin = 256

// dispatch gives w.in to every session and handler whose filter matches. from is
// the session that published it, nil for none.
func (b *Broker) dispatch(w *work, from *session) (receivers int) {
	in := &w.in
	w.published++
	w.payload += uint64(len(in.Payload))
	w.stored = false
	switch {
	case in.handlersOnly:
		w.subs = b.subs.Match(in.Topic, w.subs[:0])
		b.sort(w)
	case w.once: // that it has come is stored together with what it has become
		receivers = b.spreadOnce(w, from)
	default:
		receivers = b.spread(w, from)
	}
	// The handlers come last: a subscriber has its copy before anybody acknowledges.
	if w.handlers > 0 {
		in.own()
	}
	for _, u := range w.subs[:w.handlers] {
		u.handle(in)
	}
	w.stored = w.stored || in.kept
	if receivers == 0 && w.handlers == 0 {
		in.reason = mqtt.ReasonNoMatchingSubscribers
	}
	return receivers
}

// spreadOnce is spread for a message of QoS 2 whose sender has a stored session.
func (b *Broker) spreadOnce(w *work, from *session) (receivers int) {
	b.journal.gate.RLock()
	defer b.journal.gate.RUnlock()
	receivers = b.spread(w, from)
	b.journal.receive(StoredReceived{Session: from.nr, PacketID: w.in.packetID, Done: w.handlers == 0})
	return receivers
}

// sort puts the subscriptions that match in order, and counts the handlers.
func (b *Broker) sort(w *work) {
	if len(w.subs) > 1 {
		bySession(w.subs)
	}
	w.handlers = 0
	for w.handlers < len(w.subs) && w.subs[w.handlers].handle != nil {
		w.handlers++
	}
}

// spread gives w.in to the sessions.
func (b *Broker) spread(w *work, from *session) (receivers int) {
	in := &w.in
	var m *message // made only when somebody keeps it
	switch {
	case !in.Retain:
	case b.retained.refuses(in.Topic): // before any of it is copied
		if len(in.Payload) > 0 {
			b.drop(dropRetained, 1)
		}
		w.stored = b.journal != nil
	default:
		m = b.newMessage(in)
		if !b.retained.set(m, in.QoS, b.now()) { // [MQTT-3.3.1-5]
			b.drop(dropRetained, 1)
		}
		w.stored = b.journal != nil
	}
	w.subs = b.subs.Match(in.Topic, w.subs[:0]) // [MQTT-3.3.2-3]
	b.sort(w)
	if len(w.subs)-w.handlers > broadcastMin {
		w.broadcast()
	}
	for subs := w.subs[w.handlers:]; len(subs) > 0; {
		u, n := subs[0], 1
		for u.s != nil && n < len(subs) && subs[n].s == u.s {
			n++
		}
		same := subs[:n]
		subs = subs[n:]
		if m == nil {
			m = b.newMessage(in)
		}
		if u.share != nil {
			if b.deliverShared(w, u.share, m, in) {
				receivers++
			}
			continue
		}
		if it, ok := delivery(same, from, m, in); ok && u.s.enqueue(b, w, it) {
			receivers++
		}
	}
	return receivers
}

// newMessage copies what is kept of a message.
func (b *Broker) newMessage(in *Inbound) *message {
	in.own()
	m := &message{topic: in.Topic, payload: bytes.Clone(in.Payload)}
	if len(in.props) > 0 || in.expires > 0 {
		m.more = &more{props: bytes.Clone(in.props), expires: in.expires}
	}
	if b.journal != nil && (in.QoS > 0 || in.Retain) {
		if m.more == nil {
			m.more = &more{}
		}
		m.more.stored = &stored{}
	}
	return m
}

// bySession puts the subscriptions of one session next to each other, behind the
// handlers and the shared ones.
func bySession(subs []*sub) {
	slices.SortFunc(subs, func(a, b *sub) int {
		switch {
		case a.s == b.s:
			switch {
			case a.s != nil || (a.handle == nil) == (b.handle == nil):
				return 0
			case a.handle != nil:
				return -1
			}
			return 1
		case a.s == nil:
			return -1
		case b.s == nil:
			return 1
		case a.s.nr < b.s.nr:
			return -1
		}
		return 1
	})
}

// delivery is what one session gets of m: one copy for all of its subscriptions that
// match, at the highest QoS of them [MQTT-3.3.5-1], [MQTT-3.3.4-2], with their
// identifiers [MQTT-3.3.4-3], all of them [MQTT-3.3.4-4], for it is one copy and not one
// for each with its own [MQTT-3.3.4-5]. false: it gets none, since it has published it itself.
func delivery(subs []*sub, from *session, m *message, in *Inbound) (it item, ok bool) {
	var qos byte
	var retain bool
	var ids []uint32
	for _, u := range subs {
		o := u.opts.Load()
		if u.s == from && o&(subNoLocal|subBridge) != 0 { // [MQTT-3.8.3-3]
			continue
		}
		ok = true
		qos = max(qos, byte(o&subQoS))
		retain = retain || o&(subAsPublished|subBridge) != 0
		switch id := uint32(o >> subID); {
		case id == 0:
		case it.id == 0:
			it.id = id
		case ids == nil:
			ids = []uint32{it.id, id}
		default:
			ids = append(ids, id)
		}
	}
	it.m, it.flags = m, itemFlags(min(in.QoS, qos)) // [MQTT-3.8.4-6] of MQTT 3.1.1, [MQTT-3.8.4-8]
	if in.Retain && retain {                        // [MQTT-3.3.1-12], [MQTT-3.3.1-13]; MQTT 3.1.1: [MQTT-3.3.1-9]
		it.flags |= itemRetain
	}
	if ids != nil {
		it.id, it.m = 0, m.with(ids, nil)
	}
	return it, ok
}

// with is a copy of m for one delivery, which shares its bytes.
func (m *message) with(ids []uint32, g *share) *message {
	n := &message{topic: m.topic, payload: m.payload, more: &more{ids: ids, share: g}}
	if m.more != nil {
		n.more.props, n.more.expires, n.more.stored = m.more.props, m.more.expires, m.more.stored
	}
	return n
}

// enqueue puts a message into the queue of the session. It returns false if the
// session does not take it; a loss is counted.
//
// Nothing that is acknowledged to the publisher passes it by [MQTT-4.5.0-1], and what
// comes first is sent first [MQTT-4.6.0-5], [MQTT-4.6.0-6].
func (s *session) enqueue(b *Broker, w *work, it item) bool {
	n, qos := it.m.size(), it.qos()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return false
	}
	if s.bytes+n > b.opt.MaxSessionQueueBytes {
		s.dropDue(b) // what has expired makes room first
	}
	if l := s.taker; l != nil {
		taken, ready := s.enqueueLocal(b, l, it)
		w.stored = w.stored || taken && qos > 0 && s.journal != nil
		if ready {
			w.ready = append(w.ready, l)
		}
		return taken
	}
	c := s.conn
	switch {
	case c == nil && qos == 0:
		return false
	case c == nil && s.bytes+n > b.opt.MaxSessionQueueBytes:
		s.lose(b, dropOfflineFull, 1)
		return false
	case c == nil && b.offlineBytes.Load()+n > b.opt.MaxQueueBytes/2:
		s.lose(b, dropOfflineAll, 1)
		return false
	case qos == 0 && s.bytes+n > b.opt.MaxSessionQueueBytes:
		b.drop(dropQoS0Full, 1)
		return false
	case c != nil && c.kicked() && s.bytes+n > b.opt.MaxSessionQueueBytes: // as good as not connected
		s.lose(b, dropOfflineFull, 1)
		return false
	}
	s.push(it)
	if s.journal != nil && qos > 0 {
		w.stored = true
	}
	total := b.enqueued(n)
	if c == nil { // [MQTT-3.1.2-5] of MQTT 3.1.1
		b.offlineBytes.Add(n)
		return true
	}
	if !c.dirty && !c.flushing {
		c.dirty = true
		w.dirty = append(w.dirty, c)
	}
	if s.bytes > b.opt.MaxSessionQueueBytes {
		s.press(b)
		w.full = append(w.full, s)
	}
	if total > b.opt.MaxQueueBytes {
		b.pressTotal()
		w.fullTotal = true
	}
	return true
}

// settle wakes the writers of the connections that something was queued for, and
// adds up the counters. While a poller has its turn, it wakes them afterwards, and many
// are left to the backlog.
func (b *Broker) settle(w *work) {
	w.check()
	if w.poller == nil && !w.handed() {
		w.dirty = b.wakeAll(w.dirty)
	}
	for i, l := range w.ready {
		l.opt.Ready()
		w.ready[i] = nil
	}
	w.ready = w.ready[:0]
	b.tally(w)
}

// tally adds up the counters.
func (b *Broker) tally(w *work) {
	if w.packets > 0 {
		b.count.packets.Add(w.packets)
	}
	if w.published > 0 {
		b.count.published.Add(w.published)
		b.count.payloadIn.Add(w.payload)
	}
	if w.acked > 0 {
		b.count.acked.Add(w.acked)
	}
	if w.bytes > 0 {
		b.count.bytesIn.Add(w.bytes)
	}
	w.packets, w.published, w.payload, w.acked, w.bytes = 0, 0, 0, 0, 0
}

func (b *Broker) getWork() *work { return b.works.Get().(*work) }

func (b *Broker) putWork(w *work) {
	w.clean()
	b.works.Put(w)
}

// clean lets go of what is left of a batch.
func (w *work) clean() {
	w.in, w.left = Inbound{}, nil
	w.clearFull()
	clear(w.subs)
	clear(w.wait)
	w.subs, w.wait, w.waitTotal, w.acks = w.subs[:0], w.wait[:0], false, w.acks[:0]
	w.once, w.stored, w.waitStore, w.handlers = false, false, false, 0
	if cap(w.subs) > 4096 {
		w.subs, w.dirty = nil, nil
	}
	if cap(w.props) > 4096 {
		w.props = nil
	}
}
