package broker

import (
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// Handler gets the messages of a filter inside the process. It is called on the
// reading goroutine of the publisher, in the order of publishing; wills and
// Publish call it too, on their own goroutines. Blocking in it is back-pressure
// on that connection and on no other. A panic in it ends the connection.
type Handler func(m *Inbound)

// Inbound is a message on its way to the handlers. It and its payload are valid
// until the handler returns; the strings may be kept.
type Inbound struct {
	Topic    string
	Payload  []byte // until return: copy what is kept
	QoS      byte   // as published
	Retain   bool   // as published
	Dup      bool   // the client sent it before and does not know whether it arrived
	Will     bool   // the will of a client that was lost
	ClientID string // "" for Publish, the sender for PublishAs
	Version  mqtt.Version

	props   []byte        // see mqtt.PublishView.Properties, without those of the delivery
	expiry  uint32        // message expiry interval, seconds, where expires says so
	expires time.Duration // see more.expires
	reason  mqtt.Reason   // what the acknowledgement says in MQTT 5

	c        *conn
	packetID uint16

	borrowed     bool // Topic is the bytes of the packet, see own
	handlersOnly bool // sessions have it, from before the broker was started
	kept         bool // by an Outgoing
	deferred     bool
	ack          Ack
	local        *localAck // of a Local's message
}

// Properties reads the properties that a publisher of MQTT 5 gave to the message,
// nil for none. The message expiry interval is what is left of it. Byte slices are
// valid until the handler returns.
func (m *Inbound) Properties() *mqtt.Properties {
	p, err := mqtt.DecodeProperties(mqtt.PUBLISH, m.props)
	if err != nil { // they were checked when they came
		return nil
	}
	if m.expires > 0 {
		if p == nil {
			p = &mqtt.Properties{}
		}
		p.Present |= mqtt.Present(mqtt.PropMessageExpiry)
		p.MessageExpiry = m.expiry
	}
	return p
}

// Defer takes over the acknowledgement of the message: the client gets its PUBACK
// or PUBREC only after Acknowledge was called with the result. Without it the
// broker acknowledges when the handlers have returned. Several handlers may defer
// one message; it is acknowledged when the last one is done. Call it before the
// handler returns.
//
// A message that needs no acknowledgement (QoS 0, wills, Publish) gives an Ack
// that does nothing.
func (m *Inbound) Defer() Ack {
	if m.local != nil {
		m.local.waits.Add(1)
		return Ack{local: m.local}
	}
	if m.c == nil || m.QoS == 0 {
		return Ack{}
	}
	return m.c.deferAck(m)
}

// Handle calls h for every message whose topic matches the filter. remove ends
// that; a call under way may still be running when remove returns. It panics on a
// filter that is not valid: filters of handlers are constants of the program.
func (b *Broker) Handle(filter string, h Handler) (remove func()) {
	if err := topic.CheckFilter(filter); err != nil {
		panic(fmt.Sprintf("broker: Handle %q: %v", filter, err))
	}
	u := &sub{filter: filter, handle: h}
	b.subs.Add(filter, u)
	return func() { b.subs.Remove(filter, u) }
}
