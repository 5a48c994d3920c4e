package mqtt

// Publish carries a message (MQTT 3.1.1, 3.3).
type Publish struct {
	Dup        bool
	QoS        byte
	Retain     bool
	Topic      string // MQTT 5: may be empty with a topic alias
	PacketID   uint16 // 0 at QoS 0
	Payload    []byte // aliases the input of DecodePublish
	Properties *Properties
}

// PublishView is a PUBLISH whose topic, properties and payload all alias the input.
type PublishView struct {
	Dup      bool
	QoS      byte
	Retain   bool
	Topic    []byte
	PacketID uint16
	Payload  []byte

	// MQTT 5. Properties are those of the packet as they came, checked, without
	// their length; DecodeProperties reads them, AppendForwardable takes what a
	// server passes on. The two that change what is done with the packet are read
	// already.
	Properties []byte
	TopicAlias uint16 // 0: none
	HasExpiry  bool
	Expiry     uint32 // message expiry interval, seconds
	// HasSubscriptionID: only a server may send one [MQTT-3.3.4-6].
	HasSubscriptionID bool
}

// ParsePublish reads the body of a PUBLISH with the flags of its fixed header
// and copies nothing. It allocates only for an error.
func ParsePublish(v Version, flags byte, body []byte) (PublishView, error) {
	if err := (FixedHeader{Type: PUBLISH, Flags: flags, Length: len(body)}).Check(v); err != nil {
		return PublishView{}, err
	}
	c := cursor{b: body, t: PUBLISH}
	p := PublishView{Dup: flags&8 != 0, QoS: flags >> 1 & 3, Retain: flags&1 != 0}
	p.Topic = c.text("topic") // [MQTT-3.3.2-1]
	if c.err == nil && !validName(p.Topic) && (v != V5 || len(p.Topic) > 0) {
		c.fail("topic", ErrTopic) // [MQTT-3.3.2-2], [MQTT-4.7.3-1]
	}
	if p.QoS > 0 { // [MQTT-2.3.1-5], MQTT 5: [MQTT-2.2.1-2]
		p.PacketID = c.id() // [MQTT-2.3.1-1], [MQTT-2.2.1-3]
	}
	if v == V5 {
		if c.err == nil && len(c.b) > 0 && c.b[0] == 0 { // none, as most have
			c.b = c.b[1:]
		} else {
			c.err = p.parseProperties(&c)
		}
		if c.err == nil && len(p.Topic) == 0 && p.TopicAlias == 0 { // MQTT 5, 3.3.2.1
			c.fail("topic", ErrNoTopic)
		}
	}
	if c.err != nil {
		return PublishView{}, c.err
	}
	p.Payload = c.b[:len(c.b):len(c.b)]
	return p, nil
}

func (p *PublishView) parseProperties(c *cursor) error {
	p.Properties = c.section()
	if c.err != nil {
		return c.err
	}
	r := propReader{c: cursor{b: p.Properties, t: PUBLISH}, in: PUBLISH}
	for r.next() {
		switch r.id {
		case PropTopicAlias:
			p.TopicAlias = uint16(r.number)
		case PropMessageExpiry:
			p.HasExpiry, p.Expiry = true, r.number
		case PropSubscriptionID:
			p.HasSubscriptionID = true
		}
	}
	return r.end()
}

// DecodePublish is ParsePublish with a topic and properties that may be kept.
func DecodePublish(v Version, flags byte, body []byte) (Publish, error) {
	p, err := ParsePublish(v, flags, body)
	if err != nil {
		return Publish{}, err
	}
	props, err := DecodeProperties(PUBLISH, p.Properties)
	return Publish{
		Dup: p.Dup, QoS: p.QoS, Retain: p.Retain,
		Topic: string(p.Topic), PacketID: p.PacketID, Payload: p.Payload, Properties: props,
	}, err
}

// AppendPublish appends a PUBLISH. At QoS 0 PacketID and Dup are not sent, before
// MQTT 5 properties are not.
func AppendPublish(dst []byte, v Version, p *Publish) ([]byte, error) {
	if err := p.check(v); err != nil {
		return dst, err
	}
	length := publishLength(p.QoS, len(p.Topic), len(p.Payload))
	n := 0
	if v == V5 {
		var err error
		if n, err = p.Properties.size(PUBLISH, PUBLISH); err != nil {
			return dst, err
		}
		length += varintSize(n) + n
	}
	if length > MaxLength {
		return dst, bad(PUBLISH, "payload", ErrTooLong)
	}
	dst = AppendFixedHeader(dst, PUBLISH, p.flags(), length)
	dst = appendField(dst, p.Topic)
	if p.QoS > 0 { // [MQTT-2.3.1-5], MQTT 5: [MQTT-2.2.1-2]
		dst = appendU16(dst, p.PacketID)
	}
	if v == V5 {
		dst = p.Properties.append(dst, n)
	}
	return append(dst, p.Payload...), nil
}

// PublishSize is the number of bytes AppendPublish appends for a valid packet
// without properties, with a topic and a payload of these lengths.
func PublishSize(v Version, qos byte, topic, payload int) int {
	n := publishLength(qos, topic, payload)
	if v == V5 {
		n++
	}
	return HeaderSize(n) + n
}

// publishLength is the remaining length but for what only MQTT 5 has.
func publishLength(qos byte, topic, payload int) int {
	n := 2 + topic + payload
	if qos > 0 {
		n += 2
	}
	return n
}

func (p *Publish) flags() byte {
	flags := p.QoS << 1
	if p.Dup && p.QoS > 0 { // [MQTT-3.3.1-2]
		flags |= 8
	}
	if p.Retain {
		flags |= 1
	}
	return flags
}

func (p *Publish) check(v Version) error {
	if err := checkVersion(PUBLISH, v); err != nil {
		return err
	}
	if p.QoS > 2 {
		return bad(PUBLISH, "QoS", ErrQoS)
	}
	if p.QoS > 0 && p.PacketID == 0 {
		return bad(PUBLISH, "packet identifier", ErrPacketID)
	}
	if v == V5 && p.Topic == "" {
		if !p.Properties.Has(PropTopicAlias) {
			return bad(PUBLISH, "topic", ErrNoTopic)
		}
		return nil
	}
	return checkName(PUBLISH, "topic", p.Topic)
}
