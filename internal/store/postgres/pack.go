package postgres

import (
	"encoding/binary"
	"fmt"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// chunk.data is laid out so that SQL can read it: columns of fixed width, all integers highest byte first.
//
//	u8      format: 1
//	u16     kinds, of which rows name one: u32 each, length in minutes | quality<<16 | channel<<20 | has register<<24
//	columns kind (which, from 0), device, start (seconds since 1970), wh (plus 1, 0 for none), register, recorded: of each
//	        u8 width of 0, 1, 2, 3, 4 or 8 bytes, u64 base, u32 step
//	values  a column behind the other, of each row an integer of that width; it is base + step * the integer
//
// A commit's readings are mostly of one slot and kind, so that these two take nothing, and 8 to 9 bytes are left.
const (
	packFormat  = 1
	packColumns = 6
	columnHead  = 13
)

const (
	columnKind = iota
	columnDevice
	columnStart
	columnWh
	columnRegister
	columnRecorded
)

// The parts of a kind.
const (
	kindQuality  = 16 // shift
	kindChannel  = 20 // shift
	kindRegister = 1 << 24
)

func kindOf(r *store.Row) uint32 {
	k := uint32(r.Length) | uint32(r.Quality)<<kindQuality | uint32(r.Channel)<<kindChannel
	if r.HasReg {
		k |= kindRegister
	}
	return k
}

// span is what the values of a column lie between.
type span struct {
	low, high uint64
	step      uint32 // that divides all differences; 0: 1
	any       bool
}

func (s *span) add(v uint64) {
	if !s.any {
		s.low, s.high, s.any = v, v, true
		return
	}
	s.low, s.high = min(s.low, v), max(s.high, v)
}

func (s *span) width() int {
	switch top := (s.high - s.low) / uint64(max(s.step, 1)); {
	case top == 0:
		return 0
	case top < 1<<8:
		return 1
	case top < 1<<16:
		return 2
	case top < 1<<24:
		return 3
	case top < 1<<32:
		return 4
	}
	return 8
}

// appendChunk packs a chunk's rows behind dst.
func appendChunk(dst []byte, c *store.Chunk) ([]byte, error) {
	if len(c.Rows) > store.MaxChunkRows {
		return dst, fmt.Errorf("%d rows, want at most %d", len(c.Rows), store.MaxChunkRows)
	}
	var spans [packColumns]span
	kinds, numbers := []uint32(nil), map[uint32]uint32{}
	for i := range c.Rows {
		r := &c.Rows[i]
		if k := kindOf(r); i == 0 || k != kinds[len(kinds)-1] {
			if err := store.CheckRow(r); err != nil {
				return dst, fmt.Errorf("row %d: %w", i, err)
			}
			if _, known := numbers[k]; !known {
				numbers[k] = uint32(len(kinds))
				kinds = append(kinds, k)
			}
		}
		spans[columnDevice].add(uint64(r.Device))
		spans[columnStart].add(uint64(r.Start))
		spans[columnStart].step = gcd(spans[columnStart].step, max(r.Start, c.Rows[0].Start)-min(r.Start, c.Rows[0].Start))
		spans[columnWh].add(uint64(r.Wh + 1)) // wraps to 0 for cim.NoValue
		spans[columnRecorded].add(uint64(r.Recorded))
		if r.HasReg {
			spans[columnRegister].add(r.Register)
		}
	}
	if len(kinds) > 1 {
		spans[columnKind].high = uint64(len(kinds) - 1)
	}
	if r := &spans[columnRegister]; r.high>>63 != 0 && r.low>>63 == 0 {
		r.low = 0 // SQL cannot add up to what it takes for negative
	}
	dst = binary.BigEndian.AppendUint16(append(dst, packFormat), uint16(len(kinds)))
	for _, k := range kinds {
		dst = binary.BigEndian.AppendUint32(dst, k)
	}
	for i := range spans {
		s := &spans[i]
		dst = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(append(dst, byte(s.width())), s.low), max(s.step, 1))
	}
	for i := range spans {
		s := &spans[i]
		w, low := s.width(), s.low
		if w == 0 {
			continue
		}
		head := len(dst)
		dst = append(dst, make([]byte, w*len(c.Rows))...)
		out := dst[head:]
		for j := range c.Rows {
			r := &c.Rows[j]
			var v uint64
			switch i {
			case columnKind:
				v = uint64(numbers[kindOf(r)])
			case columnDevice:
				v = uint64(r.Device) - low
			case columnStart:
				v = (uint64(r.Start) - low) / uint64(max(s.step, 1))
			case columnWh:
				v = uint64(r.Wh+1) - low
			case columnRegister:
				if r.HasReg {
					v = r.Register - low
				}
			case columnRecorded:
				v = uint64(r.Recorded) - low
			}
			put(out[j*w:], w, v)
		}
	}
	return dst, nil
}

func put(p []byte, w int, v uint64) {
	switch w {
	case 1:
		p[0] = byte(v)
	case 2:
		binary.BigEndian.PutUint16(p, uint16(v))
	case 3:
		p[0] = byte(v >> 16)
		binary.BigEndian.PutUint16(p[1:], uint16(v))
	case 4:
		binary.BigEndian.PutUint32(p, uint32(v))
	case 8:
		binary.BigEndian.PutUint64(p, v)
	}
}

func get(p []byte, w int) uint64 {
	switch w {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(p))
	case 3:
		return uint64(p[0])<<16 | uint64(binary.BigEndian.Uint16(p[1:]))
	case 4:
		return uint64(binary.BigEndian.Uint32(p))
	case 8:
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// gcd is the greatest common divisor; gcd(a, 0) = a.
func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// column is one of a packed chunk.
type column struct {
	width int
	base  uint64
	step  uint64
	data  []byte
}

func (c *column) at(i int) uint64 {
	if c.width == 0 {
		return c.base
	}
	return c.base + c.step*get(c.data[i*c.width:], c.width)
}

// unpackChunk reads what appendChunk made of n rows into c, whose Day is known. It uses the capacity of c.Rows.
func unpackChunk(c *store.Chunk, n int, p []byte) error {
	c.Rows = c.Rows[:0]
	bad := func() error { return fmt.Errorf("chunk of %d rows in %d bytes: %w", n, len(p), store.ErrCorrupt) }
	if len(p) < 3 || p[0] != packFormat || n < 0 || n > store.MaxChunkRows {
		return bad()
	}
	kinds := p[3:]
	number := int(binary.BigEndian.Uint16(p[1:]))
	if len(kinds) < 4*number+packColumns*columnHead {
		return bad()
	}
	heads := kinds[4*number:]
	kinds = kinds[:4*number]
	left := heads[packColumns*columnHead:]
	var cols [packColumns]column
	for i := range cols {
		h := heads[i*columnHead:]
		k := column{width: int(h[0]), base: binary.BigEndian.Uint64(h[1:]), step: uint64(binary.BigEndian.Uint32(h[9:]))}
		if k.width > 4 && k.width != 8 || len(left) < k.width*n {
			return bad()
		}
		k.data, left = left[:k.width*n], left[k.width*n:]
		cols[i] = k
	}
	if len(left) != 0 {
		return bad()
	}
	for i := range n {
		which := cols[columnKind].at(i)
		device, start, wh := cols[columnDevice].at(i), cols[columnStart].at(i), cols[columnWh].at(i)
		recorded := cols[columnRecorded].at(i)
		if which >= uint64(number) || (device|start|wh|recorded)>>32 != 0 {
			c.Rows = c.Rows[:0]
			return bad()
		}
		k := binary.BigEndian.Uint32(kinds[4*which:])
		row := store.Row{Device: uint32(device), Channel: cim.Channel(k >> kindChannel & 15), Length: uint16(k), Quality: cim.Quality(k >> kindQuality & 15),
			Start: uint32(start), Wh: uint32(wh) - 1, Recorded: uint32(recorded)}
		if row.HasReg = k&kindRegister != 0; row.HasReg {
			row.Register = cols[columnRegister].at(i)
		}
		c.Rows = append(c.Rows, row)
	}
	return nil
}
