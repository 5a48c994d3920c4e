package broker

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

const sharePrefix = "$share/"

// share is a shared subscription: each message that matches its filter goes to one of
// its members (MQTT 5, 4.8.2). Members take turns; one that is not connected, or that
// has more to take than its bound allows, gets a message only if all are so.
//
// A message stays with the member it was given to, in order, also while that is not
// connected. When the member's session ends, what it has not been sent goes to another
// one, and so does what it has not acknowledged of QoS 1; QoS 2 does not
// [MQTT-4.8.2-4], [MQTT-4.8.2-5].
type share struct {
	name    string                 // the filter with its prefix
	u       sub                    // what stands in the tree, under the filter without the prefix
	members atomic.Pointer[[]*sub] // replaced, never changed; guarded by Broker.shareMu for writing
	turn    atomic.Uint32

	lossMu sync.Mutex
	loss   loss // what no member took
}

// splitShare takes a filter apart: "$share/name/filter". shared is false for any other
// filter. The error says that it begins like one and is none [MQTT-4.8.2-1],
// [MQTT-4.8.2-2].
func splitShare(filter string) (inner string, shared bool, err error) {
	rest, shared := strings.CutPrefix(filter, sharePrefix)
	if !shared {
		return filter, false, nil
	}
	name, inner, ok := strings.Cut(rest, "/")
	if !ok || name == "" || strings.ContainsAny(name, "+#") {
		return "", true, mqtt.ErrTopic
	}
	return inner, true, nil
}

// checkFilter is topic.CheckFilter, and knows shared subscriptions. inner is what
// topics are matched with.
func checkFilter(filter string) (inner string, shared bool, err error) {
	if inner, shared, err = splitShare(filter); err == nil {
		err = topic.CheckFilter(inner)
	}
	return inner, shared, err
}

// addSub makes a subscription known to those who publish.
func (b *Broker) addSub(u *sub) {
	b.subscribed.Add(1)
	inner, shared, _ := splitShare(u.filter) // checked by who subscribes
	if !shared {
		b.subs.Add(u.filter, u)
		return
	}
	b.shareMu.Lock()
	defer b.shareMu.Unlock()
	g := b.shares[u.filter]
	if g == nil {
		g = &share{name: u.filter, u: sub{filter: inner}}
		g.u.share = g
		if b.shares == nil {
			b.shares = map[string]*share{}
		}
		b.shares[u.filter] = g
	}
	old := g.list()
	members := append(slices.Clip(old), u)
	g.members.Store(&members)
	if len(old) == 0 {
		b.subs.Add(inner, &g.u)
	}
}

// removeSub is the way back.
func (b *Broker) removeSub(u *sub) {
	b.subscribed.Add(-1)
	if !strings.HasPrefix(u.filter, sharePrefix) {
		b.subs.Remove(u.filter, u)
		return
	}
	b.shareMu.Lock()
	defer b.shareMu.Unlock()
	g := b.shares[u.filter]
	if g == nil {
		return
	}
	members := slices.DeleteFunc(slices.Clone(g.list()), func(v *sub) bool { return v == u })
	g.members.Store(&members)
	if len(members) == 0 {
		b.subs.Remove(g.u.filter, &g.u)
		delete(b.shares, u.filter)
	}
}

func (g *share) list() []*sub {
	if p := g.members.Load(); p != nil {
		return *p
	}
	return nil
}

// deliverShared gives m to one member.
func (b *Broker) deliverShared(w *work, g *share, m *message, in *Inbound) bool {
	if b.give(w, g, m.with(nil, g), in.QoS, in.Retain) {
		return true
	}
	if in.QoS > 0 {
		g.lose(b)
	}
	return false
}

// give looks for a member that gets m at once, else for one that gets it at all.
func (b *Broker) give(w *work, g *share, m *message, qos byte, retain bool) bool {
	members := g.list()
	if len(members) == 0 {
		return false
	}
	first := int(g.turn.Add(1) % uint32(len(members)))
	var second, third *sub
	for i := range members {
		u := members[(first+i)%len(members)]
		switch u.s.memberState(b, m.size()) {
		case memberFree:
			if u.give(b, w, m, qos, retain) {
				return true
			}
		case memberFull:
			second = cmp.Or(second, u)
		case memberAway:
			third = cmp.Or(third, u)
		}
	}
	return second != nil && second.give(b, w, m, qos, retain) || third != nil && third.give(b, w, m, qos, retain)
}

func (u *sub) give(b *Broker, w *work, m *message, qos byte, retain bool) bool {
	o := u.opts.Load()
	it := item{m: m, id: uint32(o >> subID), flags: itemFlags(min(qos, byte(o&subQoS)))} // [MQTT-4.8.2-3]
	if retain && o&subAsPublished != 0 {
		it.flags |= itemRetain
	}
	return u.s.enqueue(b, w, it)
}

// memberState says how soon a member of a group would get a message.
type memberState int

const (
	memberFree memberState = iota
	memberFull             // connected, with much to take
	memberAway             // not connected
	memberNone             // not connected, and has no room for another one
)

func (s *session) memberState(b *Broker, n int64) memberState {
	s.mu.Lock()
	defer s.mu.Unlock()
	connected := s.taker != nil || s.conn != nil && !s.conn.kicked()
	switch {
	case connected && s.bytes <= b.opt.MaxSessionQueueBytes/2:
		return memberFree
	case connected:
		return memberFull
	case s.bytes+n > b.opt.MaxSessionQueueBytes:
		return memberNone
	}
	return memberAway
}

// redistribute gives messages that a member cannot get any more to other members. It
// returns how many of QoS 1 and 2 nobody took.
func (b *Broker) redistribute(items []item) (lost int) {
	if len(items) == 0 {
		return 0
	}
	w := b.getWork()
	defer b.putWork(w)
	for _, it := range items {
		if it.m.expired(b) {
			b.drop(dropMessageExpired, 1)
			continue
		}
		if !b.give(w, it.m.more.share, it.m, it.qos(), it.flags&itemRetain != 0) && it.qos() > 0 {
			lost++
		}
	}
	b.settle(w)
	return lost // who is over its bound now has nobody to wait: these were acknowledged long ago
}
