package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// attach gives the connection its session: the one there is, or a new one. A
// connection that has it is ended first, and its will published [MQTT-3.1.4-2].
// CONNACK is the first thing the session's queue writes [MQTT-3.2.0-1], [MQTT-3.1.4-4],
// MQTT 5: [MQTT-3.1.4-5], and is written once [MQTT-3.2.0-2]. A session is known by its
// client id [MQTT-3.1.3-2].
func (b *Broker) attach(c *conn, p *mqtt.Connect, ack *mqtt.Connack) mqtt.Reason {
	var s *session
	var timeout <-chan time.Time
	for {
		b.mu.Lock()
		s = b.sessions[p.ClientID]
		if s != nil && s.user != c.user { // or any user could take what waits for another
			b.mu.Unlock()
			b.log.Warn("client id belongs to another user", slog.String("client_id", p.ClientID),
				slog.String("user", c.user), slog.String("remote", c.nc.RemoteAddr().String()))
			return mqtt.ReasonNotAuthorized
		}
		if s == nil || s.owner == nil && s.local == nil {
			break
		}
		if l := s.local; l != nil {
			b.mu.Unlock()
			l.takenOver()
			continue
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
		c.w.leave()
		select {
		case <-ended:
		case <-timeout: // a handler keeps the old connection from ending
			return mqtt.ReasonServerUnavailable
		case <-c.quitting():
			return mqtt.ReasonServerUnavailable
		}
	}
	// b.mu is held.
	var stale *session
	if s != nil && (p.Clean || s.clean) { // [MQTT-3.1.2-6]; MQTT 5: [MQTT-3.1.2-4]
		stale, s = s, nil
		b.forget(stale)
		b.forgetWill(stale, true)
	}
	// An old one goes on [MQTT-3.1.2-5] of MQTT 5. [MQTT-3.2.2-1] of MQTT 3.1.1,
	// [MQTT-3.2.2-2], [MQTT-3.2.2-3]
	ack.SessionPresent = s != nil
	if stale != nil && stale.endsLong() {
		c.w.leave()
	}
	if s == nil {
		if len(b.sessions) >= b.opt.MaxSessions {
			b.mu.Unlock()
			if stale != nil {
				b.end(stale)
			}
			return mqtt.ReasonServerUnavailable
		}
		b.lastNr++
		s = &session{id: p.ClientID, nr: b.lastNr, user: c.user}
		b.sessions[s.id] = s
	}
	s.owner, s.expiry = c, b.expiryOf(p)
	s.clean = s.expiry == 0
	b.cancel(s.ends)
	s.ends = nil
	b.forgetWill(s, false) // the client is back in time [MQTT-3.1.3-9]
	b.mu.Unlock()
	if stale != nil {
		was := stale.stored()
		b.end(stale)
		if was { // or it might come back after its client was told that it is gone
			c.w.leave()
			b.waitFor(b.journal.committed(), c)
		}
	}

	if ack.SessionPresent && c.access != nil { // its rights may be fewer than when it subscribed
		if s.endsLong() {
			c.w.leave()
		}
		b.revoke(s, c.access)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(b)
	if b.journal != nil && c.will != nil {
		b.journal.will(s, c.will, time.Time{})
	}
	b.offlineBytes.Add(-s.bytes)
	s.conn, c.s = c, s
	if said := s.takeLost(b); said != nil {
		b.log.LogAttrs(context.Background(), slog.LevelWarn, "client is back and has missed messages", said...)
	}
	for _, u := range s.subs {
		u.setBridge(c.bridge)
	}
	c.resend, c.resendEnd = s.inflight.first, s.inflight.end()
	c.say(func(dst []byte) []byte {
		dst, _ = mqtt.AppendConnack(dst, c.version, ack) // was checked to fit
		return dst
	})
	c.polite.Store(c.v5 != nil) // [MQTT-3.14.0-1]
	return mqtt.ReasonSuccess
}

// expiryOf is how long a session lasts without a connection: what the client says in
// MQTT 5, at most what the broker allows; before, that or nothing. Negative: for ever.
func (b *Broker) expiryOf(p *mqtt.Connect) time.Duration {
	switch {
	case p.Version == mqtt.V5:
		var asked uint32 // absent: 0
		if p.Properties != nil {
			asked = p.Properties.SessionExpiry
		}
		return b.allowedExpiry(asked)
	case p.Clean:
		return 0
	}
	return b.opt.SessionExpiry
}

func (b *Broker) allowedExpiry(asked uint32) time.Duration {
	const never = 0xffffffff // MQTT 5, 3.1.2.11.2
	most := b.opt.SessionExpiry
	switch {
	case asked == never && most < 0:
		return -1
	case most >= 0 && seconds(asked) > most:
		return most
	}
	return seconds(asked)
}

// forget takes a session off the registry. b.mu is held; the caller ends it.
func (b *Broker) forget(s *session) {
	delete(b.sessions, s.id)
	b.cancel(s.ends)
	s.ends = nil
}

// end ends a session that was forgotten. A will that waited goes out now.
func (b *Broker) end(s *session) {
	s.end(b)
	b.mu.Lock()
	will := b.takeWill(s)
	b.mu.Unlock()
	b.sendLater(s, will)
}

// detach takes the session back from a connection that has ended: the will goes
// out [MQTT-3.1.2-8], a session that is to end with it ends, another one waits.
func (b *Broker) detach(c *conn, why cause) {
	s := c.s
	s.mu.Lock()
	s.conn = nil
	b.offlineBytes.Add(s.bytes)
	if !s.clean {
		s.trim(b)
	}
	s.unpress(b, true) // nobody needs to wait for a connection that is gone
	s.mu.Unlock()
	if s.clean { // before the will, which it shall not get itself
		s.end(b)
	}
	will := c.will
	if why == causeShutdown { // MQTT 3.1.1, 3.1.2.5: a server that ends may keep wills back, until it starts again if they are stored
		will = nil
	}
	if will != nil && c.access != nil && !c.access.Publish(will.topic) { // not any more
		b.drop(dropDenied, 1)
		b.noWill(will)
		will = nil
	}
	if will != nil && (s.clean || will.delay == 0) {
		b.publishWill(s, will)
		will = nil
	}
	if f := b.opt.OnSession; f != nil {
		f(SessionEvent{ClientID: s.id, Version: c.version, Clean: c.clean, Remote: c.nc.RemoteAddr().String(), Reason: why.String()})
	}
	b.mu.Lock()
	s.owner = nil
	b.leave(s)
	if will != nil {
		b.delayWill(s, will)
	}
	b.mu.Unlock()
}

// leave puts a session that nobody has any more where it belongs: away, or where it is
// kept [MQTT-3.1.2-23] of MQTT 5 until its time is over [MQTT-4.1.0-2] of MQTT 5. b.mu is
// held.
func (b *Broker) leave(s *session) {
	switch {
	case s.clean:
		b.forget(s)
	case s.expiry > 0:
		s.ends = b.plan(s.expiry, s, false)
	}
	if !s.clean {
		s.mu.Lock()
		if j := s.journal; j != nil {
			j.session(s, s.expiry, time.Now())
		}
		s.mu.Unlock()
	}
}

// trim brings a session that is not connected any more under the bounds for those:
// QoS 0 goes, then the newest messages. s.mu is held.
func (s *session) trim(b *Broker) {
	keep := s.pending.n
	for range keep {
		it := s.pending.pop()
		if it.qos() == 0 {
			s.discard(b, &it)
		} else {
			s.pending.push(it)
		}
	}
	lost := 0
	for s.pending.n > 0 && (s.bytes > b.opt.MaxSessionQueueBytes || b.offlineBytes.Load() > b.opt.MaxQueueBytes/2) {
		it := s.pending.popLast()
		s.discard(b, &it)
		lost++
	}
	if lost > 0 {
		s.lose(b, dropOfflineFull, lost)
	}
}

// subscribe adds or replaces a subscription. Replacing changes the options in place,
// so the flow of messages is not interrupted [MQTT-3.8.4-3]. known: it was there before.
func (b *Broker) subscribe(c *conn, want mqtt.Subscription, id uint32) (known, ok bool) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	o := options(want, id, c.bridge)
	if i := s.findSub(want.Filter); i >= 0 {
		s.subs[i].opts.Store(o)
		s.noteSub(s.subs[i], false)
		return true, true
	}
	if !b.roomForSub(s) {
		return false, false
	}
	u := &sub{filter: want.Filter, s: s}
	u.opts.Store(o)
	s.addSub(u)
	b.addSub(u)
	s.noteSub(u, false)
	return false, true
}

// roomForSub reports whether the session may have one more subscription. s.mu is held.
func (b *Broker) roomForSub(s *session) bool {
	return len(s.subs) < b.opt.MaxSubscriptions && b.subscribed.Load() < int64(b.opt.MaxAllSubscriptions)
}

// unsubscribe ends a subscription, if it is there: nothing new is queued for it
// afterwards [MQTT-3.10.4-2].
func (b *Broker) unsubscribe(s *session, filter string) (known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.findSub(filter)
	if i < 0 {
		return false
	}
	u := s.subs[i]
	s.removeSub(i)
	b.removeSub(u)
	s.noteSub(u, true)
	return true
}

// noteSub tells the journal of a subscription, or that it is gone. s.mu is held.
func (s *session) noteSub(u *sub, gone bool) {
	if j := s.journal; j != nil {
		j.subscription(s.nr, u.filter, u.opts.Load(), gone)
	}
}

// sendRetained queues the retained messages of a subscription [MQTT-3.3.1-6] of MQTT
// 3.1.1, [MQTT-3.3.1-9], also of one that was there before [MQTT-3.8.4-3]. s.mu is held
// over all of it, so that a newer message cannot come first. All that is retained fits beside
// what waits already, once: it is bounded itself, and its messages are in memory anyway.
func (b *Broker) sendRetained(c *conn, want mqtt.Subscription, id uint32) {
	sys := b.sysNow(want.Filter) // takes locks that come before s.mu
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c { // it has gone while the subscription was being stored
		return
	}
	most := b.opt.MaxSessionQueueBytes
	for _, m := range sys {
		if s.bytes+m.size() > most {
			b.drop(dropQoS0Full, 1)
			continue
		}
		s.push(item{m: m, id: id, flags: itemRetain})
		b.enqueued(m.size())
	}
	most += b.opt.MaxRetainedBytes
	b.retained.match(want.Filter, func(m *message, qos byte) {
		n := m.size()
		switch {
		case m.expired(b):
			return
		case s.bytes+n > most || b.queued.Load()+n > overshoot*b.opt.MaxQueueBytes:
			b.drop(dropRetained, 1)
			return
		}
		s.push(item{m: m, id: id, flags: itemFlags(min(want.QoS, qos)) | itemRetain}) // [MQTT-3.3.1-8] of MQTT 3.1.1
		b.enqueued(n)
	})
}
