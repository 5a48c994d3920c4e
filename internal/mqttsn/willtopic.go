package mqttsn

// Willtopic gives a gateway the will topic (MQTT-SN 1.2, 5.4.7).
type Willtopic struct {
	QoS    QoS // 0, 1 or 2
	Retain bool
	Topic  string // "": the will is deleted
}

// Type implements Message.
func (Willtopic) Type() MsgType { return WILLTOPIC }

// DecodeWilltopic reads the body of a WILLTOPIC. Without a topic, with or without the flags
// octet before it, it is the empty form.
func DecodeWilltopic(body []byte) (Willtopic, error) {
	qos, retain, topic, err := decodeWillTopic(WILLTOPIC, body)
	return Willtopic{QoS: qos, Retain: retain, Topic: topic}, err
}

// Append implements Message. The empty form has two octets.
func (m Willtopic) Append(dst []byte) ([]byte, error) {
	return appendWillTopic(dst, WILLTOPIC, m.QoS, m.Retain, m.Topic)
}

func decodeWillTopic(t MsgType, body []byte) (QoS, bool, string, error) {
	if len(body) < 2 {
		return 0, false, "", nil
	}
	c := cursor{b: body, t: t}
	flags := c.u8("flags")
	qos, retain := qosOf(flags), flags&flagRetain != 0
	if qos < 0 {
		c.fail("flags", ErrQoS)
	}
	topic := c.name("will topic")
	if err := c.end(); err != nil {
		return 0, false, "", err
	}
	return qos, retain, topic, nil
}

func appendWillTopic(dst []byte, t MsgType, qos QoS, retain bool, topic string) ([]byte, error) {
	if topic == "" {
		return appendHeader(dst, t, 0), nil
	}
	if qos < 0 || qos > 2 {
		return dst, bad(t, "flags", ErrQoS)
	}
	if err := checkName(t, "will topic", topic); err != nil {
		return dst, err
	}
	dst = append(appendHeader(dst, t, 1+len(topic)), qos.flags()|flagIf(retain, flagRetain))
	return append(dst, topic...), nil
}
