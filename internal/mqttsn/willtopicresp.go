package mqttsn

// Willtopicresp answers a WILLTOPICUPD (MQTT-SN 1.2, 5.4.24).
type Willtopicresp struct {
	Code ReturnCode
}

// Type implements Message.
func (Willtopicresp) Type() MsgType { return WILLTOPICRESP }

// DecodeWilltopicresp reads the body of a WILLTOPICRESP. What follows the return code is
// ignored: there is a broker that sends the layout of another acknowledgement.
func DecodeWilltopicresp(body []byte) (Willtopicresp, error) {
	c := cursor{b: body, t: WILLTOPICRESP}
	m := Willtopicresp{Code: ReturnCode(c.u8("return code"))}
	return m, c.err
}

// Append implements Message.
func (m Willtopicresp) Append(dst []byte) ([]byte, error) {
	return append(appendHeader(dst, WILLTOPICRESP, 1), byte(m.Code)), nil
}
