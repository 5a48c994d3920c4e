package mqtt

// Ack flags of the fixed header: PUBREL alone has one set [MQTT-3.6.1-1], reserved as it
// is; the Append functions of all packets write what the table has, MQTT 3.1.1:
// [MQTT-2.2.2-1].
func ackFlags(t PacketType) byte {
	if t == PUBREL {
		return 2
	}
	return 0
}

// ack is the body that PUBACK, PUBREC, PUBREL and PUBCOMP have in common: a packet
// identifier and, in MQTT 5, a reason and properties, which may be left out where
// they say nothing (MQTT 5, 3.4.2).
type ack struct {
	PacketID   uint16
	Reason     Reason      // before MQTT 5 always ReasonSuccess
	Properties *Properties // MQTT 5; nil: none
}

func decodeAck(v Version, t PacketType, body []byte) (ack, error) {
	if err := checkVersion(t, v); err != nil {
		return ack{}, err
	}
	c := cursor{b: body, t: t}
	a := ack{PacketID: c.id()}
	if v == V5 {
		a.Reason, a.Properties = c.reason()
	}
	if err := c.end(); err != nil {
		return ack{}, err
	}
	return a, nil
}

// reason reads a reason code and properties where the packet has not ended yet.
func (c *cursor) reason() (r Reason, p *Properties) {
	if len(c.b) == 0 {
		return ReasonSuccess, nil
	}
	r = Reason(c.u8("reason code"))
	if !r.AllowedIn(c.t) { // [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-3.14.2-1], [MQTT-3.15.2-1]
		c.fail("reason code", ErrCode)
	}
	if len(c.b) == 0 {
		return r, nil
	}
	return r, c.properties(c.t)
}

// appendAck writes what MQTT 5 has to say only where it says something. A reason
// the packet cannot carry becomes an unspecified error, and properties it cannot
// carry are left out: the acknowledgement itself is what counts.
func appendAck(dst []byte, v Version, t PacketType, a ack) []byte {
	if v != V5 || a.Reason == ReasonSuccess && a.Properties == nil {
		return append(dst, byte(t)<<4|ackFlags(t), 2, byte(a.PacketID>>8), byte(a.PacketID))
	}
	if !a.Reason.AllowedIn(t) {
		if a.Reason = ReasonUnspecifiedError; t == PUBREL || t == PUBCOMP {
			a.Reason = ReasonPacketIDNotFound
		}
	}
	p := a.Properties
	n, err := p.size(t, t)
	if err != nil || n > MaxLength-8 {
		p, n = nil, 0
	}
	dst = AppendFixedHeader(dst, t, ackFlags(t), 2+reasonSize(a.Reason, p, n))
	return appendReason(appendU16(dst, a.PacketID), a.Reason, p, n)
}

// reasonSize is the number of bytes appendReason appends: none for success without
// properties, one without properties. n is what p.size returned.
func reasonSize(r Reason, p *Properties, n int) int {
	switch {
	case p == nil && r == ReasonSuccess:
		return 0
	case p == nil:
		return 1
	}
	return 1 + varintSize(n) + n
}

func appendReason(dst []byte, r Reason, p *Properties, n int) []byte {
	switch {
	case p == nil && r == ReasonSuccess:
		return dst
	case p == nil:
		return append(dst, byte(r))
	}
	return p.append(append(dst, byte(r)), n)
}
