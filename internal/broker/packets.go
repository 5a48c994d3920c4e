package broker

import (
	"errors"

	"github.com/wattbus/wattbus/internal/mqtt"
)

var errSecondConnect = refusal(mqtt.ReasonProtocolError, "second CONNECT")

// packet handles one packet. An error ends the connection [MQTT-4.8.0-1], MQTT 5:
// [MQTT-4.13.1-1], [MQTT-4.13.2-1].
func (c *conn) packet(w *work, h mqtt.FixedHeader, body []byte) error {
	var err error
	switch h.Type {
	case mqtt.PUBLISH:
		err = c.publish(w, h.Flags, body)
	case mqtt.PUBACK:
		var p mqtt.Puback
		if p, err = mqtt.DecodePuback(c.version, body); err == nil {
			c.s.puback(c.b, p.PacketID)
		}
	case mqtt.PUBREC:
		var p mqtt.Pubrec
		if p, err = mqtt.DecodePubrec(c.version, body); err == nil {
			c.s.pubrec(c.b, p)
		}
	case mqtt.PUBREL:
		err = c.pubrel(w, body)
	case mqtt.PUBCOMP:
		var p mqtt.Pubcomp
		if p, err = mqtt.DecodePubcomp(c.version, body); err == nil {
			c.s.pubcomp(c.b, p.PacketID)
		}
	case mqtt.SUBSCRIBE:
		err = c.subscribe(w, body)
	case mqtt.UNSUBSCRIBE:
		err = c.unsubscribe(w, body)
	case mqtt.PINGREQ: // [MQTT-3.12.4-1]
		c.answer(w, mqtt.AppendPingresp)
	case mqtt.DISCONNECT:
		err = c.disconnect(body)
	case mqtt.AUTH:
		return c.auth(w, body)
	case mqtt.CONNECT:
		if c.s == nil && (c.v5 == nil || c.v5.waiting == nil) {
			return c.connect(body)
		}
		err = errSecondConnect // [MQTT-3.1.0-2]
	default:
		err = refusal(mqtt.ReasonProtocolError, h.Type.String()+" from a client")
	}
	var known *protocolError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &protocolError{causeProtocol, err}
}

// answer appends a packet that is written at the end of the batch.
func (c *conn) answer(w *work, add func(dst []byte) []byte) {
	c.s.mu.Lock()
	c.takeAcks(w) // of the packets before
	c.say(add)
	c.s.mu.Unlock()
}

// disconnect handles DISCONNECT: the connection is closed, and nothing behind it is
// handled (conn.packets), MQTT 5: [MQTT-3.14.4-1], [MQTT-3.14.4-2]. The will is
// forgotten, unless MQTT 5 says otherwise [MQTT-3.1.2-10], [MQTT-3.14.4-3].
func (c *conn) disconnect(body []byte) error {
	p, err := mqtt.DecodeDisconnect(c.version, body)
	if err != nil {
		return err
	}
	if c.s == nil { // instead of AUTH, before CONNACK
		c.kick(causeDisconnect)
		return nil
	}
	if p.Properties.Has(mqtt.PropServerReference) { // MQTT 5, 3.14.2.2.5: a server's
		return refusal(mqtt.ReasonProtocolError, "server reference from a client")
	}
	if p.Properties.Has(mqtt.PropSessionExpiry) {
		if c.s.clean && p.Properties.SessionExpiry > 0 { // MQTT 5, 3.14.2.2.2
			return refusal(mqtt.ReasonProtocolError, "session expiry interval where there was none")
		}
		c.b.mu.Lock()
		c.s.expiry = c.b.allowedExpiry(p.Properties.SessionExpiry)
		c.s.clean = c.s.expiry == 0
		c.b.mu.Unlock()
	}
	if p.Reason == mqtt.ReasonSuccess {
		c.b.noWill(c.will)
		c.will = nil
	}
	c.kick(causeDisconnect)
	return nil
}

// publish handles PUBLISH: spread it, then acknowledge unless a handler took that
// over.
func (c *conn) publish(w *work, flags byte, body []byte) error {
	p, err := mqtt.ParsePublish(c.version, flags, body)
	if err != nil {
		return err
	}
	in := &w.in
	*in = Inbound{
		Payload: p.Payload,
		QoS:     p.QoS, Retain: p.Retain, Dup: p.Dup,
		ClientID: c.s.id, Version: c.version,
		c: c, packetID: p.PacketID,
	}
	if c.v5 == nil {
		in.Topic, in.borrowed = c.b.topics.view(p.Topic)
	} else if err := c.publishV5(w, &p); err != nil {
		return err
	}
	if p.QoS == 2 && c.repeated(w, p.PacketID) { // else it is a new message, whatever its identifier [MQTT-4.3.2-5]
		return nil
	}
	if c.access != nil {
		in.own() // a list may remember what it was asked
	}
	switch {
	case c.b.reserved(in.Topic):
		in.reason = mqtt.ReasonTopicNameInvalid
	case c.access != nil && !c.access.Publish(in.Topic): // [MQTT-3.3.5-2]
		c.b.drop(dropDenied, 1)
		in.reason = mqtt.ReasonNotAuthorized
	default:
		w.once = p.QoS == 2 && c.s.journal != nil
		c.b.dispatch(w, c.s)
		if p.QoS > 0 && (w.stored || w.once) {
			c.ackLater(w, in)
			w.waitStore = c.b.journal.full()
		}
		w.once = false
		if len(w.full) > 0 || w.fullTotal {
			c.b.owe(w)
		}
	}
	if in.reason.Failed() && p.QoS == 2 { // the exchange ends with PUBREC [MQTT-4.3.3-9]
		c.s.mu.Lock()
		c.s.forgetReceived(p.PacketID)
		c.s.mu.Unlock()
	}
	c.acknowledge(w, in)
	return nil
}

// reserved reports whether a client's message, or its will, is to a topic where clients do not exchange messages
// (MQTT 3.1.1, 4.7.2), and counts it then.
func (b *Broker) reserved(topic string) bool {
	if topic[0] != '$' {
		return false
	}
	b.drop(dropReserved, 1)
	return true
}

// publishV5 reads what only MQTT 5 has.
func (c *conn) publishV5(w *work, p *mqtt.PublishView) (err error) {
	in := &w.in
	if p.TopicAlias == 0 {
		in.Topic, in.borrowed = c.b.topics.view(p.Topic)
	} else if in.Topic, err = c.topicOf(p); err != nil {
		return err
	}
	if p.HasSubscriptionID { // [MQTT-3.3.4-6]
		return refusal(mqtt.ReasonProtocolError, "subscription identifier from a client")
	}
	if p.QoS > 0 && !c.v5.began(c.b.opt.ReceiveMaximum) { // MQTT 5, 4.9: one count for both
		return errTooMany
	}
	if len(p.Properties) > 0 {
		w.props = mqtt.AppendForwardable(w.props[:0], p.Properties)
		in.props = w.props
	}
	if p.HasExpiry {
		in.expiry, in.expires = p.Expiry, c.b.expiresIn(p.Expiry)
	}
	return nil
}

// errTooMany: [MQTT-3.3.4-7].
var errTooMany = refusal(mqtt.ReasonReceiveMaximumExceeded, "more messages under way than the receive maximum")

// repeated reports whether the message of QoS 2 was delivered before: its packet
// identifier was not released yet [MQTT-4.3.3-2]. If so it is acknowledged again,
// when the handlers of the first time are done.
func (c *conn) repeated(w *work, id uint16) (again bool) {
	s := c.s
	s.mu.Lock()
	r, known := s.received.get(id)
	if !known {
		s.setReceived(id, received{acked: true}) // unless a handler defers
		s.mu.Unlock()
		return false
	}
	if r.cut {
		s.setReceived(id, received{acked: true}) // as above
		s.mu.Unlock()
		w.in.handlersOnly = true
		return false
	}
	if !r.acked {
		if r.waiter.c != c {
			r.waiter = Ack{c: c, seq: c.acks.push(ackEntry{id: id, qos: 2, waits: 1})}
			c.outstanding.Add(1)
			s.setReceived(id, r)
		}
		s.mu.Unlock()
		return true
	}
	s.mu.Unlock()
	c.ackNow(w, id, 2, mqtt.ReasonSuccess)
	return true
}

// pubrel handles PUBREL: PUBCOMP says that the identifier is free again, also one that
// is not known, MQTT 3.1.1: [MQTT-4.3.3-2], MQTT 5: [MQTT-4.3.3-11]; then it is a new
// message's [MQTT-4.3.3-12]. PUBCOMP has no words that could make it too large
// [MQTT-3.7.2-2], [MQTT-3.7.2-3].
func (c *conn) pubrel(w *work, body []byte) error {
	p, err := mqtt.DecodePubrel(c.version, body)
	if err != nil {
		return err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	comp := mqtt.Pubcomp{PacketID: p.PacketID}
	r, ok := c.s.received.get(p.PacketID)
	if !ok {
		comp.Reason = mqtt.ReasonPacketIDNotFound
	}
	c.takeAcks(w)
	if ok && r.acked && c.v5 != nil {
		c.v5.ended()
	}
	if ok && r.acked {
		c.s.forgetReceived(p.PacketID)
	}
	if j := c.s.journal; j != nil { // or the next message with it might be taken for a repeat; PUBREL may be one itself
		j.comp(c, comp)
		return nil
	}
	c.say(func(dst []byte) []byte {
		return mqtt.AppendPubcomp(dst, c.version, comp)
	})
	return nil
}

// endBatch hands over what the packets of one read brought about: answers are
// written in one call, subscribers are woken, and where somebody has too much to
// take the reader waits.
func (c *conn) endBatch(w *work) {
	s := c.s
	if s == nil {
		return
	}
	c.b.tally(w) // before the client knows
	s.mu.Lock()
	c.takeAcks(w)
	start := !c.flushing && !c.closed && c.sendable()
	if start {
		c.flushing = true
	}
	s.mu.Unlock()
	if start {
		c.flush(false)
	}
	if len(w.wait) > 0 || w.waitTotal || w.waitStore {
		w.leave()
	}
	c.b.settle(w)
	for i, s := range w.wait {
		c.b.waitFor(s.roomIn(), c)
		w.wait[i] = nil
	}
	w.wait = w.wait[:0]
	if w.waitTotal {
		c.b.waitFor(c.b.roomInTotal(), c)
		w.waitTotal = false
	}
	if w.waitStore {
		c.b.waitFor(c.b.journal.room(), c)
		w.waitStore = false
	}
	c.waitForPeer()
}

// waitForPeer suspends reading while the client takes too little of the answers,
// or the handlers owe it too many.
func (c *conn) waitForPeer() {
	for {
		var wait chan struct{}
		c.s.mu.Lock()
		switch {
		case c.out != nil && len(c.out.b) > maxOut:
			if c.outRoom == nil {
				c.outRoom = make(chan struct{})
			}
			wait = c.outRoom
		case c.acks.n >= maxOutstanding:
			if c.acks.room == nil {
				c.acks.room = make(chan struct{})
			}
			wait = c.acks.room
		}
		c.s.mu.Unlock()
		if wait == nil {
			return
		}
		c.w.leave()
		c.b.settle(c.w)
		select {
		case <-wait:
		case <-c.quitting():
			return
		case <-c.b.stop:
			return
		}
	}
}
