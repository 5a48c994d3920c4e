package mqtt

// Disconnect ends a connection, in MQTT 5 from either side and with a reason
// (MQTT 5, 3.14). It has no body before.
type Disconnect struct {
	Reason     Reason
	Properties *Properties // MQTT 5; nil: none
}

// DecodeDisconnect reads the body of a DISCONNECT.
func DecodeDisconnect(v Version, body []byte) (Disconnect, error) {
	if err := checkVersion(DISCONNECT, v); err != nil {
		return Disconnect{}, err
	}
	var p Disconnect
	c := cursor{b: body, t: DISCONNECT}
	if v == V5 {
		p.Reason, p.Properties = c.reason() // an empty body is a normal disconnection
	}
	if err := c.end(); err != nil {
		return Disconnect{}, err
	}
	return p, nil
}

// AppendDisconnect appends a DISCONNECT. Before MQTT 5 it says nothing.
func AppendDisconnect(dst []byte, v Version, p *Disconnect) ([]byte, error) {
	if err := checkVersion(DISCONNECT, v); err != nil {
		return dst, err
	}
	if v != V5 {
		return append(dst, byte(DISCONNECT)<<4, 0), nil
	}
	return appendReasonPacket(dst, DISCONNECT, p.Reason, p.Properties)
}

// appendReasonPacket appends a packet that is a reason and properties and nothing
// else: DISCONNECT and AUTH.
func appendReasonPacket(dst []byte, t PacketType, r Reason, p *Properties) ([]byte, error) {
	if !r.AllowedIn(t) { // [MQTT-3.14.2-1], [MQTT-3.15.2-1]
		return dst, bad(t, "reason code", ErrCode)
	}
	n, err := p.size(t, t)
	if err != nil {
		return dst, err
	}
	length := reasonSize(r, p, n)
	if length > MaxLength {
		return dst, bad(t, "properties", ErrTooLong)
	}
	return appendReason(AppendFixedHeader(dst, t, 0, length), r, p, n), nil
}
