package mqttsn

// Pubrel answers a PUBREC (MQTT-SN 1.2, 5.4.14).
type Pubrel struct {
	MsgID uint16
}

// Type implements Message.
func (Pubrel) Type() MsgType { return PUBREL }

// DecodePubrel reads the body of a PUBREL.
func DecodePubrel(body []byte) (Pubrel, error) {
	c := cursor{b: body, t: PUBREL}
	m := Pubrel{MsgID: c.msgID()}
	return m, c.end()
}

// Append implements Message.
func (m Pubrel) Append(dst []byte) ([]byte, error) {
	if m.MsgID == 0 {
		return dst, bad(PUBREL, "message id", ErrMsgID)
	}
	return appendU16(appendHeader(dst, PUBREL, 2), m.MsgID), nil
}
