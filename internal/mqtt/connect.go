package mqtt

import "errors"

// Connect is the first packet of a client (MQTT 3.1.1, 3.1).
type Connect struct {
	Version   Version
	Bridge    bool   // the peer is the bridge of a broker: level 0x83 or 0x84
	Clean     bool   // clean session; in MQTT 5 clean start
	KeepAlive uint16 // seconds; 0: no limit
	ClientID  string // whether an empty or long one is allowed is the server's rule
	Will      *Will  // nil: none

	HasUsername bool
	Username    string
	HasPassword bool
	Password    []byte // aliases the input of DecodeConnect

	Properties *Properties // MQTT 5; nil: none
}

// Will is the message a server publishes when the client is lost.
type Will struct {
	Topic   string
	Payload []byte // aliases the input of DecodeConnect
	QoS     byte
	Retain  bool

	Properties *Properties // MQTT 5; nil: none
}

// The connect flags, MQTT 3.1.1, 3.1.2.3.
const (
	flagReserved   = 0x01
	flagClean      = 0x02
	flagWill       = 0x04
	flagWillQoS    = 0x18
	flagWillRetain = 0x20
	flagPassword   = 0x40
	flagUsername   = 0x80
)

// DecodeConnect reads the body of a CONNECT; the version is in it. A level that
// is not spoken gives a *VersionError, another protocol name ErrProtocolName. The
// fields have one order [MQTT-3.1.3-1], the client id is the first of them
// [MQTT-3.1.3-3].
func DecodeConnect(body []byte) (Connect, error) {
	c := cursor{b: body, t: CONNECT}
	name := string(c.bytes("protocol name"))
	level := c.u8("protocol level")
	if c.err != nil {
		return Connect{}, c.err
	}
	var p Connect
	p.Version, p.Bridge = Version(level&^bridgeBit), level&bridgeBit != 0
	switch {
	case name == "MQIsdp" && p.Version == V31, name == "MQTT" && (p.Version == V311 || p.Version == V5):
	case name == "MQIsdp" || name == "MQTT":
		return Connect{}, &VersionError{Level: level} // [MQTT-3.1.2-2]
	default:
		return Connect{}, bad(CONNECT, "protocol name", ErrProtocolName) // [MQTT-3.1.2-1]
	}

	flags := c.u8("connect flags")
	p.KeepAlive = c.u16("keep alive")
	if err := checkConnectFlags(p.Version, flags); err != nil && c.err == nil {
		return Connect{}, p.refuse(err)
	}
	p.Clean = flags&flagClean != 0
	if p.Version == V5 {
		p.Properties = c.properties(CONNECT)
	}
	p.ClientID = string(c.text("client identifier")) // [MQTT-3.1.3-4]
	if flags&flagWill != 0 {                         // [MQTT-3.1.2-9]
		var props *Properties
		if p.Version == V5 {
			props = c.properties(will)
		}
		topic := c.text("will topic") // [MQTT-3.1.3-10]
		if c.err == nil && !validName(topic) {
			c.fail("will topic", ErrTopic)
		}
		p.Will = &Will{
			Topic:   string(topic),
			Payload: c.bytes("will message"),
			QoS:     flags & flagWillQoS >> 3,
			Retain:  flags&flagWillRetain != 0,

			Properties: props,
		}
	}
	// MQTT 3.1, 3.1: the remaining length takes precedence over the user name and
	// password flags; strings that are announced and missing are allowed.
	absent := func() bool { return p.Version == V31 && c.err == nil && len(c.b) == 0 }
	if flags&flagUsername != 0 && !absent() { // [MQTT-3.1.2-19]; MQTT 5: [MQTT-3.1.2-17]
		p.HasUsername, p.Username = true, string(c.text("user name")) // [MQTT-3.1.3-11]; MQTT 5: [MQTT-3.1.3-12]
	}
	if flags&flagPassword != 0 && !absent() { // [MQTT-3.1.2-21]; MQTT 5: [MQTT-3.1.2-19]
		p.HasPassword, p.Password = true, c.bytes("password")
	}
	// What no flag has announced is left over: [MQTT-3.1.2-11], [MQTT-3.1.2-18],
	// [MQTT-3.1.2-20]; MQTT 5: [MQTT-3.1.2-16], [MQTT-3.1.2-18].
	if err := c.end(); err != nil { // [MQTT-3.1.4-1]
		return Connect{}, p.refuse(err)
	}
	return p, nil
}

// refuse notes the version in the error: a server answers a CONNECT of MQTT 5 that
// is not as it should be (MQTT 5, 3.1.4), and says nothing to an older client.
func (p *Connect) refuse(err error) error {
	var e *PacketError
	if errors.As(err, &e) {
		e.Version = p.Version
	}
	return err
}

// checkConnectFlags: the clauses are those of MQTT 3.1.1; those of MQTT 5 say the
// same, but let a password come alone (3.1.2.9).
func checkConnectFlags(v Version, flags byte) error {
	switch {
	case flags&flagReserved != 0: // [MQTT-3.1.2-3]
		return bad(CONNECT, "connect flags", ErrFlags)
	case flags&flagWillQoS == flagWillQoS: // [MQTT-3.1.2-14]
		return bad(CONNECT, "will QoS", ErrQoS)
	case flags&flagWill == 0 && flags&(flagWillQoS|flagWillRetain) != 0: // [MQTT-3.1.2-13], [MQTT-3.1.2-15]
		return bad(CONNECT, "will flags", ErrFlags)
	case v != V5 && flags&flagUsername == 0 && flags&flagPassword != 0: // [MQTT-3.1.2-22]
		return bad(CONNECT, "password flag", ErrFlags)
	}
	return nil
}

// AppendConnect appends a CONNECT of p.Version.
func AppendConnect(dst []byte, p *Connect) ([]byte, error) {
	if err := p.check(); err != nil {
		return dst, err
	}
	name := p.Version.protocolName()
	length := 2 + len(name) + 4 + 2 + len(p.ClientID)
	var n, willN int
	if p.Version == V5 {
		var err error
		if n, err = p.Properties.size(CONNECT, CONNECT); err != nil {
			return dst, err
		}
		length += varintSize(n) + n
		if p.Will != nil {
			if willN, err = p.Will.Properties.size(CONNECT, will); err != nil {
				return dst, err
			}
			length += varintSize(willN) + willN
		}
	}
	var flags byte
	if p.Clean {
		flags |= flagClean
	}
	if w := p.Will; w != nil {
		flags |= flagWill | w.QoS<<3
		if w.Retain {
			flags |= flagWillRetain
		}
		length += 4 + len(w.Topic) + len(w.Payload)
	}
	if p.HasUsername {
		flags |= flagUsername
		length += 2 + len(p.Username)
	}
	if p.HasPassword {
		flags |= flagPassword
		length += 2 + len(p.Password)
	}
	if length > MaxLength {
		return dst, bad(CONNECT, "properties", ErrTooLong)
	}
	level := byte(p.Version)
	if p.Bridge {
		level |= bridgeBit
	}

	dst = AppendFixedHeader(dst, CONNECT, 0, length)
	dst = appendField(dst, name)
	dst = append(dst, level, flags)
	dst = appendU16(dst, p.KeepAlive)
	if p.Version == V5 {
		dst = p.Properties.append(dst, n)
	}
	dst = appendField(dst, p.ClientID)
	if w := p.Will; w != nil {
		if p.Version == V5 {
			dst = w.Properties.append(dst, willN)
		}
		dst = appendField(dst, w.Topic)
		dst = appendField(dst, w.Payload)
	}
	if p.HasUsername {
		dst = appendField(dst, p.Username)
	}
	if p.HasPassword {
		dst = appendField(dst, p.Password)
	}
	return dst, nil
}

func (p *Connect) check() error {
	if err := checkVersion(CONNECT, p.Version); err != nil {
		return err
	}
	if err := checkText(CONNECT, "client identifier", p.ClientID); err != nil {
		return err
	}
	if w := p.Will; w != nil {
		if err := checkName(CONNECT, "will topic", w.Topic); err != nil {
			return err
		}
		if len(w.Payload) > 0xffff {
			return bad(CONNECT, "will message", ErrTooLong)
		}
		if w.QoS > 2 {
			return bad(CONNECT, "will QoS", ErrQoS)
		}
	}
	if p.HasPassword && !p.HasUsername && p.Version != V5 { // [MQTT-3.1.2-22]
		return bad(CONNECT, "password without a user name", ErrFlags)
	}
	if len(p.Password) > 0xffff {
		return bad(CONNECT, "password", ErrTooLong)
	}
	return checkText(CONNECT, "user name", p.Username)
}
