package dlms

import (
	"bytes"
	"encoding/binary"

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

// unwrap takes off what carried an APDU, if anything did: the wrapper of IEC 62056-47, or one whole frame of HDLC, from flag to
// flag, as a customer interface sends it. The second result is the offset of the APDU.
func unwrap(b []byte) ([]byte, int, error) {
	switch {
	case len(b) > MaxSize:
		return nil, 0, format.At("message", MaxSize, format.ErrLength, "%d octets, want at most %d", len(b), MaxSize)
	case len(b) > wrapperSize && b[0] == tagWrapper && b[1] == wrapperVersion:
		if n := int(binary.BigEndian.Uint16(b[6:])); n != len(b)-wrapperSize {
			return nil, 0, format.At("wrapper length", 6, format.ErrLength, "%d, but %d octets follow", n, len(b)-wrapperSize)
		}
		return b[wrapperSize:], wrapperSize, nil
	case len(b) > 0 && b[0] == hdlcFlag:
		return unframe(b)
	}
	return skipLLC(b, 0)
}

func skipLLC(b []byte, at int) ([]byte, int, error) {
	if rest, ok := bytes.CutPrefix(b, llc); ok {
		return rest, at + len(llc), nil
	}
	return b, at, nil
}

// unframe takes off an HDLC frame of type 3: flag, format and length (2 octets), two addresses whose last octet is odd, control,
// check sum of the head, contents, check sum, flag. Octets are not escaped in it.
func unframe(b []byte) ([]byte, int, error) {
	if len(b) < 11 || b[len(b)-1] != hdlcFlag {
		return nil, 0, format.At("HDLC frame", max(0, len(b)-1), format.ErrLength, "%d octets without a flag at the end", len(b))
	}
	if b[1]&0xF0 != hdlcType3 || b[1]&hdlcSegmented != 0 {
		return nil, 0, format.At("HDLC frame", 1, format.ErrVersion, "format 0x%02x, want one whole frame of type 3", b[1])
	}
	in := b[1 : len(b)-1]
	if n := int(binary.BigEndian.Uint16(in)) & 0x07FF; n != len(in) {
		return nil, 0, format.At("HDLC length", 1, format.ErrLength, "%d, but %d octets are there", n, len(in))
	}
	at := 2 // of in
	for range 2 {
		for at < len(in) && in[at]&1 == 0 {
			at++
		}
		at++
	}
	at++ // control
	if at+2 > len(in)-2 {
		return nil, 0, format.At("HDLC frame", 3, format.ErrLength, "no end of the addresses, or no contents")
	}
	if sum := binary.LittleEndian.Uint16(in[len(in)-2:]); sum != x25(in[:len(in)-2]) {
		return nil, 0, format.At("HDLC check sum", len(b)-3, format.ErrCheckSum, "0x%04x, want 0x%04x", sum, x25(in[:len(in)-2]))
	}
	return skipLLC(in[at+2:len(in)-2], at+3)
}

// x25 is the check sum of HDLC (ISO/IEC 13239): CRC-16 with the polynomial 0x1021, reflected.
func x25(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0x8408
			} else {
				crc >>= 1
			}
		}
	}
	return ^crc
}

// Wrap puts the wrapper of IEC 62056-47 in front of an APDU of at most 65,535 octets.
func Wrap(source, destination uint16, apdu []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{tagWrapper, wrapperVersion}, source)
	b = binary.BigEndian.AppendUint16(b, destination)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(apdu))), apdu...)
}
