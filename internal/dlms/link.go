package dlms

import (
	"bytes"
	"encoding/binary"

	"github.com/wattbus/wattbus/internal/crc"
	"github.com/wattbus/wattbus/internal/format"
)

const (
	tagWrapper     = 0x00
	wrapperVersion = 1
	wrapperSize    = 8
	hdlcFlag       = 0x7E
	hdlcType3      = 0xA0 // upper half of the first octet behind the flag
	hdlcSegmented  = 0x08
)

// llc stands in front of what a meter sends in HDLC (IEC 62056-46).
var llc = []byte{0xE6, 0xE7, 0x00}

// unwrap takes off what carried an APDU, if anything did: the wrapper of IEC 62056-47, or HDLC frames from flag to flag, as a customer
// interface sends them. An APDU that came in blocks or in segments of frames is put together; all of them must be in the message. The
// second result is the offset of the APDU in the message, 0 for one that was put together.
func unwrap(b []byte) ([]byte, int, error) {
	if len(b) > MaxSize {
		return nil, 0, format.At("message", MaxSize, format.ErrLength, "%d octets, want at most %d", len(b), MaxSize)
	}
	apdu, at, end, err := carried(b, 0)
	switch {
	case err != nil:
		return nil, 0, err
	case len(apdu) > 0 && apdu[0] == tagGeneralBlockTransfer:
		return gather(b, apdu, at, end)
	case end < len(b):
		return nil, 0, format.At("message", end, format.ErrLength, "%d octets behind its end", len(b)-end)
	}
	return apdu, at, nil
}

// carried is the APDU that begins at an offset of a message, what carried it taken off, and where what carried it ends.
func carried(b []byte, from int) (apdu []byte, at, end int, err error) {
	rest := b[from:]
	switch {
	case len(rest) > wrapperSize && rest[0] == tagWrapper && rest[1] == wrapperVersion:
		n := int(binary.BigEndian.Uint16(rest[6:]))
		if n > len(rest)-wrapperSize {
			return nil, 0, 0, format.At("wrapper length", from+6, format.ErrLength, "%d, but %d octets follow", n, len(rest)-wrapperSize)
		}
		return rest[wrapperSize : wrapperSize+n], from + wrapperSize, from + wrapperSize + n, nil
	case len(rest) > 0 && rest[0] == hdlcFlag:
		return framed(b, from)
	}
	apdu, at = skipLLC(rest, from)
	return apdu, at, len(b), nil
}

func skipLLC(b []byte, at int) ([]byte, int) {
	if rest, ok := bytes.CutPrefix(b, llc); ok {
		return rest, at + len(llc)
	}
	return b, at
}

// framed is the contents of a frame of HDLC, or of several with one segment each.
func framed(b []byte, from int) (contents []byte, at, end int, err error) {
	contents, at, end, more, err := unframe(b, from)
	if err != nil || !more {
		contents, at = skipLLC(contents, at)
		return contents, at, end, err
	}
	whole := bytes.Clone(contents)
	for more {
		if end >= len(b) {
			return nil, 0, 0, format.At("HDLC frame", len(b), format.ErrLength, "the last segment is missing: want all of a push in one message")
		}
		if contents, _, end, more, err = unframe(b, end); err != nil {
			return nil, 0, 0, err
		}
		whole = append(whole, contents...)
	}
	whole, _ = skipLLC(whole, 0)
	return whole, 0, end, nil
}

// unframe takes off an HDLC frame of type 3: flag, format and length (2 octets), two addresses whose last octet is odd, control,
// check sum of the head, contents, check sum, flag. Octets are not escaped in it. The flag at its end may be that at the beginning of the
// next one, too.
func unframe(b []byte, from int) (contents []byte, at, end int, more bool, err error) {
	bad := func(field string, at int, reason error, what string, args ...any) ([]byte, int, int, bool, error) {
		return nil, 0, 0, false, format.At(field, at, reason, what, args...)
	}
	for from+1 < len(b) && b[from] == hdlcFlag && b[from+1] == hdlcFlag {
		from++
	}
	f := b[from:]
	if len(f) < 11 {
		return bad("HDLC frame", max(0, len(b)-1), format.ErrLength, "%d octets without a flag at the end", len(f))
	}
	if f[0] != hdlcFlag {
		return bad("HDLC frame", from, format.ErrSyntax, "0x%02x, want the flag 0x7E", f[0])
	}
	if f[1]&0xF0 != hdlcType3 {
		return bad("HDLC frame", from+1, format.ErrVersion, "format 0x%02x, want a frame of type 3", f[1])
	}
	n := int(binary.BigEndian.Uint16(f[1:])) & 0x07FF
	if n+2 > len(f) {
		return bad("HDLC length", from+1, format.ErrLength, "%d, but %d octets are there", n, len(f)-2)
	}
	if f[n+1] != hdlcFlag {
		return bad("HDLC frame", from+n+1, format.ErrLength, "0x%02x, want a flag at the end", f[n+1])
	}
	in := f[1 : n+1]
	at = 2 // of in
	for range 2 {
		for at < len(in) && in[at]&1 == 0 {
			at++
		}
		at++
	}
	at++ // control
	if at+2 > len(in)-2 {
		return bad("HDLC frame", from+3, format.ErrLength, "no end of the addresses, or no contents")
	}
	if sum := binary.LittleEndian.Uint16(in[len(in)-2:]); sum != crc.X25.Of16(in[:len(in)-2]) {
		return bad("HDLC check sum", from+n-1, format.ErrCheckSum, "0x%04x, want 0x%04x", sum, crc.X25.Of16(in[:len(in)-2]))
	}
	end = from + n + 2
	if end < len(b) && b[end] != hdlcFlag {
		end-- // the flag is shared
	}
	return in[at+2 : len(in)-2], from + at + 3, end, in[0]&hdlcSegmented != 0, nil
}

// Wrap puts the wrapper of IEC 62056-47 in front of an APDU of at most 65,535 octets.
func Wrap(source, destination uint16, apdu []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{tagWrapper, wrapperVersion}, source)
	b = binary.BigEndian.AppendUint16(b, destination)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(apdu))), apdu...)
}
