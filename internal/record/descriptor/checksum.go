package descriptor

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
	"crc8":    crc{8, 0x07, 0, false, 0}.table(),
	"crc16":   crc{16, 0x8005, 0, true, 0}.table(), // ARC
	"modbus":  crc{16, 0x8005, 0xFFFF, true, 0}.table(),
	"ccitt":   crc{16, 0x1021, 0xFFFF, false, 0}.table(), // CCITT-FALSE
	"xmodem":  crc{16, 0x1021, 0, false, 0}.table(),
	"x25":     crc{16, 0x1021, 0xFFFF, true, 0xFFFF}.table(), // HDLC
	"en13757": crc{16, 0x3D65, 0, false, 0xFFFF}.table(),     // wireless M-Bus
	"crc32":   crc{32, 0x04C11DB7, 0xFFFFFFFF, true, 0xFFFFFFFF}.table(),
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

// crc is a cyclic redundancy check: width in bits, polynomial, start, whether bits are taken from the low end, final xor.
type crc struct {
	width     int
	poly      uint32
	start     uint32
	reflected bool
	final     uint32
}

func (c crc) table() checkSum {
	var t [256]uint32
	poly, mask := c.poly, uint32(1<<c.width-1)
	if c.reflected {
		poly = 0
		for i := range c.width {
			poly |= c.poly >> i & 1 << (c.width - 1 - i)
		}
	}
	for i := range t {
		r := uint32(i)
		if !c.reflected {
			r <<= c.width - 8
		}
		for range 8 {
			switch {
			case c.reflected && r&1 != 0:
				r = r>>1 ^ poly
			case c.reflected:
				r >>= 1
			case r>>(c.width-1)&1 != 0:
				r = r<<1 ^ poly
			default:
				r <<= 1
			}
		}
		t[i] = r & mask
	}
	start, final, top := c.start, c.final, c.width-8
	if c.reflected {
		return checkSum{c.width / 8, func(b []byte) uint64 {
			r := start
			for _, x := range b {
				r = r>>8 ^ t[byte(r)^x]
			}
			return uint64(r ^ final)
		}}
	}
	return checkSum{c.width / 8, func(b []byte) uint64 {
		r := start
		for _, x := range b {
			r = (r<<8 ^ t[byte(r>>top)^x]) & mask
		}
		return uint64(r ^ final)
	}}
}
