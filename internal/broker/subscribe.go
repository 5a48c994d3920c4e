package broker

import (
	"fmt"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// subscribe handles SUBSCRIBE. Its filters are taken one after the other, as if each had
// come alone [MQTT-3.8.4-4] of MQTT 3.1.1, [MQTT-3.8.4-5]; SUBACK has a code for each, in
// their order [MQTT-3.8.4-6], and the identifier of SUBSCRIBE [MQTT-3.8.4-2], [MQTT-2.3.1-7],
// MQTT 5: [MQTT-2.2.1-6]. It has no words that could make it too large [MQTT-3.9.2-1],
// [MQTT-3.9.2-2].
func (c *conn) subscribe(w *work, body []byte) error {
	var p mqtt.Subscribe
	done, err := c.long(w, mqtt.SUBSCRIBE, body, func() (err error) {
		p, err = mqtt.DecodeSubscribeUpTo(c.version, body, c.b.opt.MaxFilterBytes)
		return err
	})
	if err != nil {
		return err
	}
	defer done()
	var id uint32
	if p.Properties.Has(mqtt.PropSubscriptionID) {
		id = p.Properties.SubscriptionIDs[0]
	}
	ack := mqtt.Suback{PacketID: p.PacketID, Codes: make([]byte, len(p.Subscriptions))}
	send := make([]bool, len(p.Subscriptions)) // the retained messages
	some := false
	c.b.inParts(len(p.Subscriptions), func(i int) bool {
		want := p.Subscriptions[i]
		var inner string
		var shared bool
		if want.Filter == "" { // longer than MaxFilterBytes, whatever is in it
			ack.Codes[i] = c.subackCode(mqtt.ReasonQuotaExceeded)
			return true
		}
		if inner, shared, err = checkFilter(want.Filter); err != nil { // [MQTT-4.7.1-1] to [MQTT-4.7.1-3], [MQTT-4.8.2-1], [MQTT-4.8.2-2]
			err = &reasonError{mqtt.ReasonTopicFilterInvalid, fmt.Errorf("SUBSCRIBE to %.64q: %w", want.Filter, err)}
			return false
		}
		if refused := c.refused(want.Filter, inner); refused != mqtt.ReasonSuccess {
			ack.Codes[i] = c.subackCode(refused)
			return true
		}
		known, ok := c.b.subscribe(c, want, id)
		if !ok {
			ack.Codes[i] = c.subackCode(mqtt.ReasonQuotaExceeded)
			return true
		}
		ack.Codes[i] = want.QoS // [MQTT-3.9.3-1]; MQTT 5: [MQTT-3.8.4-7]
		switch {
		case shared: // MQTT 5, 4.8.2
		case want.RetainHandling == mqtt.RetainSend: // [MQTT-3.3.1-9]
			send[i] = true
		case want.RetainHandling == mqtt.RetainIfNew: // [MQTT-3.3.1-10]
			send[i] = !known
		} // [MQTT-3.3.1-11]
		some = some || send[i]
		return true
	})
	if err != nil {
		return err
	}
	if some && c.b.retained.many() {
		w.leave()
	}
	answer, err := mqtt.AppendSuback(nil, c.version, &ack) // [MQTT-3.8.4-1], [MQTT-3.8.4-5]
	if err := c.tooLarge(answer, err); err != nil {
		return err
	}
	c.answerStored(w, answer, func() {
		c.b.inParts(len(p.Subscriptions), func(i int) bool {
			if send[i] {
				c.b.sendRetained(c, p.Subscriptions[i], id)
			}
			return !c.kicked()
		})
	})
	return nil
}

// answerStored answers once what the packet has changed is stored, and calls then; at
// once where the session is not stored.
func (c *conn) answerStored(w *work, answer []byte, then func()) {
	add := func(dst []byte) []byte { return append(dst, answer...) }
	if c.s.journal == nil {
		c.answer(w, add)
		then()
		return
	}
	c.b.journal.then(func() {
		c.s.mu.Lock()
		c.say(add)
		c.s.mu.Unlock()
		then()
		c.flushNow()
	})
}

// tooLarge refuses an answer that the client does not take [MQTT-3.1.2-24]. It asked for
// it, and could have asked for less at once.
func (c *conn) tooLarge(answer []byte, err error) error {
	if err == nil && c.v5 != nil && c.v5.maxPacket > 0 && len(answer) > c.v5.maxPacket {
		return refusal(mqtt.ReasonPacketTooLarge, "the answer is larger than the client takes")
	}
	return err
}

// subackCode is the code for a refusal, of which older versions know one.
func (c *conn) subackCode(r mqtt.Reason) byte {
	if c.version != mqtt.V5 {
		return mqtt.SubackFailure
	}
	return byte(r)
}

// refused asks the bounds on filters and the access control list; success: it is not.
// The list is asked about what topics are matched with, not about the name of a group.
func (c *conn) refused(filter, inner string) mqtt.Reason {
	o := &c.b.opt
	switch {
	case levels(inner) > o.MaxFilterLevels:
		return mqtt.ReasonQuotaExceeded
	case c.access != nil && !c.access.Subscribe(inner):
		if _, secret := c.access.(Reticent); secret {
			return mqtt.ReasonUnspecifiedError
		}
		return mqtt.ReasonNotAuthorized
	}
	return mqtt.ReasonSuccess
}

// unsubscribe handles UNSUBSCRIBE; what is on the way is completed [MQTT-3.10.4-3].
// Several filters get one answer [MQTT-3.10.4-6], with a code for each in MQTT 5, in
// their order [MQTT-3.11.3-1], and without words [MQTT-3.11.2-1], [MQTT-3.11.2-2].
func (c *conn) unsubscribe(w *work, body []byte) error {
	var p mqtt.Unsubscribe
	done, err := c.long(w, mqtt.UNSUBSCRIBE, body, func() (err error) {
		p, err = mqtt.DecodeUnsubscribeUpTo(c.version, body, c.b.opt.MaxFilterBytes)
		return err
	})
	if err != nil {
		return err
	}
	defer done()
	ack := mqtt.Unsuback{PacketID: p.PacketID, Codes: make([]byte, len(p.Filters))}
	c.b.inParts(len(p.Filters), func(i int) bool {
		filter := p.Filters[i]
		if filter == "" { // longer than MaxFilterBytes: nobody has one
			ack.Codes[i] = byte(mqtt.ReasonNoSubscriptionExisted)
			return true
		}
		if _, _, err = checkFilter(filter); err != nil {
			err = &reasonError{mqtt.ReasonTopicFilterInvalid, fmt.Errorf("UNSUBSCRIBE from %.64q: %w", filter, err)}
			return false
		}
		if !c.b.unsubscribe(c.s, filter) {
			ack.Codes[i] = byte(mqtt.ReasonNoSubscriptionExisted)
		}
		return true
	})
	if err != nil {
		return err
	}
	answer, err := mqtt.AppendUnsuback(nil, c.version, &ack) // [MQTT-3.10.4-4], [MQTT-3.10.4-5]
	if err := c.tooLarge(answer, err); err != nil {
		return err
	}
	c.answerStored(w, answer, func() {})
	return nil
}
