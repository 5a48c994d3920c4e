package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// packets handles the whole packets in b and says how many bytes they took.
func (c *Client) packets(l *link, b []byte) (used int, err error) {
	var acked []func()
	locked := false
	unlock := func() {
		if !locked {
			return
		}
		locked = false
		if len(acked) > 0 {
			c.calling = true // a Flush ends after the callbacks of its messages
			c.settle()
			c.mu.Unlock()
			for _, f := range acked {
				f()
			}
			acked = acked[:0]
			c.mu.Lock()
			c.calling = false
		}
		c.settle()
		c.mu.Unlock()
	}
	for {
		h, n, e := mqtt.ParseFixedHeader(b[used:])
		if e == nil && n > 0 {
			e = h.Check(c.o.Version)
		}
		if e != nil {
			err = fmt.Errorf("%w: %w", ErrProtocol, e)
			break
		}
		if n == 0 || len(b)-used < n+h.Length {
			break
		}
		body := b[used+n : used+n+h.Length]
		switch h.Type {
		case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP:
			if !locked { // once for all that stand behind one another
				c.mu.Lock()
				locked = true
			}
			var f func()
			if f, err = c.acknowledged(l, h.Type, body); f != nil {
				acked = append(acked, f)
			}
		case mqtt.PUBLISH:
			unlock()
			err = c.message(l, h.Flags, body)
		default:
			unlock()
			err = c.packet(l, h, body)
		}
		if err != nil {
			break
		}
		used += n + h.Length
	}
	if !locked {
		c.mu.Lock()
		locked = true
	}
	if len(l.acks) > 0 {
		if !l.leaving {
			l.control = append(l.control, l.acks...)
		}
		if l.acks = l.acks[:0]; cap(l.acks) > 1024 {
			l.acks = nil
		}
	}
	c.drained(l)
	c.kick(l) // the acknowledgements, or messages for which the window is open again
	unlock()
	return used, err
}

// decodeAck decodes PUBACK, PUBREC and PUBCOMP, which have one form and not the same reason codes.
func decodeAck(v mqtt.Version, t mqtt.PacketType, body []byte) (mqtt.Puback, error) {
	switch t {
	case mqtt.PUBREC:
		p, err := mqtt.DecodePubrec(v, body)
		return mqtt.Puback(p), err
	case mqtt.PUBCOMP:
		p, err := mqtt.DecodePubcomp(v, body)
		return mqtt.Puback(p), err
	}
	return mqtt.DecodePuback(v, body)
}

// acknowledged handles an acknowledgement of a queued message and returns its Acked function if that was the last one. One that
// fits nothing is ignored: it can be the late answer to what a former connection sent twice. The mutex is held.
func (c *Client) acknowledged(l *link, t mqtt.PacketType, body []byte) (func(), error) {
	p, err := decodeAck(c.o.Version, t, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrProtocol, t, err)
	}
	if p.PacketID == idBirth {
		l.birth = false
	}
	s, ok := c.box.lookup(p.PacketID)
	failed := p.Reason >= mqtt.ReasonUnspecifiedError
	if failed && t != mqtt.PUBCOMP { // [MQTT-4.3.3-4]: after such a PUBREC nothing follows
		if !ok || c.box.at(s).state != queued {
			return nil, nil
		}
		name, r := c.box.name(s), because(p.Reason, p.Properties)
		f := c.box.refusals[s]
		c.n.refused++
		c.box.finish(s)
		if f != nil {
			return func() { f(r) }, nil
		}
		if c.o.OnRefused == nil {
			c.o.Logger.Warn("message refused by the server", "client", c.o.ClientID, "topic", name, "error", r)
			return nil, nil
		}
		return func() { c.o.OnRefused(name, r) }, nil
	}
	if t == mqtt.PUBREC && p.PacketID <= MaxInflight && !l.leaving {
		// A PUBREC for a message that is gone is answered too, or the server would hold it for ever.
		if !ok || c.box.at(s).qos == 2 {
			l.control = mqtt.AppendPubrel(l.control, c.o.Version, mqtt.Pubrel{PacketID: p.PacketID}) // [MQTT-4.3.3-1]
		}
	}
	if !ok {
		return nil, nil
	}
	e := c.box.at(s)
	switch {
	case t == mqtt.PUBREC && e.qos == 2 && e.state == queued:
		e.state = released
		if s >= c.box.next { // some servers repeat the PUBREC of a former connection before they get the PUBLISH again
			c.box.two++
		}
	case t == mqtt.PUBACK && e.qos == 1 && e.state == queued, t == mqtt.PUBCOMP && e.qos == 2 && e.state == released:
		f := e.acked
		c.box.finish(s)
		return f, nil
	}
	return nil, nil
}

// message hands a received message on and prepares its acknowledgement, whatever becomes of it [MQTT-4.5.0-2].
func (c *Client) message(l *link, flags byte, body []byte) error {
	p, err := mqtt.DecodePublish(c.o.Version, flags, body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if p.Properties.Has(mqtt.PropTopicAlias) {
		if err := c.alias(l, &p); err != nil {
			return err
		}
	}
	if p.QoS == 2 {
		c.mu.Lock()
		_, again := c.received[p.PacketID]
		c.mu.Unlock()
		if again { // [MQTT-4.3.3-2]: not handed on a second time
			l.acks = mqtt.AppendPubrec(l.acks, c.o.Version, mqtt.Pubrec{PacketID: p.PacketID})
			return nil
		}
	}
	c.mu.Lock()
	leaving := l.leaving || l.failed
	c.n.received++
	c.mu.Unlock()
	if leaving {
		return nil // it cannot be acknowledged any more: a kept session brings it again
	}
	m := Message{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain, Dup: p.Dup, Properties: p.Properties, PacketID: p.PacketID, c: c, l: l}
	if c.o.OnMessage != nil {
		l.handling.Store(true)
		c.o.OnMessage(&m)
		l.lastRead.Store(l.now())
		l.handling.Store(false)
	}
	switch {
	case m.withheld:
	case p.QoS == 1:
		l.acks = mqtt.AppendPuback(l.acks, c.o.Version, mqtt.Puback{PacketID: p.PacketID})
	case p.QoS == 2:
		c.mu.Lock()
		c.hold(p.PacketID)
		c.mu.Unlock()
		l.acks = mqtt.AppendPubrec(l.acks, c.o.Version, mqtt.Pubrec{PacketID: p.PacketID})
	}
	return nil
}

// hold remembers that a message of QoS 2 was taken; the mutex is held.
func (c *Client) hold(id uint16) {
	if c.received == nil {
		c.received = map[uint16]struct{}{}
	}
	c.received[id] = struct{}{}
}

// deferred acknowledges a message that Defer kept, if its connection is still there.
func (c *Client) deferred(l *link, id uint16, qos byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l || l.leaving || l.failed {
		return false
	}
	switch qos {
	case 1:
		l.control = mqtt.AppendPuback(l.control, c.o.Version, mqtt.Puback{PacketID: id})
	case 2:
		c.hold(id)
		l.control = mqtt.AppendPubrec(l.control, c.o.Version, mqtt.Pubrec{PacketID: id})
	}
	c.kick(l)
	return true
}

// packet handles what is neither a message nor an acknowledgement of one.
func (c *Client) packet(l *link, h mqtt.FixedHeader, body []byte) error {
	switch h.Type {
	case mqtt.PUBREL:
		p, err := mqtt.DecodePubrel(c.o.Version, body)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		c.mu.Lock()
		delete(c.received, p.PacketID)
		c.mu.Unlock()
		l.acks = mqtt.AppendPubcomp(l.acks, c.o.Version, mqtt.Pubcomp{PacketID: p.PacketID})
	case mqtt.SUBACK:
		p, err := mqtt.DecodeSuback(c.o.Version, body)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		c.mu.Lock()
		refused := c.subs.answered(c, l, p.PacketID, p.Codes)
		c.mu.Unlock()
		for _, f := range refused {
			c.o.Logger.Warn("subscription refused by the server", "client", c.o.ClientID, "filter", f.filter, "reason", f.reason)
		}
	case mqtt.UNSUBACK:
		p, err := mqtt.DecodeUnsuback(c.o.Version, body)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		c.mu.Lock()
		c.subs.answered(c, l, p.PacketID, nil)
		c.mu.Unlock()
	case mqtt.DISCONNECT: // MQTT 5
		p, err := mqtt.DecodeDisconnect(c.o.Version, body)
		if err != nil || c.o.Version != mqtt.V5 {
			return fmt.Errorf("%w: DISCONNECT from a server", errors.Join(ErrProtocol, err))
		}
		return fmt.Errorf("ended by the server: %w", because(p.Reason, p.Properties))
	case mqtt.AUTH:
		return c.reauthenticated(l, body)
	case mqtt.PINGRESP:
		// read counts as having heard the peer
	default:
		return fmt.Errorf("%w: %s from a server", ErrProtocol, h.Type)
	}
	return nil
}

// alias puts the topic into a message that has an alias in its place, and remembers one that has both.
func (c *Client) alias(l *link, p *mqtt.Publish) error {
	n := int(p.Properties.TopicAlias)
	if n == 0 || n > int(c.o.TopicAliases) { // [MQTT-3.3.2-8], [MQTT-3.3.2-9]; all others are taken [MQTT-3.3.2-10]
		return fmt.Errorf("%w: topic alias %d, at most %d allowed", ErrProtocol, n, c.o.TopicAliases)
	}
	if p.Topic != "" {
		for len(l.aliases) < n {
			l.aliases = append(l.aliases, "")
		}
		l.aliases[n-1] = p.Topic
		return nil
	}
	if n > len(l.aliases) || l.aliases[n-1] == "" { // [MQTT-3.3.2-7]
		return fmt.Errorf("%w: topic alias %d means nothing", ErrProtocol, n)
	}
	p.Topic = l.aliases[n-1]
	return nil
}

// explain tells a server of MQTT 5 why the client ends the connection, if that is the server's fault [MQTT-4.13.1-1].
func (c *Client) explain(l *link, err error) {
	var reason mqtt.Reason
	switch {
	case c.o.Version != mqtt.V5:
		return
	case errors.Is(err, ErrTooLarge):
		reason = mqtt.ReasonPacketTooLarge
	case errors.Is(err, ErrProtocol):
		reason = mqtt.ReasonProtocolError
	default:
		return
	}
	b, err := mqtt.AppendDisconnect(nil, c.o.Version, &mqtt.Disconnect{Reason: reason})
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.failed || l.leaving {
		return
	}
	l.leaving, l.retry = true, true
	l.control = append(l.control, b...)
	_ = l.conn.SetDeadline(time.Now().Add(leaveTimeout))
	c.kick(l)
	c.mu.Unlock()
	l.writers.Wait()
	c.mu.Lock()
}
