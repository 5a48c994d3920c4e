package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// DefaultLocalBytes is the default of LocalOptions.MaxBytes.
const DefaultLocalBytes = 32 << 10

// What Open and the methods of a Local return.
var (
	// ErrEnded: the session was closed, or another connection has taken it over.
	ErrEnded = errors.New("session has ended")
	// ErrDenied: the access control list, or a bound of the broker, says no.
	ErrDenied = errors.New("not allowed")
	// ErrUnavailable: there is no room for one more session, the broker ends, or the
	// connection that has the session does not let go of it.
	ErrUnavailable = errors.New("broker has no session to give")
)

// LocalOptions say whose session a Local is.
type LocalOptions struct {
	ClientID string
	Clean    bool     // begin with nothing, and leave nothing
	User     string   // to whom the session belongs, see Login.User
	Access   Access   // nil: everything is allowed
	Remote   net.Addr // for the log and OnSession; may be nil
	// MaxBytes bounds what waits for the session, as MaxSessionQueueBytes does for
	// sessions without a connection. 0: DefaultLocalBytes.
	MaxBytes int64
	// Ready is called when there may be something for Next, after Next has said that
	// there is nothing. Ended is called when another connection takes the session over,
	// after its will was published; never after Close. Both are called on any
	// goroutine, must not block, and must not call the Local.
	Ready, Ended func()
}

// Local is a client of the broker inside the process, without a connection: package
// gateway has one for each device it serves. It holds no goroutine and no buffer, so
// a device that sleeps for a day costs its session and no more.
//
// The queue of the session is the buffer of the device. Nobody waits for a Local: at
// its bound the oldest message of QoS 0 makes room; where there is none, the newest
// message is dropped and counted (offline_session_full), as for a session without a
// connection.
//
// What a client is told and may build on has to be stored first, if the session is: so
// Publish, Release, Received, Subscribe and Unsubscribe take a function that they call
// then, from any goroutine; at once if there is nothing to wait for. It must not block.
//
// The methods may be called from any goroutine. Publish, Open and Close may block in
// handlers; the others do not.
type Local struct {
	b      *Broker
	s      *session
	opt    LocalOptions
	remote string
	ending sync.Mutex
	will   *mqtt.Will // guarded by s.mu
	closed bool       // guarded by s.mu
	asleep bool       // Next had nothing: Ready is due. Guarded by s.mu
	sent   bool       // the message at the head of inflight was given by this Local. Guarded by s.mu
}

// Delivery is a message on its way to the client of a Local.
type Delivery struct {
	Topic    string
	Payload  []byte // must not be changed
	QoS      byte
	Retain   bool
	Dup      bool   // was given before, by this Local or one before it
	Released bool   // QoS 2, and the client has it (PUBREC): only PUBREL and PUBCOMP are left
	PacketID uint16 // QoS 1 and 2; the same for the same message, also in a later Local
}

// Open takes the session of a client, or makes one. present reports whether there was
// one. A connection that has it is ended first, as by a CONNECT [MQTT-3.1.4-2].
func (b *Broker) Open(o LocalOptions) (l *Local, present bool, err error) {
	if o.ClientID == "" {
		return nil, false, fmt.Errorf("broker: local session without a client id: %w", ErrDenied)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultLocalBytes
	}
	l = &Local{b: b, opt: o}
	if o.Remote != nil {
		l.remote = o.Remote.String()
	}
	s, err := b.vacate(&o) // with b.mu held if err is nil
	if err != nil {
		return nil, false, fmt.Errorf("broker: session of %.64q: %w", o.ClientID, err)
	}
	var stale *session
	if s != nil && (o.Clean || s.clean) {
		stale, s = s, nil
		b.forget(stale)
		b.forgetWill(stale, true)
	}
	present = s != nil
	if s == nil {
		if len(b.sessions) >= b.opt.MaxSessions || b.closing {
			b.mu.Unlock()
			if stale != nil {
				b.end(stale)
			}
			return nil, false, fmt.Errorf("broker: session of %.64q: %w", o.ClientID, ErrUnavailable)
		}
		b.lastNr++
		s = &session{id: o.ClientID, nr: b.lastNr, user: o.User}
		b.sessions[s.id] = s
	}
	s.clean, s.local, l.s = o.Clean, l, s
	if s.expiry = b.opt.SessionExpiry; o.Clean {
		s.expiry = 0
	}
	b.cancel(s.ends)
	s.ends = nil
	b.forgetWill(s, false)
	b.mu.Unlock()
	if stale != nil {
		was := stale.stored()
		b.end(stale)
		if was {
			b.waitFor(b.journal.committed(), nil)
		}
	}
	s.mu.Lock()
	s.taker = l
	s.store(b)
	s.mu.Unlock()
	if f := b.opt.OnSession; f != nil {
		f(SessionEvent{ClientID: s.id, Connected: true, Version: mqtt.V311, Clean: o.Clean, Remote: l.remote})
	}
	return l, present, nil
}

// vacate gives the session of a client once nobody has it, or nil if there is none. It
// returns with b.mu held unless it fails.
func (b *Broker) vacate(o *LocalOptions) (*session, error) {
	var timeout <-chan time.Time
	for {
		b.mu.Lock()
		s := b.sessions[o.ClientID]
		switch {
		case s == nil:
			return nil, nil
		case s.user != o.User:
			b.mu.Unlock()
			return nil, ErrDenied
		case s.local != nil:
			old := s.local
			b.mu.Unlock()
			old.takenOver()
			continue
		case s.owner == nil:
			return s, nil
		}
		old := s.owner
		if old.ended == nil {
			old.ended = make(chan struct{})
		}
		ended := old.ended
		b.mu.Unlock()
		old.kick(causeTakeover)
		if timeout == nil {
			timer := time.NewTimer(b.opt.ConnectTimeout)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-ended:
		case <-timeout:
			return nil, ErrUnavailable
		case <-b.stop:
			return nil, ErrUnavailable
		}
	}
}

// takenOver ends a Local for another connection of the same client: its will goes out
// [MQTT-3.1.4-2], and its session is free.
func (l *Local) takenOver() {
	if l.detach(true, causeTakeover) && l.opt.Ended != nil {
		l.opt.Ended()
	}
}

// Close lets go of the session. With lost the will is published; without it, it is
// forgotten, as by a DISCONNECT.
func (l *Local) Close(lost bool) {
	why := causeDisconnect
	if lost {
		why = causeKeepAlive
	}
	l.detach(lost, why)
}

// Shutdown is Close when the gateway ends and the client has not left: no will goes out,
// and OnSession hears of a shutdown.
func (l *Local) Shutdown() { l.detach(false, causeShutdown) }

func (l *Local) detach(lost bool, why cause) bool {
	s, b := l.s, l.b
	l.ending.Lock() // whoever wants the session waits until it is free
	defer l.ending.Unlock()
	s.mu.Lock()
	if l.closed {
		s.mu.Unlock()
		return false
	}
	l.closed = true
	will := l.will
	s.taker = nil
	clean := s.clean // constant from here on
	if !clean {
		s.trim(b)
	}
	s.mu.Unlock()
	if clean { // before the will, which it shall not get itself
		s.end(b)
	}
	if lost && will != nil && !b.reserved(will.Topic) {
		if err := l.publish(&Inbound{Topic: will.Topic, Payload: will.Payload, QoS: will.QoS, Retain: will.Retain, Will: true}, nil); err != nil {
			b.log.Warn("will of a local session not published", slog.String("client_id", s.id), slog.Any("error", err))
		}
	}
	if f := b.opt.OnSession; f != nil {
		f(SessionEvent{ClientID: s.id, Version: mqtt.V311, Clean: clean, Remote: l.remote, Reason: why.String()})
	}
	b.mu.Lock()
	s.local = nil
	b.leave(s)
	b.mu.Unlock()
	return true
}

// SetWill replaces the will; nil: there is none any more. The broker keeps it.
func (l *Local) SetWill(w *mqtt.Will) error {
	if w != nil {
		if err := topic.CheckName(w.Topic); err != nil {
			return fmt.Errorf("broker: will of %.64q: %w", l.s.id, err)
		}
		if a := l.opt.Access; a != nil && !a.Publish(w.Topic) {
			return fmt.Errorf("broker: will of %.64q to %.64q: %w", l.s.id, w.Topic, ErrDenied)
		}
	}
	l.s.mu.Lock()
	l.will = w
	l.s.mu.Unlock()
	return nil
}

// Keep says whether the session outlives this Local: with clean it ends with it. Open
// begins with what LocalOptions.Clean says.
func (l *Local) Keep(clean bool) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if !l.closed {
		l.s.clean = clean
		if l.s.expiry = l.b.opt.SessionExpiry; clean {
			l.s.expiry = 0
		}
		l.s.store(l.b)
	}
}

// Subscribe adds or replaces a subscription, and queues its retained messages once that
// is stored. Right before that done is called, which may be nil: the client may be told
// so by SUBACK. It is not called if Subscribe fails.
func (l *Local) Subscribe(filter string, qos byte, done func()) error {
	b, s := l.b, l.s
	inner, shared, err := checkFilter(filter)
	if err != nil {
		return fmt.Errorf("broker: subscribe to %.64q: %w", filter, err)
	}
	if qos > 2 || len(filter) > b.opt.MaxFilterBytes || levels(filter) > b.opt.MaxFilterLevels ||
		l.opt.Access != nil && !l.opt.Access.Subscribe(inner) {
		return fmt.Errorf("broker: subscribe to %.64q: %w", filter, ErrDenied)
	}
	s.mu.Lock()
	if l.closed {
		s.mu.Unlock()
		return ErrEnded
	}
	if i := s.findSub(filter); i >= 0 {
		s.subs[i].opts.Store(uint64(qos))
		s.noteSub(s.subs[i], false)
	} else if !b.roomForSub(s) {
		s.mu.Unlock()
		return fmt.Errorf("broker: subscribe to %.64q: %d subscriptions: %w", filter, len(s.subs), ErrDenied)
	} else {
		u := &sub{filter: filter, s: s}
		u.opts.Store(uint64(qos))
		s.addSub(u)
		b.addSub(u)
		s.noteSub(u, false)
	}
	j := s.journal
	s.mu.Unlock()
	whenStored(j, func() {
		if done != nil {
			done()
		}
		if !shared {
			l.sendRetained(filter, qos)
		}
	})
	return nil
}

// sendRetained queues the retained messages of a subscription, if it is still there.
func (l *Local) sendRetained(filter string, qos byte) {
	b, s := l.b, l.s
	s.mu.Lock()
	if l.closed || s.findSub(filter) < 0 { // ended while it was being stored
		s.mu.Unlock()
		return
	}
	b.retained.match(filter, func(m *message, mqos byte) {
		if !m.expired(b) {
			s.pushLocal(b, l, item{m: m, flags: itemFlags(min(qos, mqos)) | itemRetain})
		}
	})
	ready := l.wakeLocked()
	s.mu.Unlock()
	if ready {
		l.opt.Ready()
	}
}

func levels(filter string) int { return strings.Count(filter, "/") + 1 }

// Unsubscribe ends a subscription; one that is not there is none. done, which may be nil,
// is called when the client may be told so by UNSUBACK.
func (l *Local) Unsubscribe(filter string, done func()) {
	l.b.unsubscribe(l.s, filter)
	l.s.mu.Lock()
	j := l.s.journal
	l.s.mu.Unlock()
	whenStored(j, done)
}

// Subscriptions calls f for each subscription of the session.
func (l *Local) Subscriptions(f func(filter string, qos byte)) {
	l.s.mu.Lock()
	subs := l.s.subs[:len(l.s.subs):len(l.s.subs)]
	l.s.mu.Unlock()
	for _, u := range subs {
		f(u.filter, u.qos())
	}
}

// Next gives the next message for the client; false: there is none, or one of QoS 1 or
// 2 has not been acknowledged: one is on the way at a time. After that Ready will be
// called. The first Next of a Local gives again what a former one gave and was not
// acknowledged.
func (l *Local) Next() (d Delivery, ok bool) {
	s, b := l.s, l.b
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.closed {
		return d, false
	}
	if s.inflight.n > 0 {
		if l.sent {
			l.asleep = true
			return d, false
		}
		for pos := s.inflight.first; pos < s.inflight.end(); pos++ {
			it := s.inflight.at(pos)
			if it.flags&itemDone != 0 {
				continue
			}
			if it.flags&itemHold != 0 { // the journal calls Ready
				l.asleep = true
				return d, false
			}
			l.sent = true
			d = Delivery{QoS: it.qos(), Dup: it.flags&itemUnsent == 0, Released: it.flags&itemReleased != 0, PacketID: packetID(pos)}
			if m := it.m; m != nil {
				d.Topic, d.Payload, d.Retain = m.topic, m.payload, it.flags&itemRetain != 0
			}
			it.flags &^= itemUnsent
			return d, true
		}
	}
	s.dropDue(b)
	if s.pending.n == 0 {
		l.asleep = true
		return d, false
	}
	it := s.pending.pop()
	if it.qos() == 2 && it.seq != 0 { // its packet identifier is stored first, see conn.stage
		it.flags |= itemUnsent
		s.hold(&it)
		s.inflight.push(it)
		l.asleep = true
		return d, false
	}
	d = Delivery{Topic: it.m.topic, Payload: it.m.payload, QoS: it.qos(), Retain: it.flags&itemRetain != 0}
	b.count.delivered.Add(1)
	if d.QoS == 0 {
		s.release(b, it.m)
		return d, true
	}
	d.PacketID, d.Dup = packetID(s.inflight.end()), it.flags&itemAgain != 0
	s.inflight.push(it)
	l.sent = true
	return d, true
}

// Received notes PUBREC of the client for a delivery of QoS 2. done, which may be nil, is
// called when the client may let go of it, by PUBREL: from then on it is not given again.
// It is called also if there is no such delivery, or no more.
func (l *Local) Received(id uint16, done func()) {
	s := l.s
	s.mu.Lock()
	if pos, ok := s.find(id); ok {
		if it := s.inflight.at(pos); it.qos() == 2 && it.flags&itemUnsent == 0 {
			s.released(l.b, pos)
		}
	}
	j := s.journal
	s.mu.Unlock()
	whenStored(j, done)
}

// Done ends a delivery of QoS 1 or 2: the client has acknowledged it, or can never get
// it.
func (l *Local) Done(id uint16) {
	s := l.s
	s.mu.Lock()
	if pos, ok := s.find(id); ok {
		s.done(l.b, pos)
		l.sent = false
	}
	s.mu.Unlock()
}

// Waiting is the number of messages that Next would give, the one under way included.
func (l *Local) Waiting() int {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.pending.n + l.s.inflight.n
}

// pushLocal queues a message under the bounds of a Local. s.mu is held.
func (s *session) pushLocal(b *Broker, l *Local, it item) bool {
	n := it.m.size()
	if s.bytes+n > l.opt.MaxBytes {
		s.dropDue(b)
	}
	for s.bytes+n > l.opt.MaxBytes && s.dropOldest(b) { //nolint:revive // each round frees one
	}
	switch {
	case s.bytes+n > l.opt.MaxBytes:
		s.lose(b, dropOfflineFull, 1)
		return false
	case b.offlineBytes.Load()+n > b.opt.MaxQueueBytes/2:
		s.lose(b, dropOfflineAll, 1)
		return false
	}
	s.push(it)
	b.enqueued(n)
	b.offlineBytes.Add(n)
	return true
}

// dropOldest makes room by the oldest message of QoS 0. s.mu is held.
func (s *session) dropOldest(b *Broker) bool {
	for i := range s.pending.n {
		pos := s.pending.first + uint64(i)
		if s.pending.at(pos).qos() > 0 {
			continue
		}
		s.discard(b, s.pending.at(pos))
		b.drop(dropQoS0Full, 1)
		for ; pos > s.pending.first; pos-- { // those before it move up
			*s.pending.at(pos) = *s.pending.at(pos - 1)
		}
		s.pending.pop()
		return true
	}
	return false
}

// enqueueLocal is enqueue for the session of a Local. s.mu is held; the second result
// says that the caller calls Ready after it has let go of it.
func (s *session) enqueueLocal(b *Broker, l *Local, it item) (taken, ready bool) {
	taken = s.pushLocal(b, l, it)
	return taken, taken && l.wakeLocked()
}

func (l *Local) wakeLocked() bool {
	if !l.asleep || l.s.pending.n == 0 || l.opt.Ready == nil {
		return false
	}
	l.asleep = false
	return true
}
