// Package crc reckons the cyclic redundancy checks of meters' messages and links, under the names that catalogues of CRCs give them. Each is
// a table of 256, made when the program starts. No message format lives here.
package crc

// The checks of 8, 16 and 32 bits.
var (
	CRC8    = New(8, 0x07, 0, false, 0)
	ARC     = New(16, 0x8005, 0, true, 0) // "CRC-16"
	Modbus  = New(16, 0x8005, 0xFFFF, true, 0)
	CCITT   = New(16, 0x1021, 0xFFFF, false, 0) // CCITT-FALSE
	XModem  = New(16, 0x1021, 0, false, 0)
	X25     = New(16, 0x1021, 0xFFFF, true, 0xFFFF) // HDLC, ISO/IEC 13239
	EN13757 = New(16, 0x3D65, 0, false, 0xFFFF)     // wireless M-Bus
	CRC32   = New(32, 0x04C11DB7, 0xFFFFFFFF, true, 0xFFFFFFFF)
)

// Table reckons one check.
type Table struct {
	t          [256]uint32
	start      uint32
	final      uint32
	mask       uint32
	top, width int
	reflected  bool
}

// New makes the table of a check: its width in bits, of 8 and more, its polynomial, the start, whether bits are taken from the low end, and
// the final xor.
func New(width int, poly, start uint32, reflected bool, final uint32) *Table {
	c := &Table{start: start, final: final, mask: uint32(1<<width - 1), top: width - 8, width: width, reflected: reflected}
	if reflected {
		mirrored := uint32(0)
		for i := range width {
			mirrored |= poly >> i & 1 << (width - 1 - i)
		}
		poly = mirrored
	}
	for i := range c.t {
		r := uint32(i)
		if !reflected {
			r <<= c.top
		}
		for range 8 {
			switch {
			case reflected && r&1 != 0:
				r = r>>1 ^ poly
			case reflected:
				r >>= 1
			case r>>(width-1)&1 != 0:
				r = r<<1 ^ poly
			default:
				r <<= 1
			}
		}
		c.t[i] = r & c.mask
	}
	return c
}

// Width is how many bits the check has.
func (c *Table) Width() int { return c.width }

// Of is the check of octets.
func (c *Table) Of(b []byte) uint32 {
	r := c.start
	if c.reflected {
		for _, x := range b {
			r = r>>8 ^ c.t[byte(r)^x]
		}
		return r ^ c.final
	}
	for _, x := range b {
		r = (r<<8 ^ c.t[byte(r>>c.top)^x]) & c.mask
	}
	return r ^ c.final
}

// Of16 is the check of octets, of one of 16 bits.
func (c *Table) Of16(b []byte) uint16 { return uint16(c.Of(b)) }
