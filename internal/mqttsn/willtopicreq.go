package mqttsn

// Willtopicreq prompts a client for its will topic (MQTT-SN 1.2, 5.4.6).
type Willtopicreq struct{}

// Type implements Message.
func (Willtopicreq) Type() MsgType { return WILLTOPICREQ }

// DecodeWilltopicreq reads the body of a WILLTOPICREQ, which is empty.
func DecodeWilltopicreq(body []byte) (Willtopicreq, error) {
	c := cursor{b: body, t: WILLTOPICREQ}
	return Willtopicreq{}, c.end()
}

// Append implements Message.
func (Willtopicreq) Append(dst []byte) ([]byte, error) {
	return appendHeader(dst, WILLTOPICREQ, 0), nil
}
