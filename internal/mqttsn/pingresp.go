package mqttsn

// Pingresp answers a PINGREQ: the peer is alive, and to a client that woke up, there is nothing
// more (MQTT-SN 1.2, 5.4.20).
type Pingresp struct{}

// Type implements Message.
func (Pingresp) Type() MsgType { return PINGRESP }

// DecodePingresp reads the body of a PINGRESP, which is empty.
func DecodePingresp(body []byte) (Pingresp, error) {
	c := cursor{b: body, t: PINGRESP}
	return Pingresp{}, c.end()
}

// Append implements Message.
func (Pingresp) Append(dst []byte) ([]byte, error) { return appendHeader(dst, PINGRESP, 0), nil }
