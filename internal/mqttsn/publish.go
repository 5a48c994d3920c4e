package mqttsn

// Publish carries a message (MQTT-SN 1.2, 5.4.12).
type Publish struct {
	Dup       bool
	QoS       QoS
	Retain    bool
	TopicType TopicType
	TopicID   uint16 // of that type; see ShortName
	MsgID     uint16 // 0 at QoS 0 and -1
	Payload   []byte // aliases the input of DecodePublish; may be empty
}

// Type implements Message.
func (Publish) Type() MsgType { return PUBLISH }

// publishHeader is what a PUBLISH has in its body before the payload, in octets.
const publishHeader = 5

// DecodePublish reads the body of a PUBLISH. It allocates only for an error. Dup and
// message id mean nothing at QoS 0 and -1 and are read as zero there.
//
//	┌───────┬──────────┬────────┬─────────┐
//	│ flags │ topic id │ msg id │ payload │
//	└───────┴──────────┴────────┴─────────┘
func DecodePublish(body []byte) (Publish, error) {
	if len(body) < publishHeader {
		return Publish{}, bad(PUBLISH, "header", ErrTruncated)
	}
	flags := body[0]
	m := Publish{
		QoS: qosOf(flags), Retain: flags&flagRetain != 0, TopicType: TopicType(flags & flagTopic),
		TopicID: uint16(body[1])<<8 | uint16(body[2]), Payload: body[publishHeader:len(body):len(body)],
	}
	if m.QoS > 0 {
		m.Dup, m.MsgID = flags&flagDup != 0, uint16(body[3])<<8|uint16(body[4])
	}
	if err := m.check(); err != nil {
		return Publish{}, err
	}
	return m, nil
}

func (m *Publish) check() error {
	switch {
	case m.QoS < -1 || m.QoS > 2:
		return bad(PUBLISH, "flags", ErrQoS)
	case m.TopicType > Short:
		return bad(PUBLISH, "flags", ErrTopicType)
	case m.QoS == -1 && m.TopicType == Normal: // 6.8: nothing is registered without a connection
		return bad(PUBLISH, "flags", ErrTopicType)
	case m.QoS > 0 && m.MsgID == 0:
		return bad(PUBLISH, "message id", ErrMsgID)
	}
	return nil
}

// PublishSize is the number of octets of a PUBLISH with a payload of n octets.
func PublishSize(n int) int {
	if n += publishHeader + 2; n > 255 {
		n += 2
	}
	return n
}

// Append implements Message. At QoS 0 and -1 Dup and MsgID are not sent.
func (m Publish) Append(dst []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return dst, err
	}
	if err := checkLength(PUBLISH, "payload", publishHeader+len(m.Payload)); err != nil {
		return dst, err
	}
	flags, id := m.QoS.flags()|flagIf(m.Retain, flagRetain)|byte(m.TopicType), uint16(0)
	if m.QoS > 0 {
		flags, id = flags|flagIf(m.Dup, flagDup), m.MsgID
	}
	dst = append(appendHeader(dst, PUBLISH, publishHeader+len(m.Payload)), flags)
	return append(appendU16(appendU16(dst, m.TopicID), id), m.Payload...), nil
}
