package mqttsn

// Advertise is broadcast by a gateway from time to time (MQTT-SN 1.2, 5.4.1).
type Advertise struct {
	GwID     byte
	Duration uint16 // seconds to the next ADVERTISE
}

// Type implements Message.
func (Advertise) Type() MsgType { return ADVERTISE }

// DecodeAdvertise reads the body of an ADVERTISE.
func DecodeAdvertise(body []byte) (Advertise, error) {
	c := cursor{b: body, t: ADVERTISE}
	m := Advertise{GwID: c.u8("gateway id"), Duration: c.u16("duration")}
	return m, c.end()
}

// Append implements Message.
func (m Advertise) Append(dst []byte) ([]byte, error) {
	return appendU16(append(appendHeader(dst, ADVERTISE, 3), m.GwID), m.Duration), nil
}
