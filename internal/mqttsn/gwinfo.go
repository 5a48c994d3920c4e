package mqttsn

// Gwinfo answers a SEARCHGW (MQTT-SN 1.2, 5.4.3).
type Gwinfo struct {
	GwID byte
	// Address of the gateway, 1 to 255 octets whose meaning is the network's, where a
	// client answers for a gateway. A gateway that answers itself sends none: the
	// datagram comes from its address.
	Address []byte
}

// Type implements Message.
func (Gwinfo) Type() MsgType { return GWINFO }

// DecodeGwinfo reads the body of a GWINFO. The address starts with its own length;
// it must be what is left.
func DecodeGwinfo(body []byte) (Gwinfo, error) {
	c := cursor{b: body, t: GWINFO}
	m := Gwinfo{GwID: c.u8("gateway id")}
	if len(c.b) > 0 {
		if n := int(c.u8("gateway address")); n == 0 || n != len(c.b) {
			c.fail("gateway address", ErrLength)
		}
		m.Address = c.bytes()
	}
	return m, c.end()
}

// Append implements Message.
func (m Gwinfo) Append(dst []byte) ([]byte, error) {
	n := len(m.Address)
	if n > 255 {
		return dst, bad(GWINFO, "gateway address", ErrTooLong)
	}
	if n == 0 {
		return append(appendHeader(dst, GWINFO, 1), m.GwID), nil
	}
	return append(append(appendHeader(dst, GWINFO, 2+n), m.GwID, byte(n)), m.Address...), nil
}
