package broker

import (
	"errors"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// v5 is what a connection of MQTT 5 has besides.
type v5 struct {
	maxPacket int // largest packet the client takes, in bytes of all of it; 0: any

	// underWay is how many messages of QoS 1 and 2 of this connection the client has to count
	// against the receive maximum: until PUBACK, a PUBREC that refuses, or PUBREL.
	underWay atomic.Int32

	aliases  []string          // topics by alias, from the client; alias 1 is the first
	out      map[string]uint16 // aliases of topics, to the client
	maxAlias uint16            // of out

	method   string        // of enhanced authentication; "": none
	exchange Exchange      // under way; nil: none
	waiting  *mqtt.Connect // the CONNECT that waits for it; nil after CONNACK
	login    *Login        // what it said of itself; with waiting only

	// Why the connection ends, for DISCONNECT.
	reason    mqtt.Reason
	text      string
	redirect  mqtt.Reason // to another server, with reference; both guarded by b.mu
	reference string
	idle      chan struct{} // closed when nobody writes any more; nil: nobody waits. Guarded by s.mu
	broken    bool          // a write failed. Guarded by s.mu
	last      *chunk        // DISCONNECT, for whoever writes just now. Guarded by s.mu
}

// began counts one more message of QoS 1 or 2; false: the client has too many under way.
func (v *v5) began(most int) bool { return v.underWay.Add(1) <= int32(most) }

// counted counts one less: it is acknowledged, in a way that ends it unless qos is 2. One of
// QoS 2 of a former connection, which this one does not count, may be among them.
func (c *conn) counted(qos byte, reason mqtt.Reason) {
	if v := c.v5; v != nil && (qos == 1 || reason.Failed()) {
		v.ended()
	}
}

func (v *v5) ended() {
	for {
		n := v.underWay.Load()
		if n == 0 || v.underWay.CompareAndSwap(n, n-1) {
			return
		}
	}
}

// reasonError is an error of the client that has a reason code of its own.
type reasonError struct {
	reason mqtt.Reason
	err    error
}

func (e *reasonError) Error() string { return e.err.Error() }
func (e *reasonError) Unwrap() error { return e.err }

func refusal(r mqtt.Reason, text string) error { return &reasonError{r, errors.New(text)} }

// reasonOf is the reason code for an error of the client.
func reasonOf(err error) mqtt.Reason {
	var r *reasonError
	if errors.As(err, &r) {
		return r.reason
	}
	return mqtt.ReasonOf(err)
}

// takeConnect reads the properties of CONNECT.
func (c *conn) takeConnect(p *mqtt.Connect) {
	c.v5 = &v5{}
	props := p.Properties
	if props == nil {
		return
	}
	v := c.v5
	if props.Has(mqtt.PropReceiveMaximum) { // [MQTT-3.3.4-9], [MQTT-4.9.0-1]
		c.setWindow(min(c.b.opt.MaxInflight, int(props.ReceiveMaximum)))
	}
	if props.Has(mqtt.PropMaximumPacketSize) {
		v.maxPacket = int(min(props.MaximumPacketSize, 1<<30))
	}
	v.maxAlias = min(props.TopicAliasMaximum, uint16(c.b.opt.MaxTopicAliases)) // [MQTT-3.1.2-26], [MQTT-3.1.2-27]
	v.method = props.AuthMethod
}

// connackProperties is what CONNACK tells: what differs from what the client asked
// for, and the bounds. Every QoS and retained messages are supported, so that nothing is
// said of them and no subscription [MQTT-3.2.2-9], [MQTT-3.2.2-10] and no will
// [MQTT-3.2.2-12], [MQTT-3.2.2-13] is refused for them.
func (c *conn) connackProperties(p *mqtt.Connect, assigned bool) *mqtt.Properties {
	o := &c.b.opt
	a := &mqtt.Properties{
		// A packet whose remaining length is MaxPacketSize.
		MaximumPacketSize: uint32(o.MaxPacketSize + mqtt.HeaderSize(o.MaxPacketSize)),
		ReceiveMaximum:    uint16(o.ReceiveMaximum),
		TopicAliasMaximum: uint16(o.MaxTopicAliases),
	}
	a.Present = mqtt.Present(mqtt.PropMaximumPacketSize)
	if o.ReceiveMaximum < maxOutstanding {
		a.Present |= mqtt.Present(mqtt.PropReceiveMaximum)
	}
	if o.MaxTopicAliases > 0 {
		a.Present |= mqtt.Present(mqtt.PropTopicAliasMaximum)
	}
	if assigned { // [MQTT-3.2.2-16]
		a.Present |= mqtt.Present(mqtt.PropAssignedClientID)
		a.AssignedClientID = p.ClientID
	}
	if c.keepAliveChanged(p) { // [MQTT-3.2.2-21]
		a.Present |= mqtt.Present(mqtt.PropServerKeepAlive)
		a.ServerKeepAlive = p.KeepAlive
	}
	if p.Properties == nil {
		return a
	}
	if asked, given := p.Properties.SessionExpiry, c.b.allowedExpiry(p.Properties.SessionExpiry); given >= 0 && given != seconds(asked) {
		a.Present |= mqtt.Present(mqtt.PropSessionExpiry)
		a.SessionExpiry = uint32(given.Seconds())
	}
	if p.Properties.RequestResponseInfo && o.ResponseTopics != "" { // [MQTT-3.1.2-28]
		a.Present |= mqtt.Present(mqtt.PropResponseInfo)
		a.ResponseInfo = o.ResponseTopics + "/" + p.ClientID
	}
	return a
}

// keepAliveChanged applies MaxKeepAlive: a client of MQTT 5 is told how often it has to
// be heard of.
func (c *conn) keepAliveChanged(p *mqtt.Connect) bool {
	most := uint16(c.b.opt.MaxKeepAlive.Seconds())
	if most == 0 || p.KeepAlive > 0 && p.KeepAlive <= most {
		return false
	}
	p.KeepAlive = most
	return true
}

// fits leaves out what a packet to the client can do without until it is no larger than
// the client takes [MQTT-3.2.2-19], [MQTT-3.2.2-20]. ok is false if that is not enough
// [MQTT-3.1.2-24].
func (c *conn) fits(a *mqtt.Connack) (ok bool) {
	for _, p := range []mqtt.Property{0, mqtt.PropReasonString, mqtt.PropResponseInfo, mqtt.PropMaximumPacketSize, mqtt.PropTopicAliasMaximum} {
		if a.Properties != nil && p > 0 {
			a.Properties.Present &^= mqtt.Present(p)
		}
		b, err := mqtt.AppendConnack(nil, c.version, a)
		if err == nil && (c.v5 == nil || c.v5.maxPacket == 0 || len(b) <= c.v5.maxPacket) {
			return true
		}
	}
	return false
}
