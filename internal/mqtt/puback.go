package mqtt

// Puback acknowledges a PUBLISH of QoS 1 (MQTT 3.1.1, 3.4).
type Puback struct {
	PacketID   uint16
	Reason     Reason      // MQTT 5; older versions know success alone
	Properties *Properties // MQTT 5; nil: none
}

// DecodePuback reads the body of a PUBACK.
func DecodePuback(v Version, body []byte) (Puback, error) {
	a, err := decodeAck(v, PUBACK, body)
	return Puback(a), err
}

// AppendPuback appends a PUBACK. PacketID must not be 0. Of a reason or properties
// that a PUBACK cannot carry, the first becomes a plain failure and the second are left out.
func AppendPuback(dst []byte, v Version, p Puback) []byte {
	return appendAck(dst, v, PUBACK, ack(p))
}
