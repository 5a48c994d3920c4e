package mqttsn

// MaxLength is the longest message a length field can say, in octets.
const MaxLength = 65_535

// Header starts every message (MQTT-SN 1.2, 5.2).
type Header struct {
	Type   MsgType
	Size   int // octets of the header itself: 2 or 4
	Length int // octets of the message, header included
}

// ParseHeader reads the header of a datagram. The errors are ErrTruncated,
// ErrLength and ErrType. The announced length must be the datagram's, except that
// of a FORWARD, which counts only the wrapper: its body is b[h.Size:h.Length] and
// what it wraps is b[h.Length:].
func ParseHeader(b []byte) (Header, error) {
	if len(b) < 2 {
		return Header{}, bad(0, "header", ErrTruncated)
	}
	h := Header{Type: MsgType(b[1]), Size: 2, Length: int(b[0])}
	if b[0] == 1 {
		if len(b) < 4 {
			return Header{}, bad(0, "header", ErrTruncated)
		}
		// A length that the short form could say is allowed, though wasteful.
		h = Header{Type: MsgType(b[3]), Size: 4, Length: int(b[1])<<8 | int(b[2])}
	}
	switch {
	case !h.Type.known():
		return Header{}, bad(h.Type, "header", ErrType)
	case h.Length < h.Size:
		return Header{}, bad(h.Type, "header", ErrLength)
	case h.Type == FORWARD && (h.Size != 2 || h.Length > len(b)): // 5.5: one octet of length
		return Header{}, bad(h.Type, "header", ErrLength)
	case h.Type != FORWARD && h.Length != len(b):
		return Header{}, bad(h.Type, "header", ErrLength)
	}
	return h, nil
}

// appendHeader appends the header of a message with a body of n octets, in the
// short form where that can say the length.
func appendHeader(dst []byte, t MsgType, n int) []byte {
	if n+2 <= 255 {
		return append(dst, byte(n+2), byte(t))
	}
	n += 4
	return append(dst, 1, byte(n>>8), byte(n), byte(t))
}

// checkLength refuses a body that no datagram can hold.
func checkLength(t MsgType, field string, n int) error {
	if n+4 > MaxLength {
		return bad(t, field, ErrTooLong)
	}
	return nil
}
