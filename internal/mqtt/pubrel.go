package mqtt

// Pubrel answers PUBREC: the sender lets go of the message (MQTT 3.1.1, 3.6).
type Pubrel struct {
	PacketID   uint16
	Reason     Reason      // MQTT 5; older versions know success alone
	Properties *Properties // MQTT 5; nil: none
}

// DecodePubrel reads the body of a PUBREL.
func DecodePubrel(v Version, body []byte) (Pubrel, error) {
	a, err := decodeAck(v, PUBREL, body)
	return Pubrel(a), err
}

// AppendPubrel appends a PUBREL. PacketID must not be 0. Of a reason or properties
// that a PUBREL cannot carry, the first becomes a plain failure and the second are left out.
func AppendPubrel(dst []byte, v Version, p Pubrel) []byte {
	return appendAck(dst, v, PUBREL, ack(p))
}
