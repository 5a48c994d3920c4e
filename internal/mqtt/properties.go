package mqtt

// PropertySet says which properties there are, a bit for each.
type PropertySet uint64

// Present is the set of these properties.
func Present(ps ...Property) (s PropertySet) {
	for _, p := range ps {
		s |= 1 << p
	}
	return s
}

// Has reports whether p is in the set.
func (s PropertySet) Has(p Property) bool { return s&(1<<p) != 0 }

// Properties are the properties of one packet or will. A property is there if its
// bit is in Present; the two lists are there if they are not empty, without a bit.
// Packets without properties have a nil *Properties.
//
// Which packet may carry which is table 2-4 of MQTT 5; Decode and Append functions
// hold to it.
type Properties struct {
	Present PropertySet

	// PUBLISH and will.
	PayloadFormat   byte   // 1: the payload is UTF-8 text
	MessageExpiry   uint32 // seconds
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte // aliases the input when decoded
	TopicAlias      uint16 // PUBLISH only; not 0
	WillDelay       uint32 // will only; seconds
	// SubscriptionIDs: in PUBLISH any number, in SUBSCRIBE one; 1 to MaxLength.
	SubscriptionIDs []uint32

	// CONNECT, CONNACK, DISCONNECT, AUTH.
	SessionExpiry           uint32 // seconds; 0xffffffff: never
	AssignedClientID        string
	ServerKeepAlive         uint16 // seconds
	AuthMethod              string
	AuthData                []byte // aliases the input when decoded
	RequestProblemInfo      bool
	RequestResponseInfo     bool
	ResponseInfo            string
	ServerReference         string
	ReceiveMaximum          uint16 // not 0
	TopicAliasMaximum       uint16
	MaximumQoS              byte // 0 or 1
	RetainAvailable         bool
	MaximumPacketSize       uint32 // bytes of the whole packet; not 0
	WildcardAvailable       bool
	SubscriptionIDAvailable bool
	SharedAvailable         bool

	ReasonString   string // for people
	UserProperties []UserProperty
}

// UserProperty is a name and a value of the user's own; the same name may come
// more than once, and order counts.
type UserProperty struct {
	Name, Value string
}

// Has reports whether the property is there; nil has none.
func (p *Properties) Has(id Property) bool {
	switch {
	case p == nil:
		return false
	case id == PropUserProperty:
		return len(p.UserProperties) > 0
	case id == PropSubscriptionID:
		return len(p.SubscriptionIDs) > 0
	}
	return p.Present.Has(id)
}

// DecodeProperties reads the properties of a packet of type t, without the length
// in front of them, as [PublishView] has them. nil: there are none.
func DecodeProperties(t PacketType, b []byte) (*Properties, error) {
	return decodeProperties(t, t, b)
}

// decodeProperties: packet names the packet in errors; in says which properties
// are allowed, which for a will is not the packet.
func decodeProperties(packet, in PacketType, b []byte) (*Properties, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := propReader{c: cursor{b: b, t: packet}, in: in}
	p := &Properties{}
	for r.next() {
		switch propRules[r.id].kind {
		case kindText:
			*p.text(r.id) = string(r.data)
		case kindBinary:
			*p.binary(r.id) = r.data
		case kindPair:
			p.UserProperties = append(p.UserProperties, UserProperty{string(r.data), string(r.value)})
			continue
		case kindVarint:
			p.SubscriptionIDs = append(p.SubscriptionIDs, r.number)
			continue
		default:
			p.setNumber(r.id, r.number)
		}
		p.Present |= 1 << r.id
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return p, nil
}

// properties reads the length and the properties of the packet, or of its will.
func (c *cursor) properties(in PacketType) *Properties {
	b := c.section()
	if c.err != nil {
		return nil
	}
	p, err := decodeProperties(c.t, in, b)
	if err != nil {
		c.err, c.b = err, nil
	}
	return p
}

// section reads a length and so many bytes; it aliases the input.
func (c *cursor) section() []byte {
	n := int(c.varint("property length"))
	if n > len(c.b) {
		c.fail("property length", ErrTruncated)
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// size is the number of bytes the properties take without their length, and the
// first thing about them that a packet of this type cannot carry.
func (p *Properties) size(packet, in PacketType) (n int, err error) {
	if p == nil {
		return 0, nil
	}
	for set := p.Present; set != 0; set &= set - 1 {
		id := set.first()
		if !id.allowedIn(in) || id == PropUserProperty || id == PropSubscriptionID {
			return 0, bad(packet, id.String(), ErrProperty)
		}
		switch kind := propRules[id].kind; kind {
		case kindText:
			s := *p.text(id)
			if err := checkText(packet, id.String(), s); err != nil {
				return 0, err
			}
			if id == PropResponseTopic && checkName(packet, "", s) != nil { // [MQTT-3.3.2-14]
				return 0, bad(packet, id.String(), ErrValue)
			}
			n += 3 + len(s)
		case kindBinary:
			if len(*p.binary(id)) > 0xffff {
				return 0, bad(packet, id.String(), ErrTooLong)
			}
			n += 3 + len(*p.binary(id))
		default:
			if err := id.checkNumber(p.number(id)); err != nil {
				return 0, bad(packet, id.String(), err)
			}
			n += 1 + numberSize[kind]
		}
	}
	if p.Present.Has(PropAuthData) && !p.Present.Has(PropAuthMethod) {
		return 0, bad(packet, PropAuthData.String()+" without a method", ErrValue)
	}
	if len(p.SubscriptionIDs) > 0 && !PropSubscriptionID.allowedIn(in) {
		return 0, bad(packet, PropSubscriptionID.String(), ErrProperty)
	}
	if len(p.SubscriptionIDs) > 1 && !PropSubscriptionID.repeats(in) {
		return 0, bad(packet, PropSubscriptionID.String(), ErrPropertyTwice)
	}
	for _, id := range p.SubscriptionIDs {
		if id == 0 || id > MaxLength {
			return 0, bad(packet, PropSubscriptionID.String(), ErrValue)
		}
		n += 1 + varintSize(int(id))
	}
	for _, u := range p.UserProperties {
		for _, s := range [2]string{u.Name, u.Value} {
			if err := checkText(packet, PropUserProperty.String(), s); err != nil {
				return 0, err
			}
		}
		n += 5 + len(u.Name) + len(u.Value)
	}
	if n > MaxLength {
		return 0, bad(packet, "properties", ErrTooLong)
	}
	return n, nil
}

// append appends the length and the properties; n is what size returned. No properties
// have the length 0, MQTT 5: [MQTT-2.2.2-1].
func (p *Properties) append(dst []byte, n int) []byte {
	dst = appendVarint(dst, n)
	if p == nil {
		return dst
	}
	return p.appendEach(dst)
}

func (p *Properties) appendEach(dst []byte) []byte {
	for set := p.Present; set != 0; set &= set - 1 {
		id := set.first()
		dst = append(dst, byte(id))
		switch propRules[id].kind {
		case kindText:
			dst = appendField(dst, *p.text(id))
		case kindBinary:
			dst = appendField(dst, *p.binary(id))
		case kindFlag:
			dst = append(dst, byte(p.number(id)))
		case kindU16:
			dst = appendU16(dst, uint16(p.number(id)))
		default:
			dst = appendU32(dst, p.number(id))
		}
	}
	for _, id := range p.SubscriptionIDs {
		dst = appendVarint(append(dst, byte(PropSubscriptionID)), int(id))
	}
	for _, u := range p.UserProperties {
		dst = appendField(appendField(append(dst, byte(PropUserProperty)), u.Name), u.Value)
	}
	return dst
}
