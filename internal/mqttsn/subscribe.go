package mqttsn

// Subscribe asks for messages (MQTT-SN 1.2, 5.4.15).
type Subscribe struct {
	Dup       bool
	QoS       QoS // 0, 1 or 2
	TopicType TopicType
	MsgID     uint16
	Topic     string // Normal: a topic name, or a filter with wildcards
	TopicID   uint16 // Predefined and Short
}

// Type implements Message.
func (Subscribe) Type() MsgType { return SUBSCRIBE }

// DecodeSubscribe reads the body of a SUBSCRIBE. Whether the wildcards of a filter
// stand right is the receiver's to check.
func DecodeSubscribe(body []byte) (Subscribe, error) {
	c := cursor{b: body, t: SUBSCRIBE}
	flags := c.u8("flags")
	m := Subscribe{Dup: flags&flagDup != 0, QoS: qosOf(flags), MsgID: c.msgID()}
	if c.err == nil && m.QoS < 0 {
		c.fail("flags", ErrQoS)
	}
	m.TopicType, m.Topic, m.TopicID = c.filter(flags)
	return m, c.end()
}

// Append implements Message.
func (m Subscribe) Append(dst []byte) ([]byte, error) {
	if m.QoS < 0 || m.QoS > 2 {
		return dst, bad(SUBSCRIBE, "flags", ErrQoS)
	}
	flags := flagIf(m.Dup, flagDup) | m.QoS.flags()
	return appendFilter(dst, SUBSCRIBE, flags, m.MsgID, m.TopicType, m.Topic, m.TopicID)
}

// filter reads what SUBSCRIBE and UNSUBSCRIBE end with.
func (c *cursor) filter(flags byte) (t TopicType, name string, id uint16) {
	switch t = TopicType(flags & flagTopic); t {
	case Normal:
		name = c.name("topic name")
	case Predefined, Short:
		id = c.u16("topic id")
	default:
		c.fail("flags", ErrTopicType)
	}
	return t, name, id
}

func appendFilter(dst []byte, t MsgType, flags byte, msgID uint16, tt TopicType, name string, id uint16) ([]byte, error) {
	if msgID == 0 {
		return dst, bad(t, "message id", ErrMsgID)
	}
	flags |= byte(tt)
	switch tt {
	case Normal:
		if err := checkName(t, "topic name", name); err != nil {
			return dst, err
		}
		dst = append(appendHeader(dst, t, 3+len(name)), flags)
		return append(appendU16(dst, msgID), name...), nil
	case Predefined, Short:
		dst = append(appendHeader(dst, t, 5), flags)
		return appendU16(appendU16(dst, msgID), id), nil
	}
	return dst, bad(t, "flags", ErrTopicType)
}
