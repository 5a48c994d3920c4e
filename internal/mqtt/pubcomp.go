package mqtt

// Pubcomp answers PUBREL: the exchange of QoS 2 is complete (MQTT 3.1.1, 3.7).
type Pubcomp struct {
	PacketID   uint16
	Reason     Reason      // MQTT 5; older versions know success alone
	Properties *Properties // MQTT 5; nil: none
}

// DecodePubcomp reads the body of a PUBCOMP.
func DecodePubcomp(v Version, body []byte) (Pubcomp, error) {
	a, err := decodeAck(v, PUBCOMP, body)
	return Pubcomp(a), err
}

// AppendPubcomp appends a PUBCOMP. PacketID must not be 0. Of a reason or properties
// that a PUBCOMP cannot carry, the first becomes a plain failure and the second are left out.
func AppendPubcomp(dst []byte, v Version, p Pubcomp) []byte {
	return appendAck(dst, v, PUBCOMP, ack(p))
}
