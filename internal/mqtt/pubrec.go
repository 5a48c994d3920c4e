package mqtt

// Pubrec answers a PUBLISH of QoS 2: received (MQTT 3.1.1, 3.5).
type Pubrec struct {
	PacketID   uint16
	Reason     Reason      // MQTT 5; older versions know success alone
	Properties *Properties // MQTT 5; nil: none
}

// DecodePubrec reads the body of a PUBREC.
func DecodePubrec(v Version, body []byte) (Pubrec, error) {
	a, err := decodeAck(v, PUBREC, body)
	return Pubrec(a), err
}

// AppendPubrec appends a PUBREC. PacketID must not be 0. Of a reason or properties
// that a PUBREC cannot carry, the first becomes a plain failure and the second are left out.
func AppendPubrec(dst []byte, v Version, p Pubrec) []byte {
	return appendAck(dst, v, PUBREC, ack(p))
}
