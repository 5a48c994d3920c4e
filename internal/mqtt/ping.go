package mqtt

// PINGREQ and PINGRESP have no body in any version (MQTT 3.1.1, 3.12 and 3.13);
// FixedHeader.Check is all there is to decoding them.

// AppendPingreq appends a PINGREQ.
func AppendPingreq(dst []byte) []byte { return append(dst, byte(PINGREQ)<<4, 0) }

// AppendPingresp appends a PINGRESP.
func AppendPingresp(dst []byte) []byte { return append(dst, byte(PINGRESP)<<4, 0) }
