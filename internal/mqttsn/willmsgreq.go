package mqttsn

// Willmsgreq prompts a client for its will message (MQTT-SN 1.2, 5.4.8).
type Willmsgreq struct{}

// Type implements Message.
func (Willmsgreq) Type() MsgType { return WILLMSGREQ }

// DecodeWillmsgreq reads the body of a WILLMSGREQ, which is empty.
func DecodeWillmsgreq(body []byte) (Willmsgreq, error) {
	c := cursor{b: body, t: WILLMSGREQ}
	return Willmsgreq{}, c.end()
}

// Append implements Message.
func (Willmsgreq) Append(dst []byte) ([]byte, error) { return appendHeader(dst, WILLMSGREQ, 0), nil }
