package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/topic"
)

// ErrStore is returned by New where what is stored contradicts itself.
var ErrStore = errors.New("stored sessions are damaged")

// stored reports whether the journal stores the session.
func (s *session) stored() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal != nil
}

// store tells the journal of the session that somebody has now, and of all there is in it
// if it is to outlive its connection only from now on. s.mu is held.
func (s *session) store(b *Broker) {
	j := b.journal
	if j == nil || s.clean && s.journal == nil {
		return
	}
	j.session(s, s.expiry, time.Time{})
	if s.journal != nil {
		return
	}
	s.journal = j
	for _, u := range s.subs {
		s.noteSub(u, false)
	}
	s.received.all(func(id uint16, r received) {
		j.receive(StoredReceived{Session: s.nr, PacketID: id, Done: r.acked})
	})
	for pos := s.inflight.first; pos < s.inflight.end(); pos++ {
		it := s.inflight.at(pos)
		if it.m == nil || it.flags&itemDone != 0 { // what was released is not stored: a message that the client has already
			continue
		}
		j.put(s.nr, it)
		if it.qos() == 2 {
			j.stage(s, it.seq, pos, false, nil)
		}
	}
	for i := range s.pending.n {
		if it := s.pending.at(s.pending.first + uint64(i)); it.qos() > 0 {
			j.put(s.nr, it)
		}
	}
}

// restorer puts what is stored in its place, before anything runs.
type restorer struct {
	b        *Broker
	sessions map[uint64]*restored
	messages map[uint64]*message
	wall     time.Time
	now      time.Duration
}

// restored is a session whose items come one by one.
type restored struct {
	*session
	left     time.Time
	unsent   uint64 // see StoredSession
	outgoing bool
	messages int64 // not released
	items    []restoredItem
	sent     int // items up to the last one that may have been sent with a packet identifier
}

type restoredItem struct {
	item
	sent     bool
	position uint64
}

// restore reads the store and begins a journal for it.
func (b *Broker) restore(store SessionStore) error {
	j := newJournal(store, b.log, b.now)
	b.journal, b.retained.journal = j, j
	r := &restorer{b: b, sessions: map[uint64]*restored{}, messages: map[uint64]*message{}, wall: time.Now(), now: b.now()}
	if err := store.Load(context.Background(), r); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	for _, s := range r.sessions {
		if err := r.finish(s); err != nil {
			return fmt.Errorf("broker: session of %.64q: %w: %w", s.id, ErrStore, err)
		}
	}
	j.mu.Lock()
	j.open.firstItem, j.open.firstMessage = j.nextItem, j.nextMessage
	j.mu.Unlock()
	r.tidy()
	b.log.Info("sessions restored", "sessions", len(b.sessions), "retained", b.retained.count, "bytes", b.queued.Load())
	return nil
}

// Session implements StoreVisitor.
func (r *restorer) Session(st StoredSession) error {
	if st.Nr == 0 || st.ClientID == "" || r.sessions[st.Nr] != nil ||
		st.Outgoing && r.b.outgoing[st.ClientID] != nil || !st.Outgoing && r.b.sessions[st.ClientID] != nil {
		return fmt.Errorf("session %d of %.64q: %w", st.Nr, st.ClientID, ErrStore)
	}
	s := &session{id: st.ClientID, nr: st.Nr, user: st.User, expiry: st.Expiry, journal: r.b.journal}
	r.b.lastNr = max(r.b.lastNr, s.nr)
	rs := &restored{session: s, left: st.Left, unsent: st.Unsent, outgoing: st.Outgoing}
	r.sessions[s.nr] = rs
	if st.Outgoing {
		r.b.outgoing[s.id] = rs
	} else {
		r.b.sessions[s.id] = s
	}
	return nil
}

// Subscription implements StoreVisitor.
func (r *restorer) Subscription(st StoredSubscription) error {
	s := r.sessions[st.Session]
	if _, _, err := checkFilter(st.Filter); err != nil || s == nil || s.outgoing {
		return fmt.Errorf("subscription of session %d to %.64q: %w", st.Session, st.Filter, ErrStore)
	}
	u := &sub{filter: st.Filter, s: s.session}
	u.opts.Store(st.Options)
	s.subs = append(s.subs, u)
	r.b.addSub(u)
	return nil
}

// Received implements StoreVisitor.
func (r *restorer) Received(st StoredReceived) error {
	s := r.sessions[st.Session]
	if s == nil {
		return fmt.Errorf("packet identifier %d of session %d: %w", st.PacketID, st.Session, ErrStore)
	}
	s.setReceived(st.PacketID, received{acked: st.Done, cut: !st.Done})
	return nil
}

// Will implements StoreVisitor. A client that was connected when the broker ended gets
// some time to come back: it may not know yet that it was lost.
func (r *restorer) Will(st StoredWill) error {
	if err := topic.CheckName(st.Topic); err != nil || st.ID == 0 || st.QoS > 2 || st.ClientID == "" {
		return fmt.Errorf("will %d of %.64q: %w", st.ID, st.ClientID, ErrStore)
	}
	b, j := r.b, r.b.journal
	j.nextWill = max(j.nextWill, st.ID+1)
	b.lastNr = max(b.lastNr, st.Session)
	w := &will{
		id: st.ID, topic: st.Topic, payload: st.Payload, qos: st.QoS, retain: st.Retain, version: st.Version,
		delay: st.Delay, props: st.Properties, hasExpiry: st.HasExpiry, expiry: st.Expiry,
	}
	d := &delayedWill{will: w}
	after := st.Due.Sub(r.wall)
	if st.Due.IsZero() {
		after, d.grace = max(w.delay, b.opt.WillGrace), true
	}
	if s := r.sessions[st.Session]; s != nil && s.will == nil {
		s.will = d
		d.due = b.plan(after, s.session, true)
		return nil
	}
	// The session ended with the connection; what stands in for it ends with the will.
	s := &session{id: st.ClientID, nr: st.Session, user: st.User, clean: true, will: d}
	if b.sessions[s.id] == nil {
		b.sessions[s.id] = s
	}
	s.ends = b.plan(after, s, false)
	return nil
}

// Message implements StoreVisitor.
func (r *restorer) Message(st StoredMessage) error {
	if err := topic.CheckName(st.Topic); err != nil || st.ID == 0 {
		return fmt.Errorf("message %d: %w", st.ID, ErrStore)
	}
	m := &message{topic: st.Topic, payload: st.Payload, more: &more{props: st.Properties, stored: &stored{id: st.ID}}}
	if !st.Expires.IsZero() {
		m.more.expires = max(1, r.now+st.Expires.Sub(r.wall))
	}
	r.messages[st.ID] = m
	r.b.journal.nextMessage = max(r.b.journal.nextMessage, st.ID+1)
	return nil
}

// Item implements StoreVisitor.
func (r *restorer) Item(st StoredItem) error {
	bad := func() error { return fmt.Errorf("item %d of session %d: %w", st.Seq, st.Session, ErrStore) }
	j := r.b.journal
	if st.Seq < j.nextItem || st.QoS > 2 {
		return bad()
	}
	j.nextItem = st.Seq + 1
	m := r.messages[st.Message]
	if m == nil && (st.Message != 0 || !st.Sent) {
		return bad()
	}
	if m != nil {
		m.more.stored.refs++
	}
	if st.Session == 0 {
		r.b.retained.put(m, st.QoS, st.Seq)
		return nil
	}
	s := r.sessions[st.Session]
	if s == nil || st.QoS == 0 || st.Sent && st.QoS != 2 {
		return bad()
	}
	it := restoredItem{item: item{m: m, flags: itemFlags(st.QoS), seq: st.Seq}, sent: st.Sent, position: st.Position}
	if st.Retain {
		it.flags |= itemRetain
	}
	switch {
	case m == nil:
		it.flags |= itemReleased
	case st.QoS == 1 && (s.unsent == 0 || st.Seq < s.unsent):
		it.flags |= itemAgain
	}
	if len(st.SubscriptionIDs) == 1 {
		it.id = st.SubscriptionIDs[0]
	}
	if m != nil && (len(st.SubscriptionIDs) > 1 || st.Share != "") {
		var g *share
		if st.Share != "" {
			if g = r.b.shares[st.Share]; g == nil { // which has no members any more
				g = &share{name: st.Share}
			}
		}
		ids := st.SubscriptionIDs
		if len(ids) == 1 {
			ids = nil // it stands in the item
		}
		it.m = m.with(ids, g)
	}
	s.items = append(s.items, it)
	if st.Sent {
		s.sent = len(s.items)
	}
	return nil
}

// finish builds the queues of a session. What was sent stands in flight at its position
// again; of QoS 1, which has not been given one, as much as lies before.
func (r *restorer) finish(s *restored) error {
	q := &s.inflight
	for i := 0; i < s.sent; {
		next := i
		for !s.items[next].sent {
			if s.items[next].qos() != 1 {
				return errors.New("order of QoS 2")
			}
			next++
		}
		from := s.items[next].position - uint64(next-i)
		switch {
		case from > s.items[next].position || q.n > 0 && (from < q.end() || s.items[next].position-q.first >= maxOutstanding):
			return errors.New("positions of QoS 2")
		case q.n == 0:
			q.first = from
		}
		for q.end() < from { // acknowledged behind one that is not
			q.push(item{flags: itemDone})
		}
		for ; i <= next; i++ {
			q.push(s.items[i].item)
			s.account(s.items[i].m)
		}
	}
	b := r.b
	for _, it := range s.items[s.sent:] {
		s.pending.push(it.item)
		s.account(it.m)
		if at := it.m.expires(); at > 0 && (s.soonest == 0 || at < s.soonest) {
			s.soonest = at
		}
	}
	b.queued.Add(s.bytes)
	b.waiting.Add(s.messages)
	b.offlineBytes.Add(s.bytes)
	if s.left.IsZero() || s.left.After(r.wall) {
		s.left = r.wall // it was connected when the broker ended, whenever that was
	}
	switch {
	case s.outgoing:
	case s.expiry > 0:
		s.ends = b.plan(s.expiry-r.wall.Sub(s.left), s.session, false)
	case s.expiry == 0: // it was to end with its connection
		s.ends = b.plan(0, s.session, false)
	}
	return nil
}

// account adds what a restored item takes.
func (s *restored) account(m *message) {
	if m != nil {
		s.bytes += m.size()
		s.messages++
	}
}

// tidy lets the journal forget what nobody needs, and note since when sessions that were
// connected are not any more.
func (r *restorer) tidy() {
	j := r.b.journal
	for id, m := range r.messages {
		if m.more.stored.refs == 0 {
			j.mu.Lock()
			bt := j.change(changeOverhead)
			bt.dropped = append(bt.dropped, id)
			bt.live++
			j.mu.Unlock()
		}
	}
	for _, s := range r.sessions {
		switch {
		case !s.left.Equal(r.wall):
		case s.outgoing:
			j.noteSession(StoredSession{Nr: s.nr, ClientID: s.id, Expiry: s.expiry, Left: s.left, Outgoing: true})
		default:
			j.session(s.session, s.expiry, s.left)
		}
	}
}
