package mqttsn

// Pingreq asks whether the peer is alive. With a client id it is a sleeping client
// that woke up and fetches what waits for it (MQTT-SN 1.2, 5.4.19).
type Pingreq struct {
	ClientID string // "": not sleeping
}

// Type implements Message.
func (Pingreq) Type() MsgType { return PINGREQ }

// DecodePingreq reads the body of a PINGREQ.
func DecodePingreq(body []byte) (Pingreq, error) {
	c := cursor{b: body, t: PINGREQ}
	m := Pingreq{ClientID: c.text("client id")}
	return m, c.end()
}

// Append implements Message.
func (m Pingreq) Append(dst []byte) ([]byte, error) {
	if m.ClientID != "" {
		if err := checkName(PINGREQ, "client id", m.ClientID); err != nil {
			return dst, err
		}
	}
	return append(appendHeader(dst, PINGREQ, len(m.ClientID)), m.ClientID...), nil
}
