package mqtt

import "strconv"

// ReturnCode is the server's answer to CONNECT (MQTT 3.1.1, 3.2.2.3).
type ReturnCode byte

// The return codes. Any code but Accepted is a refusal, also one not listed.
const (
	Accepted              ReturnCode = 0
	UnacceptableVersion   ReturnCode = 1
	IdentifierRejected    ReturnCode = 2
	ServerUnavailable     ReturnCode = 3
	BadUsernameOrPassword ReturnCode = 4
	NotAuthorized         ReturnCode = 5
)

// String says what the code means.
func (c ReturnCode) String() string {
	switch c {
	case Accepted:
		return "accepted"
	case UnacceptableVersion:
		return "unacceptable protocol version"
	case IdentifierRejected:
		return "client identifier rejected"
	case ServerUnavailable:
		return "server unavailable"
	case BadUsernameOrPassword:
		return "bad user name or password"
	case NotAuthorized:
		return "not authorized"
	}
	return "return code " + strconv.Itoa(int(c))
}

// Connack answers CONNECT.
type Connack struct {
	SessionPresent bool // always false in MQTT 3.1, which has no such bit
	// Code is the answer before MQTT 5. Decoded from MQTT 5 it is the nearest to
	// Reason, so that a refusal is a refusal; an Append function for MQTT 5 takes
	// it only where Reason is success.
	Code       ReturnCode
	Reason     Reason      // MQTT 5
	Properties *Properties // MQTT 5; nil: none
}

// reason is what a CONNACK of MQTT 5 says.
func (p *Connack) reason() Reason {
	if p.Reason == ReasonSuccess {
		return p.Code.Reason()
	}
	return p.Reason
}

// DecodeConnack reads the body of a CONNACK.
func DecodeConnack(v Version, body []byte) (Connack, error) {
	if err := checkVersion(CONNACK, v); err != nil {
		return Connack{}, err
	}
	if v == V5 {
		return decodeConnackV5(body)
	}
	c := cursor{b: body, t: CONNACK}
	flags, code := c.u8("flags"), c.u8("return code")
	if err := c.end(); err != nil {
		return Connack{}, err
	}
	p := Connack{Code: ReturnCode(code)}
	if v == V31 { // MQTT 3.1, 3.2: the first byte is reserved and not used
		return p, nil
	}
	if flags > 1 {
		return Connack{}, bad(CONNACK, "flags", ErrFlags)
	}
	p.SessionPresent = flags == 1
	if p.SessionPresent && p.Code != Accepted { // [MQTT-3.2.2-4]
		return Connack{}, bad(CONNACK, "session present", ErrFlags)
	}
	return p, nil
}

func decodeConnackV5(body []byte) (Connack, error) {
	c := cursor{b: body, t: CONNACK}
	flags := c.u8("flags")
	p := Connack{SessionPresent: flags == 1, Reason: Reason(c.u8("reason code"))}
	switch {
	case c.err != nil:
	case flags > 1: // [MQTT-3.2.2-1]
		c.fail("flags", ErrFlags)
	case !p.Reason.AllowedIn(CONNACK): // [MQTT-3.2.2-8]
		c.fail("reason code", ErrCode)
	case p.SessionPresent && p.Reason != ReasonSuccess: // [MQTT-3.2.2-6]
		c.fail("session present", ErrFlags)
	}
	p.Properties = c.properties(CONNACK)
	if err := c.end(); err != nil {
		return Connack{}, err
	}
	p.Code = p.Reason.ReturnCode()
	return p, nil
}

// AppendConnack appends a CONNACK. A session present is only said with success and
// not in MQTT 3.1. Before MQTT 5 a Reason is sent as the nearest return code.
func AppendConnack(dst []byte, v Version, p *Connack) ([]byte, error) {
	if err := checkVersion(CONNACK, v); err != nil {
		return dst, err
	}
	reason := p.reason()
	var flags byte
	if p.SessionPresent && reason == ReasonSuccess && v != V31 { // [MQTT-3.2.2-4] of MQTT 3.1.1, [MQTT-3.2.2-6]
		flags = 1
	}
	if v != V5 {
		code := p.Code
		if code == Accepted {
			code = p.Reason.ReturnCode()
		}
		return append(dst, byte(CONNACK)<<4, 2, flags, byte(code)), nil
	}
	if !reason.AllowedIn(CONNACK) { // [MQTT-3.2.2-8]
		return dst, bad(CONNACK, "reason code", ErrCode)
	}
	n, err := p.Properties.size(CONNACK, CONNACK)
	if err != nil {
		return dst, err
	}
	length := 2 + varintSize(n) + n
	if length > MaxLength {
		return dst, bad(CONNACK, "properties", ErrTooLong)
	}
	dst = append(AppendFixedHeader(dst, CONNACK, 0, length), flags, byte(reason))
	return p.Properties.append(dst, n), nil
}
