package mqtt

// Subscribe asks for messages (MQTT 3.1.1, 3.8).
type Subscribe struct {
	PacketID      uint16
	Subscriptions []Subscription // at least one
	Properties    *Properties    // MQTT 5: a subscription identifier, user properties; nil: none
}

// Subscription is one topic filter and the highest QoS wanted for it. The other
// options are of MQTT 5 (3.8.3.1) and are not sent before.
type Subscription struct {
	Filter string // UTF-8, not empty; whether its wildcards stand right is the caller's to check
	QoS    byte

	NoLocal           bool // nothing that the client published itself
	RetainAsPublished bool // RETAIN as the publisher set it
	RetainHandling    byte // when retained messages are sent: a constant below
}

// When the retained messages of a subscription are sent.
const (
	RetainSend  = 0 // at every SUBSCRIBE
	RetainIfNew = 1 // if there was no such subscription
	RetainNever = 2
)

const sharePrefix = "$share/"

// Shared reports whether the filter is that of a shared subscription: the messages
// are divided between the clients of a share name (MQTT 5, 4.8.2).
func (s *Subscription) Shared() bool {
	return len(s.Filter) > len(sharePrefix) && s.Filter[:len(sharePrefix)] == sharePrefix
}

// options is the byte behind the filter.
func (s *Subscription) options(v Version) byte {
	o := s.QoS
	if v == V5 {
		if s.NoLocal {
			o |= 1 << 2
		}
		if s.RetainAsPublished {
			o |= 1 << 3
		}
		o |= s.RetainHandling << 4
	}
	return o
}

func (s *Subscription) setOptions(v Version, o byte) error {
	s.QoS = o & 3
	if v != V5 {
		if o > 2 { // [MQTT-3.8.3-4] of MQTT 3.1.1: reserved bits and QoS 3
			return ErrQoS
		}
		return nil
	}
	s.NoLocal, s.RetainAsPublished, s.RetainHandling = o&(1<<2) != 0, o&(1<<3) != 0, o>>4&3
	if o&0xc0 != 0 { // [MQTT-3.8.3-5]
		return ErrFlags
	}
	return s.checkOptions()
}

func (s *Subscription) checkOptions() error {
	switch {
	case s.QoS > 2:
		return ErrQoS
	case s.RetainHandling > RetainNever: // MQTT 5, 3.8.3.1
		return ErrValue
	case s.NoLocal && s.Shared(): // [MQTT-3.8.3-4]
		return ErrValue
	}
	return nil
}

// DecodeSubscribe reads the body of a SUBSCRIBE.
func DecodeSubscribe(v Version, body []byte) (Subscribe, error) {
	return DecodeSubscribeUpTo(v, body, MaxLength)
}

// DecodeSubscribeUpTo is DecodeSubscribe for who takes no filter of more than most bytes: of a longer
// one Filter is "", which no filter is, and nothing is copied.
func DecodeSubscribeUpTo(v Version, body []byte, most int) (Subscribe, error) {
	if err := checkVersion(SUBSCRIBE, v); err != nil {
		return Subscribe{}, err
	}
	c := cursor{b: body, t: SUBSCRIBE}
	p := Subscribe{PacketID: c.id()} // [MQTT-2.3.1-1]
	if v == V5 {
		p.Properties = c.properties(SUBSCRIBE)
	}
	if c.err == nil && len(c.b) == 0 {
		c.fail("topic filter", ErrEmpty) // [MQTT-3.8.3-2]; [MQTT-3.8.3-3] of MQTT 3.1.1
	}
	for c.err == nil && len(c.b) > 0 {
		filter := c.text("topic filter") // [MQTT-3.8.3-1]
		options := c.u8("subscription options")
		if c.err != nil {
			break
		}
		if len(filter) == 0 { // [MQTT-4.7.3-1]
			c.fail("topic filter", ErrTopic)
			break
		}
		var s Subscription
		if len(filter) <= most {
			s.Filter = string(filter)
		}
		if err := s.setOptions(v, options); err != nil {
			c.fail("subscription options", err)
			break
		}
		p.Subscriptions = append(p.Subscriptions, s)
	}
	if err := c.end(); err != nil {
		return Subscribe{}, err
	}
	return p, nil
}

// AppendSubscribe appends a SUBSCRIBE.
func AppendSubscribe(dst []byte, v Version, p *Subscribe) ([]byte, error) {
	if err := checkVersion(SUBSCRIBE, v); err != nil {
		return dst, err
	}
	if p.PacketID == 0 {
		return dst, bad(SUBSCRIBE, "packet identifier", ErrPacketID)
	}
	if len(p.Subscriptions) == 0 {
		return dst, bad(SUBSCRIBE, "topic filter", ErrEmpty)
	}
	n, length := 0, 2
	if v == V5 {
		var err error
		if n, err = p.Properties.size(SUBSCRIBE, SUBSCRIBE); err != nil {
			return dst, err
		}
		length += varintSize(n) + n
	}
	for _, s := range p.Subscriptions {
		if err := checkFilter(SUBSCRIBE, s.Filter); err != nil {
			return dst, err
		}
		if err := s.checkOptions(); err != nil {
			return dst, bad(SUBSCRIBE, "subscription options", err)
		}
		length += 3 + len(s.Filter)
	}
	if length > MaxLength {
		return dst, bad(SUBSCRIBE, "topic filter", ErrTooLong)
	}
	dst = AppendFixedHeader(dst, SUBSCRIBE, 2, length)
	dst = appendU16(dst, p.PacketID)
	if v == V5 {
		dst = p.Properties.append(dst, n)
	}
	for _, s := range p.Subscriptions {
		dst = append(appendField(dst, s.Filter), s.options(v))
	}
	return dst, nil
}

// checkFilter refuses a filter that a field cannot hold; its wildcards are not
// looked at.
func checkFilter(t PacketType, s string) error {
	if s == "" {
		return bad(t, "topic filter", ErrTopic)
	}
	return checkText(t, "topic filter", s)
}
