package client

import (
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// limits is what a server of MQTT 5 said in CONNACK that it takes; before, what every server takes.
type limits struct {
	receive   uint64        // unacknowledged messages [MQTT-3.3.4-9]
	packet    int           // bytes of a packet; 0: any [MQTT-3.2.2-15]
	qos       byte          // [MQTT-3.2.2-11]
	noRetain  bool          // [MQTT-3.2.2-14]
	aliases   uint16        // topic aliases [MQTT-3.2.2-17]; 0: none [MQTT-3.2.2-18]
	noSubID   bool          // no subscription identifiers (MQTT 5, 3.2.2.3.12)
	keepAlive time.Duration // negative: as the client asked [MQTT-3.2.2-21]
}

func noLimits() limits { return limits{receive: MaxInflight, qos: 2, keepAlive: -1} }

// read takes over the properties of a CONNACK.
func (m *limits) read(p *mqtt.Properties) error {
	if p.Has(mqtt.PropReceiveMaximum) {
		m.receive = uint64(p.ReceiveMaximum)
	}
	if p.Has(mqtt.PropMaximumPacketSize) {
		m.packet = int(p.MaximumPacketSize)
	}
	if p.Has(mqtt.PropTopicAliasMaximum) {
		m.aliases = p.TopicAliasMaximum
	}
	if p.Has(mqtt.PropMaximumQoS) {
		m.qos = p.MaximumQoS
	}
	if p.Has(mqtt.PropRetainAvailable) {
		m.noRetain = !p.RetainAvailable
	}
	if p.Has(mqtt.PropSubscriptionIDAvailable) {
		m.noSubID = !p.SubscriptionIDAvailable
	}
	if p.Has(mqtt.PropServerKeepAlive) {
		m.keepAlive = time.Duration(p.ServerKeepAlive) * time.Second
	}
	if m.qos == 0 { // what is queued at QoS 1 has a promise that QoS 0 does not keep
		return fmt.Errorf("QoS 1: %w", ErrUnsupported)
	}
	return nil
}

// window is how many messages from the oldest unacknowledged one on may be under way on a link. Those of QoS 0 and those
// acknowledged out of order count too: fewer than allowed, never more. The client's mutex is held.
func (c *Client) window(l *link) uint64 {
	w := l.limits.receive
	if l.birth && w < MaxInflight { // it counts as well
		w--
	}
	return min(w, uint64(c.o.MaxInflight))
}

// outgoing are the properties of a message that a client may send.
func outgoing(p *mqtt.Properties) *mqtt.Properties {
	// Topic aliases are the client's own, see aliases.
	const never = 1<<mqtt.PropTopicAlias | 1<<mqtt.PropWillDelay
	if p == nil || p.Present&never == 0 && len(p.SubscriptionIDs) == 0 {
		return p
	}
	q := *p
	q.Present &^= never
	q.SubscriptionIDs = nil // [MQTT-3.3.4-6]
	return &q
}
