package mqttsn

// Suback answers a SUBSCRIBE (MQTT-SN 1.2, 5.4.16).
type Suback struct {
	QoS     QoS    // granted: 0, 1 or 2
	TopicID uint16 // that of the topic name; 0 for a filter with wildcards and for a short name
	MsgID   uint16
	Code    ReturnCode
}

// Type implements Message.
func (Suback) Type() MsgType { return SUBACK }

// DecodeSuback reads the body of a SUBACK.
func DecodeSuback(body []byte) (Suback, error) {
	c := cursor{b: body, t: SUBACK}
	m := Suback{QoS: qosOf(c.u8("flags"))}
	if c.err == nil && m.QoS < 0 {
		c.fail("flags", ErrQoS)
	}
	m.TopicID, m.MsgID, m.Code = c.u16("topic id"), c.msgID(), ReturnCode(c.u8("return code"))
	return m, c.end()
}

// Append implements Message.
func (m Suback) Append(dst []byte) ([]byte, error) {
	switch {
	case m.QoS < 0 || m.QoS > 2:
		return dst, bad(SUBACK, "flags", ErrQoS)
	case m.MsgID == 0:
		return dst, bad(SUBACK, "message id", ErrMsgID)
	}
	dst = append(appendHeader(dst, SUBACK, 6), m.QoS.flags())
	return append(appendU16(appendU16(dst, m.TopicID), m.MsgID), byte(m.Code)), nil
}
