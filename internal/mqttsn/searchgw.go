package mqttsn

// Searchgw is broadcast by a client that looks for a gateway (MQTT-SN 1.2, 5.4.2).
type Searchgw struct {
	Radius byte // of the broadcast, in hops; 0: the whole network
}

// Type implements Message.
func (Searchgw) Type() MsgType { return SEARCHGW }

// DecodeSearchgw reads the body of a SEARCHGW.
func DecodeSearchgw(body []byte) (Searchgw, error) {
	c := cursor{b: body, t: SEARCHGW}
	m := Searchgw{Radius: c.u8("radius")}
	return m, c.end()
}

// Append implements Message.
func (m Searchgw) Append(dst []byte) ([]byte, error) {
	return append(appendHeader(dst, SEARCHGW, 1), m.Radius), nil
}
