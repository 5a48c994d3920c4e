package mqttsn

// Unsubscribe ends a subscription (MQTT-SN 1.2, 5.4.17).
type Unsubscribe struct {
	TopicType TopicType
	MsgID     uint16
	Topic     string // Normal: the topic name or filter
	TopicID   uint16 // Predefined and Short
}

// Type implements Message.
func (Unsubscribe) Type() MsgType { return UNSUBSCRIBE }

// DecodeUnsubscribe reads the body of an UNSUBSCRIBE.
func DecodeUnsubscribe(body []byte) (Unsubscribe, error) {
	c := cursor{b: body, t: UNSUBSCRIBE}
	flags := c.u8("flags")
	m := Unsubscribe{MsgID: c.msgID()}
	m.TopicType, m.Topic, m.TopicID = c.filter(flags)
	return m, c.end()
}

// Append implements Message.
func (m Unsubscribe) Append(dst []byte) ([]byte, error) {
	return appendFilter(dst, UNSUBSCRIBE, 0, m.MsgID, m.TopicType, m.Topic, m.TopicID)
}
