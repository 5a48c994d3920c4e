package broker

import (
	"fmt"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// Message is what the process publishes.
type Message struct {
	Sender  string // what handlers find in Inbound.ClientID; may be empty
	Topic   string
	Payload []byte // until Send returns
	QoS     byte
	Retain  bool
	// Properties are those that go with the message; topic alias and subscription
	// identifiers, which belong to a delivery, are not used. nil: none.
	Properties *mqtt.Properties
}

// Publish is Send for a message without a sender and properties.
func (b *Broker) Publish(name string, payload []byte, qos byte, retain bool) (receivers int, err error) {
	return b.PublishAs("", name, payload, qos, retain)
}

// PublishAs is Publish for a sender with a name, which handlers find in
// Inbound.ClientID: so one that is a handler too knows its own messages.
func (b *Broker) PublishAs(sender, name string, payload []byte, qos byte, retain bool) (receivers int, err error) {
	return b.Send(&Message{Sender: sender, Topic: name, Payload: payload, QoS: qos, Retain: retain})
}

// Send spreads a message from inside the process. It copies what it keeps, and
// returns after the handlers have. receivers counts the sessions that took it,
// also persistent ones that are not connected. At QoS 1 and 2 it waits while a
// session that is to get it is over its bound, see the package documentation; a
// handler that calls it holds up its own publisher for so long. With Options.Store it also
// waits, while the broker runs, until what it has brought about is stored.
func (b *Broker) Send(m *Message) (receivers int, err error) {
	if err := topic.CheckName(m.Topic); err != nil {
		return 0, fmt.Errorf("broker: publish to %q: %w", m.Topic, err)
	}
	if m.QoS > 2 {
		return 0, fmt.Errorf("broker: publish to %q: %w", m.Topic, mqtt.ErrQoS)
	}
	if len(m.Payload) > b.opt.MaxPacketSize {
		return 0, fmt.Errorf("broker: publish to %q: payload of %d bytes, at most %d: %w",
			m.Topic, len(m.Payload), b.opt.MaxPacketSize, mqtt.ErrTooLong)
	}
	w := b.getWork()
	defer b.putWork(w)
	w.in = Inbound{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, ClientID: m.Sender, Version: mqtt.V311}
	if m.Properties != nil {
		if err := b.takeProperties(&w.in, m.Properties); err != nil {
			return 0, fmt.Errorf("broker: publish to %q: %w", m.Topic, err)
		}
	}
	func() {
		defer b.settle(w) // also when a handler panics
		receivers = b.dispatch(w, nil)
	}()
	for _, s := range w.full {
		b.waitFor(s.roomIn(), nil)
	}
	if w.fullTotal {
		b.waitFor(b.roomInTotal(), nil)
	}
	if w.stored && m.QoS > 0 {
		b.waitFor(b.journal.committed(), nil)
	}
	return receivers, nil
}

// takeProperties turns properties of the process into what a client would have sent.
func (b *Broker) takeProperties(in *Inbound, p *mqtt.Properties) error {
	plain := *p
	plain.Present &^= mqtt.Present(mqtt.PropTopicAlias)
	plain.SubscriptionIDs = nil
	raw, err := mqtt.AppendProperties(nil, mqtt.PUBLISH, &plain)
	if err != nil {
		return err
	}
	if len(raw) > b.opt.MaxPacketSize {
		return mqtt.ErrTooLong
	}
	in.props, in.Version = mqtt.AppendForwardable(raw[:0:0], raw), mqtt.V5
	if p.Has(mqtt.PropMessageExpiry) {
		in.expiry, in.expires = p.MessageExpiry, b.expiresIn(p.MessageExpiry)
	}
	return nil
}
