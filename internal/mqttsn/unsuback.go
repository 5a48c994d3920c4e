package mqttsn

// Unsuback answers an UNSUBSCRIBE (MQTT-SN 1.2, 5.4.18).
type Unsuback struct {
	MsgID uint16
}

// Type implements Message.
func (Unsuback) Type() MsgType { return UNSUBACK }

// DecodeUnsuback reads the body of a UNSUBACK.
func DecodeUnsuback(body []byte) (Unsuback, error) {
	c := cursor{b: body, t: UNSUBACK}
	m := Unsuback{MsgID: c.msgID()}
	return m, c.end()
}

// Append implements Message.
func (m Unsuback) Append(dst []byte) ([]byte, error) {
	if m.MsgID == 0 {
		return dst, bad(UNSUBACK, "message id", ErrMsgID)
	}
	return appendU16(appendHeader(dst, UNSUBACK, 2), m.MsgID), nil
}
