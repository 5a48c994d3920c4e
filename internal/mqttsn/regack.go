package mqttsn

// Regack answers a REGISTER (MQTT-SN 1.2, 5.4.11).
type Regack struct {
	TopicID uint16
	MsgID   uint16
	Code    ReturnCode
}

// Type implements Message.
func (Regack) Type() MsgType { return REGACK }

// DecodeRegack reads the body of a REGACK.
func DecodeRegack(body []byte) (Regack, error) {
	c := cursor{b: body, t: REGACK}
	m := Regack{TopicID: c.u16("topic id"), MsgID: c.u16("message id"), Code: ReturnCode(c.u8("return code"))}
	return m, c.end()
}

// Append implements Message.
func (m Regack) Append(dst []byte) ([]byte, error) {
	dst = appendU16(appendU16(appendHeader(dst, REGACK, 5), m.TopicID), m.MsgID)
	return append(dst, byte(m.Code)), nil
}
