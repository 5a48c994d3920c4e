package mqttsn

// Pubcomp answers a PUBREL and ends an exchange of QoS 2 (MQTT-SN 1.2, 5.4.14).
type Pubcomp struct {
	MsgID uint16
}

// Type implements Message.
func (Pubcomp) Type() MsgType { return PUBCOMP }

// DecodePubcomp reads the body of a PUBCOMP.
func DecodePubcomp(body []byte) (Pubcomp, error) {
	c := cursor{b: body, t: PUBCOMP}
	m := Pubcomp{MsgID: c.msgID()}
	return m, c.end()
}

// Append implements Message.
func (m Pubcomp) Append(dst []byte) ([]byte, error) {
	if m.MsgID == 0 {
		return dst, bad(PUBCOMP, "message id", ErrMsgID)
	}
	return appendU16(appendHeader(dst, PUBCOMP, 2), m.MsgID), nil
}
