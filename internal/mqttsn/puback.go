package mqttsn

// Puback acknowledges a PUBLISH of QoS 1, or refuses one of any QoS (MQTT-SN 1.2, 5.4.13).
type Puback struct {
	TopicID uint16
	MsgID   uint16 // that of the PUBLISH; 0 where that had none
	Code    ReturnCode
}

// Type implements Message.
func (Puback) Type() MsgType { return PUBACK }

// DecodePuback reads the body of a PUBACK.
func DecodePuback(body []byte) (Puback, error) {
	c := cursor{b: body, t: PUBACK}
	m := Puback{TopicID: c.u16("topic id"), MsgID: c.u16("message id"), Code: ReturnCode(c.u8("return code"))}
	return m, c.end()
}

// Append implements Message.
func (m Puback) Append(dst []byte) ([]byte, error) {
	dst = appendU16(appendU16(appendHeader(dst, PUBACK, 5), m.TopicID), m.MsgID)
	return append(dst, byte(m.Code)), nil
}
