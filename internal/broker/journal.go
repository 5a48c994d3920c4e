package broker

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// journal brings what happens to stored sessions and to retained messages into
// Options.Store. Everybody notes changes in memory, in the batch that is open; one
// goroutine, of Run, commits a batch while the next one gathers, so that many messages
// share one sync. What may be said only once it is stored waits for its batch:
//
//	publisher                broker                       store
//	PUBLISH ────────────────> queues, notes
//	                          batch ──────Commit────────>
//	                                <────────────────────  synced
//	<──────── PUBACK, PUBREC
//
// What was noted and has become superfluous before its batch is committed, such as a
// message that its subscriber has acknowledged meanwhile, is never written.
//
// j.mu is the last of all locks.
type journal struct {
	store SessionStore
	log   *slog.Logger
	now   func() time.Duration // Broker.now

	// gate is held for reading over changes that have to be in the same batch. Whoever
	// holds it waits for nobody.
	gate sync.RWMutex

	mu          sync.Mutex
	open        *batch
	nextItem    uint64
	nextMessage uint64
	nextWill    uint64
	running     bool // Run is there to commit

	more    chan struct{} // the open batch is not empty
	stop    chan struct{} // closed when nothing is noted any more
	stopped chan struct{} // closed when run has returned
	last    time.Duration // how long commits are tried after stop
	err     error         // of the last commit, once stopped is closed

	pending                    atomic.Int64 // bytes not committed, about
	commits, failures, written atomic.Uint64
}

// stored is what the journal knows of a message; all copies of it share one.
// journal.mu guards it.
type stored struct {
	id   uint64
	refs int // items that need it
}

const (
	// maxUncommitted is how many bytes of changes gather before the readers of
	// publishers wait for the store.
	maxUncommitted = 32 << 20
	changeOverhead = 128 // bytes that one change stands for, about
)

func newJournal(store SessionStore, log *slog.Logger, now func() time.Duration) *journal {
	return &journal{
		store: store, log: log, now: now, open: &batch{firstItem: 1, firstMessage: 1}, nextItem: 1, nextMessage: 1, nextWill: 1,
		last: lastCommits, more: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// batch is what is committed at once.
type batch struct {
	firstItem, firstMessage uint64
	items                   []newItem  // from firstItem on
	messages                []*message // from firstMessage on; nil: not needed any more
	live                    int        // changes that are not superfluous

	sent          []SentItem // of items of earlier batches
	done, dropped []uint64   // items and messages of earlier batches
	sessions      []StoredSession
	subscriptions []StoredSubscription
	received      []StoredReceived
	wills         []StoredWill
	ended         []uint64

	bytes int64

	// Afterwards:
	acks  []Ack
	comps []heldComp
	holds []hold
	then  []func()
	over  chan struct{} // closed then; nil: nobody waits
}

// newItem is an item that a batch brings.
type newItem struct {
	session  uint64
	message  uint64 // its id
	m        *message
	id       uint32
	flags    itemFlags
	sent     bool
	gone     bool
	position uint64
}

type heldComp struct {
	c *conn
	p mqtt.Pubcomp
}

// hold is an item whose state has to be stored before the next step is taken with it.
type hold struct {
	s        *session
	position uint64
	seq      uint64
}

// change gives the open batch. j.mu is held.
func (j *journal) change(bytes int64) *batch {
	bt := j.open
	bt.bytes += bytes
	j.pending.Add(bytes)
	select {
	case j.more <- struct{}{}:
	default:
	}
	return bt
}

// put notes an item of a session, 0: of the retained messages, and gives it its number.
func (j *journal) put(session uint64, it *item) {
	st := it.m.more.stored
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead)
	if st.refs == 0 {
		st.id = j.nextMessage
		j.nextMessage++
		bt.messages = append(bt.messages, it.m)
		bt.live++
		bt.bytes += it.m.size()
		j.pending.Add(it.m.size())
	}
	st.refs++
	it.seq = j.nextItem
	j.nextItem++
	bt.items = append(bt.items, newItem{session: session, message: st.id, m: it.m, id: it.id, flags: it.flags})
	bt.live++
}

// remove notes that an item is not needed any more. m is nil if it was released.
func (j *journal) remove(seq uint64, m *message) {
	if m == nil {
		j.removeStored(seq, nil, 0)
	} else {
		j.removeStored(seq, m.more.stored, m.size())
	}
}

// removeStored is remove without the message.
func (j *journal) removeStored(seq uint64, st *stored, size int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead / 8)
	if seq >= bt.firstItem {
		bt.items[seq-bt.firstItem] = newItem{gone: true}
		bt.live--
	} else {
		bt.done = append(bt.done, seq)
		bt.live++
	}
	j.unref(bt, st, size)
}

// unref lets go of a message; nil: there is none. j.mu is held.
func (j *journal) unref(bt *batch, st *stored, size int64) {
	if st == nil {
		return
	}
	if st.refs--; st.refs > 0 {
		return
	}
	if st.id >= bt.firstMessage {
		bt.messages[st.id-bt.firstMessage] = nil
		bt.live--
		bt.bytes -= size
		j.pending.Add(-size)
		return
	}
	bt.dropped = append(bt.dropped, st.id)
	bt.live++
}

// stage notes the position of an item of QoS 2 that is about to be sent, or with
// released that PUBREC has come for it. The next step waits, see hold. s.mu is held.
func (j *journal) stage(s *session, seq, position uint64, released bool, m *message) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead / 4)
	if seq >= bt.firstItem {
		e := &bt.items[seq-bt.firstItem]
		e.sent, e.position = true, position
		if released {
			e.m, e.message = nil, 0
		}
	} else {
		bt.sent = append(bt.sent, SentItem{Seq: seq, Position: position, Released: released})
		bt.live++
	}
	if released && m != nil {
		j.unref(bt, m.more.stored, m.size())
	}
	bt.holds = append(bt.holds, hold{s, position, seq})
}

// session notes a session as it is now. left: since when it is not connected. s.mu is held.
func (j *journal) session(s *session, expiry time.Duration, left time.Time) {
	st := StoredSession{Nr: s.nr, ClientID: s.id, User: s.user, Expiry: expiry, Left: left}
	for i := range s.pending.n {
		it := s.pending.at(s.pending.first + uint64(i))
		if st.Unsent = it.seq; it.seq != 0 && it.flags&itemAgain == 0 {
			break
		}
		st.Unsent = 0
	}
	j.mu.Lock()
	if st.Unsent == 0 {
		st.Unsent = j.nextItem
	}
	j.mu.Unlock()
	if left.IsZero() { // what waits may be sent from now on
		st.Unsent = 0
	}
	j.noteSession(st)
}

func (j *journal) noteSession(st StoredSession) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead)
	bt.sessions = append(bt.sessions, st)
	bt.live++
}

// will notes a will and gives it a number, if it has none. due: when it goes out; zero:
// its client is connected.
func (j *journal) will(s *session, w *will, due time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead + int64(len(w.topic)+len(w.payload)+len(w.props)))
	if w.id == 0 {
		w.id = j.nextWill
		j.nextWill++
	}
	bt.wills = append(bt.wills, StoredWill{
		ID: w.id, Session: s.nr, ClientID: s.id, User: s.user, Due: due, Version: w.version, Delay: w.delay,
		Topic: w.topic, Payload: w.payload, QoS: w.qos, Retain: w.retain, Properties: w.props, HasExpiry: w.hasExpiry, Expiry: w.expiry,
	})
	bt.live++
}

// willGone notes that a will is not needed any more.
func (j *journal) willGone(id uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead / 4)
	bt.wills = append(bt.wills, StoredWill{ID: id, Gone: true})
	bt.live++
}

// end notes that there is no such session any more; its items have been removed.
func (j *journal) end(nr uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead)
	bt.ended = append(bt.ended, nr)
	bt.live++
}

func (j *journal) subscription(nr uint64, filter string, opts uint64, gone bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead + int64(len(filter)))
	bt.subscriptions = append(bt.subscriptions, StoredSubscription{Session: nr, Filter: filter, Options: opts, Gone: gone})
	bt.live++
}

func (j *journal) receive(r StoredReceived) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead / 4)
	bt.received = append(bt.received, r)
	bt.live++
}

// ack lets a become an acknowledgement once everything noted so far is stored.
func (j *journal) ack(a Ack) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(0)
	bt.acks = append(bt.acks, a)
}

// comp sends PUBCOMP at that time.
func (j *journal) comp(c *conn, p mqtt.Pubcomp) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead / 4)
	bt.comps = append(bt.comps, heldComp{c, p})
}

// then calls f at that time; it must not wait for anything.
func (j *journal) then(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bt := j.change(changeOverhead)
	bt.then = append(bt.then, f)
}

// committed gives a channel that is closed at that time; nil if nobody commits yet.
func (j *journal) committed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.running {
		return nil
	}
	bt := j.change(0)
	if bt.over == nil {
		bt.over = make(chan struct{})
	}
	return bt.over
}

// full reports whether there is too much that is not stored.
func (j *journal) full() bool { return j.pending.Load() > maxUncommitted }

// room gives a channel to wait for if there is too much that is not stored, else nil.
func (j *journal) room() <-chan struct{} {
	if !j.full() {
		return nil
	}
	return j.committed()
}
