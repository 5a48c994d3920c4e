package descriptor

import "github.com/wattbus/wattbus/internal/crc"

// checkSum reckons the check sum of octets.
type checkSum struct {
	width int
	of    func([]byte) uint64
}

// checkSums are the algorithms by name, as catalogues of CRCs call them.
var checkSums = map[string]checkSum{
	"sum8":    {1, func(b []byte) uint64 { return sum(b) & 0xFF }},
	"sum16":   {2, func(b []byte) uint64 { return sum(b) & 0xFFFF }},
	"lrc":     {1, func(b []byte) uint64 { return -sum(b) & 0xFF }}, // the two's complement of the sum
	"xor":     {1, func(b []byte) uint64 { return xor(b) }},
	"crc8":    cyclic(crc.CRC8),
	"crc16":   cyclic(crc.ARC),
	"modbus":  cyclic(crc.Modbus),
	"ccitt":   cyclic(crc.CCITT),
	"xmodem":  cyclic(crc.XModem),
	"x25":     cyclic(crc.X25),
	"en13757": cyclic(crc.EN13757),
	"crc32":   cyclic(crc.CRC32),
}

func sum(b []byte) (s uint64) {
	for _, x := range b {
		s += uint64(x)
	}
	return s
}

func xor(b []byte) (s uint64) {
	for _, x := range b {
		s ^= uint64(x)
	}
	return s
}

func cyclic(t *crc.Table) checkSum {
	return checkSum{t.Width() / 8, func(b []byte) uint64 { return uint64(t.Of(b)) }}
}
