package mqtt

// Unsuback answers UNSUBSCRIBE (MQTT 3.1.1, 3.11), in MQTT 5 with one code for
// each filter in its order.
type Unsuback struct {
	PacketID   uint16
	Codes      []byte      // MQTT 5: each a Reason; aliases the input of DecodeUnsuback
	Properties *Properties // MQTT 5; nil: none
}

// DecodeUnsuback reads the body of a UNSUBACK.
func DecodeUnsuback(v Version, body []byte) (Unsuback, error) {
	if err := checkVersion(UNSUBACK, v); err != nil {
		return Unsuback{}, err
	}
	c := cursor{b: body, t: UNSUBACK}
	p := Unsuback{PacketID: c.id()}
	if v == V5 {
		p.Properties = c.properties(UNSUBACK)
		if c.err == nil {
			p.Codes, c.b = c.b, nil
			c.err = checkCodes(UNSUBACK, p.Codes) // [MQTT-3.11.3-2]
		}
	}
	if err := c.end(); err != nil {
		return Unsuback{}, err
	}
	return p, nil
}

// AppendUnsuback appends a UNSUBACK. Before MQTT 5 it has no codes.
func AppendUnsuback(dst []byte, v Version, p *Unsuback) ([]byte, error) {
	if err := checkVersion(UNSUBACK, v); err != nil {
		return dst, err
	}
	if p.PacketID == 0 {
		return dst, bad(UNSUBACK, "packet identifier", ErrPacketID)
	}
	if v != V5 {
		return append(dst, byte(UNSUBACK)<<4, 2, byte(p.PacketID>>8), byte(p.PacketID)), nil
	}
	return appendCodes(dst, UNSUBACK, p.PacketID, p.Properties, p.Codes)
}
