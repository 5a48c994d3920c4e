package mqttsn

// Willmsg gives a gateway the will message (MQTT-SN 1.2, 5.4.9).
type Willmsg struct {
	Payload []byte // aliases the input of DecodeWillmsg; may be empty
}

// Type implements Message.
func (Willmsg) Type() MsgType { return WILLMSG }

// DecodeWillmsg reads the body of a WILLMSG.
func DecodeWillmsg(body []byte) (Willmsg, error) {
	return Willmsg{Payload: body[:len(body):len(body)]}, nil
}

// Append implements Message.
func (m Willmsg) Append(dst []byte) ([]byte, error) {
	if err := checkLength(WILLMSG, "will message", len(m.Payload)); err != nil {
		return dst, err
	}
	return append(appendHeader(dst, WILLMSG, len(m.Payload)), m.Payload...), nil
}
