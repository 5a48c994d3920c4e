package mqtt

// SubackFailure is the code of a subscription that was refused, before MQTT 5.
const SubackFailure = 0x80

// Suback answers SUBSCRIBE, one code for each filter in its order (MQTT 3.1.1, 3.9).
type Suback struct {
	PacketID uint16
	// Codes: granted QoS 0, 1, 2, or SubackFailure; in MQTT 5 each is a Reason. It
	// aliases the input of DecodeSuback.
	Codes      []byte
	Properties *Properties // MQTT 5; nil: none
}

// DecodeSuback reads the body of a SUBACK. SubackFailure is accepted in MQTT 3.1
// too: that version has no word for a refusal and servers use this one.
func DecodeSuback(v Version, body []byte) (Suback, error) {
	if err := checkVersion(SUBACK, v); err != nil {
		return Suback{}, err
	}
	c := cursor{b: body, t: SUBACK}
	p := Suback{PacketID: c.id()}
	if v == V5 {
		p.Properties = c.properties(SUBACK)
	}
	if c.err != nil {
		return Suback{}, c.err
	}
	p.Codes = c.b
	if err := p.check(v); err != nil {
		return Suback{}, err
	}
	return p, nil
}

// AppendSuback appends a SUBACK.
func AppendSuback(dst []byte, v Version, p *Suback) ([]byte, error) {
	if err := checkVersion(SUBACK, v); err != nil {
		return dst, err
	}
	if p.PacketID == 0 {
		return dst, bad(SUBACK, "packet identifier", ErrPacketID)
	}
	if err := p.check(v); err != nil {
		return dst, err
	}
	if v == V5 {
		return appendCodes(dst, SUBACK, p.PacketID, p.Properties, p.Codes)
	}
	dst = AppendFixedHeader(dst, SUBACK, 0, 2+len(p.Codes))
	dst = appendU16(dst, p.PacketID)
	return append(dst, p.Codes...), nil
}

func (p *Suback) check(v Version) error {
	if v == V5 {
		return checkCodes(SUBACK, p.Codes) // [MQTT-3.9.3-2]
	}
	if len(p.Codes) == 0 {
		return bad(SUBACK, "return code", ErrEmpty)
	}
	if len(p.Codes) > MaxLength-2 {
		return bad(SUBACK, "return code", ErrTooLong)
	}
	for _, code := range p.Codes {
		if code > 2 && code != SubackFailure { // [MQTT-3.9.3-2]
			return bad(SUBACK, "return code", ErrCode)
		}
	}
	return nil
}

// checkCodes holds the list of reasons in SUBACK and UNSUBACK to those of the packet.
func checkCodes(t PacketType, codes []byte) error {
	if len(codes) == 0 {
		return bad(t, "reason code", ErrEmpty)
	}
	for _, code := range codes {
		if !Reason(code).AllowedIn(t) {
			return bad(t, "reason code", ErrCode)
		}
	}
	return nil
}

// appendCodes appends a SUBACK or UNSUBACK of MQTT 5.
func appendCodes(dst []byte, t PacketType, id uint16, p *Properties, codes []byte) ([]byte, error) {
	if err := checkCodes(t, codes); err != nil {
		return dst, err
	}
	n, err := p.size(t, t)
	if err != nil {
		return dst, err
	}
	length := 2 + varintSize(n) + n + len(codes)
	if length > MaxLength {
		return dst, bad(t, "reason code", ErrTooLong)
	}
	dst = appendU16(AppendFixedHeader(dst, t, 0, length), id)
	return append(p.append(dst, n), codes...), nil
}
