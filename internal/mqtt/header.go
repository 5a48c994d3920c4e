package mqtt

import "strconv"

// PacketType is the upper half of a packet's first byte.
type PacketType byte

// The control packets, MQTT 3.1.1, 2.2.1 and MQTT 5, 2.1.2.
const (
	CONNECT     PacketType = 1
	CONNACK     PacketType = 2
	PUBLISH     PacketType = 3
	PUBACK      PacketType = 4
	PUBREC      PacketType = 5
	PUBREL      PacketType = 6
	PUBCOMP     PacketType = 7
	SUBSCRIBE   PacketType = 8
	SUBACK      PacketType = 9
	UNSUBSCRIBE PacketType = 10
	UNSUBACK    PacketType = 11
	PINGREQ     PacketType = 12
	PINGRESP    PacketType = 13
	DISCONNECT  PacketType = 14
	AUTH        PacketType = 15 // MQTT 5 only
)

// String gives the name of the specification.
func (t PacketType) String() string {
	const names = "CONNECT    CONNACK    PUBLISH    PUBACK     PUBREC     PUBREL     PUBCOMP    SUBSCRIBE  " +
		"SUBACK     UNSUBSCRIBEUNSUBACK   PINGREQ    PINGRESP   DISCONNECT AUTH       "
	if t < CONNECT || t > AUTH {
		return "packet type " + strconv.Itoa(int(t))
	}
	name := names[(t-1)*11 : t*11]
	for name[len(name)-1] == ' ' {
		name = name[:len(name)-1]
	}
	return name
}

// MaxLength is the largest remaining length four bytes can say, in bytes.
const MaxLength = 268_435_455

// FixedHeader starts every packet.
type FixedHeader struct {
	Type   PacketType
	Flags  byte // the lower four bits of the first byte
	Length int  // remaining length: bytes after the fixed header

	padded bool // the length takes more bytes than it needs
}

// ParseFixedHeader reads the fixed header at the start of b. n is its own size in
// bytes, 2 to 5; 0 with a nil error means that b holds too little of it. The
// errors are ErrType (type 0) and ErrLength, both final.
//
// A length in more bytes than it needs is accepted here: only MQTT 5 forbids it,
// and Check holds to that.
func ParseFixedHeader(b []byte) (h FixedHeader, n int, err error) {
	if len(b) == 0 {
		return FixedHeader{}, 0, nil
	}
	h.Type, h.Flags = PacketType(b[0]>>4), b[0]&0x0f
	if h.Type == 0 { // MQTT 3.1.1, table 2.1: forbidden
		return FixedHeader{}, 0, bad(0, "fixed header", ErrType)
	}
	for i := 1; i < len(b) && i <= 4; i++ {
		h.Length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			h.padded = b[i] == 0 && i > 1
			return h, i + 1, nil
		}
		if i == 4 { // MQTT 3.1.1, 2.2.3: at most four bytes
			return FixedHeader{}, 0, bad(h.Type, "fixed header", ErrLength)
		}
	}
	return FixedHeader{}, 0, nil
}

// AppendFixedHeader appends a fixed header. length must be within 0 and
// MaxLength; the Append functions of the packets check it.
func AppendFixedHeader(dst []byte, t PacketType, flags byte, length int) []byte {
	return appendVarint(append(dst, byte(t)<<4|flags&0x0f), length)
}

// AppendVarint appends a variable byte integer, as the length of properties is one: at
// most MaxLength, in as few bytes as it takes [MQTT-1.5.5-1].
func AppendVarint(dst []byte, v int) []byte { return appendVarint(dst, v) }

// HeaderSize is the number of bytes AppendFixedHeader appends for length.
func HeaderSize(length int) int {
	return 1 + varintSize(length)
}

// Check refuses what is already wrong in the fixed header for version v: a type
// the version does not have, reserved flags [MQTT-2.2.2-2], a QoS of 3
// [MQTT-3.3.1-4], and a length that no packet of the type has. It needs none of
// the body, so a reader can refuse before it buffers.
//
// MQTT 3.1 uses the DUP bit in PUBREL, SUBSCRIBE and UNSUBSCRIBE; it is accepted
// there. In all other packets the flags are held to the same for all versions.
func (h FixedHeader) Check(v Version) error {
	want, low, high := byte(0), 0, 0
	switch h.Type {
	case CONNECT:
		low, high = 12, MaxLength // protocol name, level, flags, keep alive, empty client id
	case PUBLISH:
		if h.Flags>>1&3 == 3 { // [MQTT-3.3.1-4]
			return bad(h.Type, "fixed header", ErrQoS)
		}
		if h.Flags&0x0e == 0x08 { // [MQTT-3.3.1-2] DUP needs a QoS above 0
			return bad(h.Type, "fixed header", ErrFlags)
		}
		want, low, high = h.Flags, 3, MaxLength
	case CONNACK, PUBACK, PUBREC, PUBCOMP, UNSUBACK:
		low, high = 2, 2
	case PUBREL:
		want, low, high = 2, 2, 2 // [MQTT-3.6.1-1]
	case SUBSCRIBE:
		want, low, high = 2, 6, MaxLength // [MQTT-3.8.1-1]
	case UNSUBSCRIBE:
		want, low, high = 2, 5, MaxLength // [MQTT-3.10.1-1]
	case SUBACK:
		low, high = 3, MaxLength
	case PINGREQ, PINGRESP, DISCONNECT:
	case AUTH:
		if v != V5 {
			return bad(h.Type, "fixed header", ErrType)
		}
	default:
		return bad(h.Type, "fixed header", ErrType)
	}
	flags := h.Flags
	if v == V31 && want == 2 && h.Type != PUBLISH {
		flags &^= 0x08 // MQTT 3.1, 2.1: DUP of a packet sent again
	}
	if flags != want {
		// [MQTT-2.1.3-1], of DISCONNECT [MQTT-3.14.1-1] and AUTH [MQTT-3.15.1-1];
		// MQTT 3.1.1: [MQTT-2.2.2-2]
		return bad(h.Type, "fixed header", ErrFlags)
	}
	switch v {
	case V31, V311:
	case V5:
		if h.padded { // [MQTT-1.5.5-1]
			return bad(h.Type, "fixed header", ErrLength)
		}
		low, high = lengthsV5(h.Type)
	default:
		return bad(h.Type, "version", ErrUnsupported)
	}
	if h.Length < low || h.Length > high {
		return bad(h.Type, "fixed header", ErrLength)
	}
	return nil
}

// lengthsV5 is the shortest and the longest body of a packet of MQTT 5. An empty
// list in SUBSCRIBE and UNSUBSCRIBE is left to their decoders: it is a protocol
// error and not malformed.
func lengthsV5(t PacketType) (low, high int) {
	switch t {
	case PINGREQ, PINGRESP:
		return 0, 0
	case DISCONNECT, AUTH:
		return 0, MaxLength
	case PUBACK, PUBREC, PUBREL, PUBCOMP: // reason and properties may be left out
		return 2, MaxLength
	case CONNECT:
		return 13, MaxLength
	case SUBACK, UNSUBACK:
		return 4, MaxLength
	}
	return 3, MaxLength // CONNACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE
}
