package broker

import "log/slog"

// Changing is an Authenticator whose answers change while clients are connected. Run
// gives it Recheck, to be called after a change, and nil when it ends.
type Changing interface {
	Authenticator
	OnChange(recheck func())
}

// Revocable is an Access that may be taken away while its client is connected.
type Revocable interface {
	Access
	// Now gives what the client may do from now on, for use on the goroutine that calls
	// it, which is not that of the connection. nil: it may not stay.
	Now() Access
}

// Recheck ends the connections of clients that may not stay, and of those that have
// subscribed to what they may not any more: the subscription is gone, and the client
// finds out when it comes back. A client of MQTT 5 is told that it is not authorized. It
// returns how many connections it ends, and does not wait for that.
//
// A session that is not connected is looked at when its client comes back; what has
// been queued for it until then it gets.
func (b *Broker) Recheck() (ended int) {
	b.mu.Lock()
	sessions := make([]*session, 0, len(b.sessions))
	for _, s := range b.sessions {
		if s.owner != nil {
			sessions = append(sessions, s)
		}
	}
	b.mu.Unlock()
	for _, s := range sessions {
		s.mu.Lock()
		c := s.conn
		if c == nil {
			s.mu.Unlock()
			continue
		}
		r, ok := c.access.(Revocable)
		s.mu.Unlock()
		if !ok {
			continue
		}
		if now := r.Now(); now == nil || b.revoke(s, now) > 0 {
			b.log.Info("client may not stay", slog.String("client_id", s.id), slog.String("user", s.user))
			c.kick(causeRevoked)
			ended++
		}
	}
	return ended
}

// revoke takes away the subscriptions that a allows no more.
func (b *Broker) revoke(s *session, a Access) (n int) {
	s.mu.Lock()
	filters := make([]string, len(s.subs))
	for i, u := range s.subs {
		filters[i] = u.filter
	}
	s.mu.Unlock()
	for _, filter := range filters {
		if inner, _, _ := splitShare(filter); !a.Subscribe(inner) && b.unsubscribe(s, filter) {
			n++
		}
	}
	return n
}
