package mqttsn

// Connack answers a CONNECT (MQTT-SN 1.2, 5.4.5).
type Connack struct {
	Code ReturnCode
}

// Type implements Message.
func (Connack) Type() MsgType { return CONNACK }

// DecodeConnack reads the body of a CONNACK.
func DecodeConnack(body []byte) (Connack, error) {
	c := cursor{b: body, t: CONNACK}
	m := Connack{Code: ReturnCode(c.u8("return code"))}
	return m, c.end()
}

// Append implements Message.
func (m Connack) Append(dst []byte) ([]byte, error) {
	return append(appendHeader(dst, CONNACK, 1), byte(m.Code)), nil
}
