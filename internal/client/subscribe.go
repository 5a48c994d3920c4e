package client

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// perPacket is how many filters go into one SUBSCRIBE or UNSUBSCRIBE.
const perPacket = 64

// subscriptions is what the client wants and what the server has been told. It is guarded by the client's mutex.
//
//	Subscribe ──> add ──SUBSCRIBE──> asked ──SUBACK──> (in want only)
//	Unsubscribe ──> drop ──UNSUBSCRIBE──> dropped ──UNSUBACK──> (gone)
type subscriptions struct {
	want    []Subscription
	add     []Subscription // to be asked for on this connection
	drop    []string       // to be given up on this connection
	asked   []Subscription // in the SUBSCRIBE that has no answer
	dropped []string       // in the UNSUBSCRIBE that has no answer
	waits   []*subscribing // SubscribeWait calls without an answer
	synced  int            // the server, plus 1, whose kept session knows want but for add and drop; 0: none
}

func (s *subscriptions) init(want []Subscription) { s.want = slices.Clone(want) }

// online begins a connection. Subscriptions are renewed unless the server kept a session that this client has subscribed in.
func (s *subscriptions) online(at int, present bool) {
	if present && s.synced == at+1 {
		return
	}
	s.synced = 0
	s.add = slices.Clone(s.want)
	if !present {
		s.drop = nil
	}
}

// offline takes back what was asked and not answered.
func (s *subscriptions) offline() {
	s.add = append(s.asked, s.add...)
	s.drop = append(s.dropped, s.drop...)
	s.asked, s.dropped = nil, nil
}

// pump sends the next request if none is in flight.
func (s *subscriptions) pump(c *Client, l *link) {
	if l == nil || l.leaving || l.failed || s.asked != nil || s.dropped != nil {
		return
	}
	switch {
	case len(s.drop) > 0:
		n := min(len(s.drop), perPacket)
		s.dropped, s.drop = s.drop[:n:n], s.drop[n:]
		p := mqtt.Unsubscribe{PacketID: idSubscribe, Filters: s.dropped}
		if b, err := mqtt.AppendUnsubscribe(l.control, c.o.Version, &p); err == nil {
			l.control = b
		}
	case len(s.add) > 0:
		n := 1 // one SUBSCRIBE has one identifier
		for n < min(len(s.add), perPacket) && s.add[n].ID == s.add[0].ID {
			n++
		}
		s.asked, s.add = s.add[:n:n], s.add[n:]
		p := mqtt.Subscribe{PacketID: idSubscribe}
		for _, f := range s.asked {
			p.Subscriptions = append(p.Subscriptions, mqtt.Subscription{Filter: f.Filter, QoS: f.QoS,
				NoLocal: f.NoLocal, RetainAsPublished: f.RetainAsPublished, RetainHandling: f.RetainHandling})
		}
		if id := s.asked[0].ID; id > 0 && c.o.Version == mqtt.V5 && !l.limits.noSubID {
			p.Properties = &mqtt.Properties{SubscriptionIDs: []uint32{id}}
		}
		if b, err := mqtt.AppendSubscribe(l.control, c.o.Version, &p); err == nil {
			l.control = b
		}
	default:
		s.add, s.drop = nil, nil
		s.synced = l.at + 1
		return
	}
	c.kick(l)
}

// subscribing is a SubscribeWait call.
type subscribing struct {
	filter string
	done   chan error // room for one
}

// refusal is a filter that the server refused.
type refusal struct {
	filter string
	reason mqtt.Reason // before MQTT 5 always unspecified
}

// answered handles SUBACK and, with codes nil, UNSUBACK; it returns the filters that the server refused.
func (s *subscriptions) answered(c *Client, l *link, id uint16, codes []byte) (refused []refusal) {
	if id != idSubscribe {
		return nil
	}
	for i, f := range s.asked {
		var err error
		if i < len(codes) && codes[i] >= mqtt.SubackFailure {
			refused = append(refused, refusal{f.Filter, mqtt.Reason(codes[i])})
			err = &ReasonError{Reason: mqtt.Reason(codes[i])}
		}
		if codes != nil && s.tell(f.Filter, err) && err != nil { // whoever waited knows, and asks again if it wants to
			s.forget(f.Filter)
		}
	}
	if codes != nil {
		s.asked = nil
	} else {
		s.dropped = nil
	}
	s.pump(c, l)
	return refused
}

func (s *subscriptions) forget(filter string) {
	is := func(x Subscription) bool { return x.Filter == filter }
	s.want = slices.DeleteFunc(s.want, is)
	s.add = slices.DeleteFunc(s.add, is)
	s.drop = slices.DeleteFunc(s.drop, func(x string) bool { return x == filter })
}

// tell answers those who wait for a filter; false if there is nobody.
func (s *subscriptions) tell(filter string, err error) (told bool) {
	s.waits = slices.DeleteFunc(s.waits, func(w *subscribing) bool {
		if w.filter != filter {
			return false
		}
		w.done <- err
		told = true
		return true
	})
	return told
}

// SubscribeWait is Subscribe of one filter that waits for the server's answer: nil, or a *ReasonError if it refused (before
// MQTT 5 without a reason), and the filter is then forgotten. While there is no connection it waits for the next one. When ctx
// ends first the subscription stays wanted.
func (c *Client) SubscribeWait(ctx context.Context, s Subscription) error {
	w := &subscribing{filter: s.Filter, done: make(chan error, 1)}
	if err := s.check(); err != nil {
		return err
	}
	c.mu.Lock()
	c.subs.waits = append(c.subs.waits, w)
	c.mu.Unlock()
	err := c.Subscribe(s)
	if err == nil {
		select {
		case err = <-w.done:
			if err == nil {
				return nil
			}
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	c.mu.Lock()
	c.subs.waits = slices.DeleteFunc(c.subs.waits, func(o *subscribing) bool { return o == w })
	c.mu.Unlock()
	return fmt.Errorf("subscribing to %.64q: %w", s.Filter, err)
}

// Subscribe adds subscriptions; a filter that is there already takes the new QoS. It returns before the server has answered,
// and what is published after it is sent after it. While there is no connection the next one brings them to the server.
func (c *Client) Subscribe(subs ...Subscription) error {
	for _, s := range subs {
		if err := s.check(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range subs {
		c.subs.forget(s.Filter)
		c.subs.want = append(c.subs.want, s)
		c.subs.add = append(c.subs.add, s)
	}
	c.subs.pump(c, c.link)
	return nil
}

// Unsubscribe ends subscriptions, in the way of Subscribe.
func (c *Client) Unsubscribe(filters ...string) error {
	for _, f := range filters {
		if err := topic.CheckFilter(f); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range filters {
		c.subs.forget(f)
		c.subs.drop = append(c.subs.drop, f)
	}
	c.subs.pump(c, c.link)
	return nil
}
