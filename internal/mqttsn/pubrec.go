package mqttsn

// Pubrec is the first answer to a PUBLISH of QoS 2 (MQTT-SN 1.2, 5.4.14).
type Pubrec struct {
	MsgID uint16
}

// Type implements Message.
func (Pubrec) Type() MsgType { return PUBREC }

// DecodePubrec reads the body of a PUBREC.
func DecodePubrec(body []byte) (Pubrec, error) {
	c := cursor{b: body, t: PUBREC}
	m := Pubrec{MsgID: c.msgID()}
	return m, c.end()
}

// Append implements Message.
func (m Pubrec) Append(dst []byte) ([]byte, error) {
	if m.MsgID == 0 {
		return dst, bad(PUBREC, "message id", ErrMsgID)
	}
	return appendU16(appendHeader(dst, PUBREC, 2), m.MsgID), nil
}
