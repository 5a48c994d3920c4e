package mqttsn

// Willmsgupd changes the will message (MQTT-SN 1.2, 5.4.23).
type Willmsgupd struct {
	Payload []byte // aliases the input of DecodeWillmsgupd; may be empty
}

// Type implements Message.
func (Willmsgupd) Type() MsgType { return WILLMSGUPD }

// DecodeWillmsgupd reads the body of a WILLMSGUPD.
func DecodeWillmsgupd(body []byte) (Willmsgupd, error) {
	return Willmsgupd{Payload: body[:len(body):len(body)]}, nil
}

// Append implements Message.
func (m Willmsgupd) Append(dst []byte) ([]byte, error) {
	if err := checkLength(WILLMSGUPD, "will message", len(m.Payload)); err != nil {
		return dst, err
	}
	return append(appendHeader(dst, WILLMSGUPD, len(m.Payload)), m.Payload...), nil
}
