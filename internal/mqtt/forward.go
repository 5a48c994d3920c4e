package mqtt

// Forward is a PUBLISH as a server passes it on: the properties that the publisher
// gave to the message go out unaltered and in their order [MQTT-3.3.2-4],
// [MQTT-3.3.2-15] to [MQTT-3.3.2-18], [MQTT-3.3.2-20], the correlation data
// [MQTT-3.3.2-16] and user properties [MQTT-3.3.2-17] among them; those of the delivery
// come from the server.
type Forward struct {
	Publish // Properties is not used

	Forwardable     []byte // what AppendForwardable gave
	HasExpiry       bool
	Expiry          uint32 // seconds that are left [MQTT-3.3.2-6]
	TopicAlias      uint16 // 0: none
	SubscriptionIDs []uint32
}

// AppendForwardable appends those of the properties of a PUBLISH that belong to the
// message and not to its delivery. b is what ParsePublish has checked. Topic alias
// and expiry are left out, and subscription identifiers, which no client may send.
func AppendForwardable(dst, b []byte) []byte {
	r := propReader{c: cursor{b: b, t: PUBLISH}, in: PUBLISH}
	for start := r.c.b; r.next(); start = r.c.b {
		switch r.id {
		case PropTopicAlias, PropMessageExpiry, PropSubscriptionID:
		default:
			dst = append(dst, start[:len(start)-len(r.c.b)]...)
		}
	}
	return dst
}

// AppendProperties appends the properties as they stand in a packet of type t,
// without their length: the way back from DecodeProperties.
func AppendProperties(dst []byte, t PacketType, p *Properties) ([]byte, error) {
	if _, err := p.size(t, t); err != nil || p == nil {
		return dst, err
	}
	return p.appendEach(dst), nil
}

// propertySize is the number of bytes of all properties without their length.
func (f *Forward) propertySize() int {
	n := len(f.Forwardable)
	if f.HasExpiry {
		n += 5
	}
	if f.TopicAlias > 0 {
		n += 3
	}
	for _, id := range f.SubscriptionIDs {
		n += 1 + varintSize(int(id))
	}
	return n
}

// Size is the number of bytes AppendForward appends.
func (f *Forward) Size(v Version) int {
	n := publishLength(f.QoS, len(f.Topic), len(f.Payload))
	if v == V5 {
		props := f.propertySize()
		n += varintSize(props) + props
	}
	return HeaderSize(n) + n
}

// AppendForward appends a PUBLISH of MQTT 5, or of an older version without what
// that does not know. The fields are not checked again: a server has them from
// packets that it has read, or from its own process and checked there.
func AppendForward(dst []byte, v Version, f *Forward) []byte {
	length := publishLength(f.QoS, len(f.Topic), len(f.Payload))
	props := 0
	if v == V5 {
		props = f.propertySize()
		length += varintSize(props) + props
	}
	dst = AppendFixedHeader(dst, PUBLISH, f.flags(), length)
	dst = appendField(dst, f.Topic)
	if f.QoS > 0 { // [MQTT-2.3.1-5], MQTT 5: [MQTT-2.2.1-2]
		dst = appendU16(dst, f.PacketID)
	}
	if v != V5 {
		return append(dst, f.Payload...)
	}
	dst = appendVarint(dst, props)
	if f.HasExpiry {
		dst = appendU32(append(dst, byte(PropMessageExpiry)), f.Expiry)
	}
	if f.TopicAlias > 0 {
		dst = appendU16(append(dst, byte(PropTopicAlias)), f.TopicAlias)
	}
	for _, id := range f.SubscriptionIDs {
		dst = appendVarint(append(dst, byte(PropSubscriptionID)), int(id))
	}
	return append(append(dst, f.Forwardable...), f.Payload...)
}
