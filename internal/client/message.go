package client

import "github.com/wattbus/wattbus/internal/mqtt"

// Message is an application message on its way in or out.
type Message struct {
	Topic   string
	Payload []byte // in OnMessage valid until the callback returns; copied by Publish
	QoS     byte   // 0, 1 or 2
	Retain  bool

	// Properties are those of MQTT 5. In Publish they are encoded at once; before MQTT 5 they are not sent. A topic alias and
	// subscription identifiers are the connection's and no message's: they are not sent either. In OnMessage they are nil for a
	// message that has none. Of a will they may hold a delay.
	Properties *mqtt.Properties

	// Dup says of a received message that the server may have sent it before. It is ignored in Publish.
	Dup bool

	// Acked, if not nil, is called once when the server has acknowledged the message (PUBACK, or PUBCOMP at QoS 2). It is
	// called on the reading goroutine, in the order of the acknowledgements: it must not block and must not call Flush or
	// a Publish that may have to wait. It is not called at QoS 0.
	Acked func()
	// Refused, if not nil, is called in the place of Options.OnRefused when the server refused the message, in the way of Acked.
	Refused func(*ReasonError)

	// Gone, if not nil, is called once when the message has left the queue, acknowledged, refused or dropped: in the order of the
	// queue. It is called under the client's lock: it must neither block nor call the client.
	Gone func()

	// PacketID is, of a received message of QoS 1 or 2, the identifier that the server knows it by: with Dup and on a kept session,
	// one that was not acknowledged before comes with the same. It is ignored in Publish.
	PacketID uint16

	withheld bool
	c        *Client
	l        *link
}

// Withhold keeps the client from acknowledging a received message once OnMessage returns: a server that keeps the session
// sends it again on the next connection. It is for a receiver that is about to stop.
func (m *Message) Withhold() { m.withheld = true }

// Defer keeps the client from acknowledging a received message once OnMessage returns: calling what it returns does that, from
// any goroutine. Once the connection that brought the message has ended it does nothing, and returns false: a server that keeps
// the session brings the message again. Messages are to be acknowledged in the order in which they came [MQTT-4.6.0-2].
func (m *Message) Defer() (acknowledge func() bool) {
	m.withheld = true
	c, l, id, qos := m.c, m.l, m.PacketID, m.QoS
	return func() bool { return c.deferred(l, id, qos) }
}

// Subscription is a topic filter and the highest QoS wanted for it. What follows QoS is of MQTT 5 and not sent before.
type Subscription struct {
	Filter string
	QoS    byte

	NoLocal           bool   // nothing that this client published
	RetainAsPublished bool   // RETAIN as the publisher set it
	RetainHandling    byte   // mqtt.RetainSend, RetainIfNew or RetainNever
	ID                uint32 // comes back in Properties.SubscriptionIDs; 0: none
}
