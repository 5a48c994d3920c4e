package mqtt

// Unsubscribe ends subscriptions (MQTT 3.1.1, 3.10).
type Unsubscribe struct {
	PacketID   uint16
	Filters    []string    // at least one
	Properties *Properties // MQTT 5; nil: none
}

// DecodeUnsubscribe reads the body of an UNSUBSCRIBE.
func DecodeUnsubscribe(v Version, body []byte) (Unsubscribe, error) {
	return DecodeUnsubscribeUpTo(v, body, MaxLength)
}

// DecodeUnsubscribeUpTo is DecodeUnsubscribe for who knows no filter of more than most bytes: a longer
// one becomes "".
func DecodeUnsubscribeUpTo(v Version, body []byte, most int) (Unsubscribe, error) {
	if err := checkVersion(UNSUBSCRIBE, v); err != nil {
		return Unsubscribe{}, err
	}
	c := cursor{b: body, t: UNSUBSCRIBE}
	p := Unsubscribe{PacketID: c.id()} // [MQTT-2.3.1-1]
	if v == V5 {
		p.Properties = c.properties(UNSUBSCRIBE)
	}
	if c.err == nil && len(c.b) == 0 {
		c.fail("topic filter", ErrEmpty) // [MQTT-3.10.3-2]
	}
	for c.err == nil && len(c.b) > 0 {
		filter := c.text("topic filter") // [MQTT-3.10.3-1]
		if c.err == nil && len(filter) == 0 {
			c.fail("topic filter", ErrTopic) // [MQTT-4.7.3-1]
		}
		if len(filter) > most {
			filter = nil
		}
		p.Filters = append(p.Filters, string(filter))
	}
	if err := c.end(); err != nil {
		return Unsubscribe{}, err
	}
	return p, nil
}

// AppendUnsubscribe appends an UNSUBSCRIBE.
func AppendUnsubscribe(dst []byte, v Version, p *Unsubscribe) ([]byte, error) {
	if err := checkVersion(UNSUBSCRIBE, v); err != nil {
		return dst, err
	}
	if p.PacketID == 0 {
		return dst, bad(UNSUBSCRIBE, "packet identifier", ErrPacketID)
	}
	if len(p.Filters) == 0 {
		return dst, bad(UNSUBSCRIBE, "topic filter", ErrEmpty)
	}
	n, length := 0, 2
	if v == V5 {
		var err error
		if n, err = p.Properties.size(UNSUBSCRIBE, UNSUBSCRIBE); err != nil {
			return dst, err
		}
		length += varintSize(n) + n
	}
	for _, f := range p.Filters {
		if err := checkFilter(UNSUBSCRIBE, f); err != nil {
			return dst, err
		}
		length += 2 + len(f)
	}
	if length > MaxLength {
		return dst, bad(UNSUBSCRIBE, "topic filter", ErrTooLong)
	}
	dst = AppendFixedHeader(dst, UNSUBSCRIBE, 2, length)
	dst = appendU16(dst, p.PacketID)
	if v == V5 {
		dst = p.Properties.append(dst, n)
	}
	for _, f := range p.Filters {
		dst = appendField(dst, f)
	}
	return dst, nil
}
