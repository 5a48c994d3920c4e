package mqtt

import "strconv"

// Property names one property of MQTT 5 (2.2.2.2).
type Property byte

// The properties.
const (
	PropPayloadFormat           Property = 0x01
	PropMessageExpiry           Property = 0x02
	PropContentType             Property = 0x03
	PropResponseTopic           Property = 0x08
	PropCorrelationData         Property = 0x09
	PropSubscriptionID          Property = 0x0b
	PropSessionExpiry           Property = 0x11
	PropAssignedClientID        Property = 0x12
	PropServerKeepAlive         Property = 0x13
	PropAuthMethod              Property = 0x15
	PropAuthData                Property = 0x16
	PropRequestProblemInfo      Property = 0x17
	PropWillDelay               Property = 0x18
	PropRequestResponseInfo     Property = 0x19
	PropResponseInfo            Property = 0x1a
	PropServerReference         Property = 0x1c
	PropReasonString            Property = 0x1f
	PropReceiveMaximum          Property = 0x21
	PropTopicAliasMaximum       Property = 0x22
	PropTopicAlias              Property = 0x23
	PropMaximumQoS              Property = 0x24
	PropRetainAvailable         Property = 0x25
	PropUserProperty            Property = 0x26
	PropMaximumPacketSize       Property = 0x27
	PropWildcardAvailable       Property = 0x28
	PropSubscriptionIDAvailable Property = 0x29
	PropSharedAvailable         Property = 0x2a
)

// will stands for the will properties of CONNECT, where a packet type is asked for.
const will PacketType = 0

// propKind is how the value of a property is written (MQTT 5, 1.5).
type propKind byte

const (
	kindNone propKind = iota // no such property
	kindFlag                 // a byte, 0 or 1
	kindU16
	kindU32
	kindVarint
	kindText
	kindBinary
	kindPair
)

// propRules is table 2-4 of MQTT 5, by identifier.
var propRules = [...]struct {
	name string
	kind propKind
	in   uint16
}{
	PropPayloadFormat:           {"payload format indicator", kindFlag, in(PUBLISH, will)},
	PropMessageExpiry:           {"message expiry interval", kindU32, in(PUBLISH, will)},
	PropContentType:             {"content type", kindText, in(PUBLISH, will)},
	PropResponseTopic:           {"response topic", kindText, in(PUBLISH, will)},
	PropCorrelationData:         {"correlation data", kindBinary, in(PUBLISH, will)},
	PropSubscriptionID:          {"subscription identifier", kindVarint, in(PUBLISH, SUBSCRIBE)},
	PropSessionExpiry:           {"session expiry interval", kindU32, in(CONNECT, CONNACK, DISCONNECT)},
	PropAssignedClientID:        {"assigned client identifier", kindText, in(CONNACK)},
	PropServerKeepAlive:         {"server keep alive", kindU16, in(CONNACK)},
	PropAuthMethod:              {"authentication method", kindText, in(CONNECT, CONNACK, AUTH)},
	PropAuthData:                {"authentication data", kindBinary, in(CONNECT, CONNACK, AUTH)},
	PropRequestProblemInfo:      {"request problem information", kindFlag, in(CONNECT)},
	PropWillDelay:               {"will delay interval", kindU32, in(will)},
	PropRequestResponseInfo:     {"request response information", kindFlag, in(CONNECT)},
	PropResponseInfo:            {"response information", kindText, in(CONNACK)},
	PropServerReference:         {"server reference", kindText, in(CONNACK, DISCONNECT)},
	PropReasonString:            {"reason string", kindText, allAcks | in(PUBREL, PUBCOMP, AUTH)},
	PropReceiveMaximum:          {"receive maximum", kindU16, in(CONNECT, CONNACK)},
	PropTopicAliasMaximum:       {"topic alias maximum", kindU16, in(CONNECT, CONNACK)},
	PropTopicAlias:              {"topic alias", kindU16, in(PUBLISH)},
	PropMaximumQoS:              {"maximum QoS", kindFlag, in(CONNACK)},
	PropRetainAvailable:         {"retain available", kindFlag, in(CONNACK)},
	PropUserProperty:            {"user property", kindPair, 0xffff &^ in(PINGREQ, PINGRESP)},
	PropMaximumPacketSize:       {"maximum packet size", kindU32, in(CONNECT, CONNACK)},
	PropWildcardAvailable:       {"wildcard subscription available", kindFlag, in(CONNACK)},
	PropSubscriptionIDAvailable: {"subscription identifiers available", kindFlag, in(CONNACK)},
	PropSharedAvailable:         {"shared subscription available", kindFlag, in(CONNACK)},
}

// String gives the name of the specification, in lower case.
func (p Property) String() string {
	if int(p) < len(propRules) && propRules[p].kind != kindNone {
		return propRules[p].name
	}
	return "property " + strconv.Itoa(int(p))
}

// allowedIn reports whether a packet of type t, or a will, may carry the property.
func (p Property) allowedIn(t PacketType) bool {
	return int(p) < len(propRules) && propRules[p].kind != kindNone && propRules[p].in&(1<<t) != 0
}

// repeats reports whether the property may come more than once: user properties
// everywhere, subscription identifiers in PUBLISH (MQTT 5, 3.3.2.3.8).
func (p Property) repeats(t PacketType) bool {
	return p == PropUserProperty || p == PropSubscriptionID && t == PUBLISH
}

// checkNumber holds a number to the values the specification gives it.
func (p Property) checkNumber(v uint32) error {
	switch {
	case propRules[p].kind == kindFlag && v > 1: // e.g. MQTT 5, 3.1.2.11.6, 3.2.2.3.4
		return ErrValue
	case p == PropTopicAlias && v == 0: // [MQTT-3.3.2-8]
		return ErrTopicAlias
	case v > 0:
	case p == PropReceiveMaximum, p == PropMaximumPacketSize, p == PropSubscriptionID:
		return ErrValue // MQTT 5, 3.1.2.11.3, 3.1.2.11.4, 3.8.2.1.2
	}
	return nil
}

// propReader walks over the properties of a packet and refuses what is not
// allowed there. It allocates only for an error.
type propReader struct {
	c    cursor
	in   PacketType // or will
	seen PropertySet

	id     Property
	number uint32 // of the kinds that are numbers
	data   []byte // of text and binary, and the name of a user property; aliases the input
	value  []byte // of a user property
}

// next reads one property; false at the end or at an error, which is in c.err.
func (r *propReader) next() bool {
	if len(r.c.b) == 0 || r.c.err != nil {
		return false
	}
	id := r.c.varint("property identifier")
	if r.c.err != nil {
		return false
	}
	if id > 0xff || !Property(id).allowedIn(r.in) { // MQTT 5, 2.2.2.2
		r.c.fail("properties", ErrProperty)
		return false
	}
	p := Property(id)
	if r.seen.Has(p) && !p.repeats(r.in) {
		r.c.fail(p.String(), ErrPropertyTwice)
		return false
	}
	r.seen |= 1 << p
	r.id = p
	rule := &propRules[p]
	switch rule.kind {
	case kindFlag:
		r.number = uint32(r.c.u8(rule.name))
	case kindU16:
		r.number = uint32(r.c.u16(rule.name))
	case kindU32:
		r.number = r.c.u32(rule.name)
	case kindVarint:
		r.number = r.c.varint(rule.name)
	case kindText:
		r.data = r.c.text(rule.name)                                        // the content type too [MQTT-3.3.2-19]
		if p == PropResponseTopic && r.c.err == nil && !validName(r.data) { // [MQTT-3.3.2-13], [MQTT-3.3.2-14]
			r.c.fail(rule.name, ErrValue)
		}
	case kindBinary:
		r.data = r.c.bytes(rule.name)
	case kindPair: // [MQTT-1.5.7-1]
		r.data = r.c.text(rule.name)
		r.value = r.c.text(rule.name)
	}
	if rule.kind <= kindVarint && r.c.err == nil {
		if err := p.checkNumber(r.number); err != nil {
			r.c.fail(rule.name, err)
		}
	}
	return r.c.err == nil
}

// end gives the error of the walk, or what is missing after all.
func (r *propReader) end() error {
	if r.seen.Has(PropAuthData) && !r.seen.Has(PropAuthMethod) { // MQTT 5, 3.1.2.11.10
		r.c.fail(PropAuthData.String()+" without a method", ErrValue)
	}
	return r.c.err
}
