package mqttsn

// Register binds a topic id to a topic name (MQTT-SN 1.2, 5.4.10).
type Register struct {
	TopicID uint16 // 0 from a client: the gateway assigns it
	MsgID   uint16
	Topic   string
}

// Type implements Message.
func (Register) Type() MsgType { return REGISTER }

// DecodeRegister reads the body of a REGISTER. Wildcards in the name are the
// receiver's to refuse: it has an answer for them.
func DecodeRegister(body []byte) (Register, error) {
	c := cursor{b: body, t: REGISTER}
	m := Register{TopicID: c.u16("topic id"), MsgID: c.msgID(), Topic: c.name("topic name")}
	return m, c.end()
}

// Append implements Message.
func (m Register) Append(dst []byte) ([]byte, error) {
	if m.MsgID == 0 {
		return dst, bad(REGISTER, "message id", ErrMsgID)
	}
	if err := checkName(REGISTER, "topic name", m.Topic); err != nil {
		return dst, err
	}
	dst = appendHeader(dst, REGISTER, 4+len(m.Topic))
	return append(appendU16(appendU16(dst, m.TopicID), m.MsgID), m.Topic...), nil
}
