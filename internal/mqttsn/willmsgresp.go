package mqttsn

// Willmsgresp answers a WILLMSGUPD (MQTT-SN 1.2, 5.4.25).
type Willmsgresp struct {
	Code ReturnCode
}

// Type implements Message.
func (Willmsgresp) Type() MsgType { return WILLMSGRESP }

// DecodeWillmsgresp reads the body of a WILLMSGRESP. What follows the return code is
// ignored: there is a broker that sends the layout of another acknowledgement.
func DecodeWillmsgresp(body []byte) (Willmsgresp, error) {
	c := cursor{b: body, t: WILLMSGRESP}
	m := Willmsgresp{Code: ReturnCode(c.u8("return code"))}
	return m, c.err
}

// Append implements Message.
func (m Willmsgresp) Append(dst []byte) ([]byte, error) {
	return append(appendHeader(dst, WILLMSGRESP, 1), byte(m.Code)), nil
}
