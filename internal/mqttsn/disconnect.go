package mqttsn

// Disconnect ends a connection, or with a duration lets the client sleep
// (MQTT-SN 1.2, 5.4.21).
type Disconnect struct {
	Duration uint16 // how long the client sleeps, in seconds; 0: it does not
}

// Type implements Message.
func (Disconnect) Type() MsgType { return DISCONNECT }

// DecodeDisconnect reads the body of a DISCONNECT. A duration of 0 is none.
func DecodeDisconnect(body []byte) (Disconnect, error) {
	c := cursor{b: body, t: DISCONNECT}
	var m Disconnect
	if len(body) > 0 {
		m.Duration = c.u16("duration")
	}
	return m, c.end()
}

// Append implements Message.
func (m Disconnect) Append(dst []byte) ([]byte, error) {
	if m.Duration == 0 {
		return appendHeader(dst, DISCONNECT, 0), nil
	}
	return appendU16(appendHeader(dst, DISCONNECT, 2), m.Duration), nil
}
