package store

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Came tells when what a day's first block holds was committed, while the day was open. Both lists have an entry for each
// boundary of the day, from its start to its end, in business time: seconds since the epoch.
type Came struct {
	Value    []uint32 // of the interval that ends there; of the register, where there is no value; 0: neither
	Register []uint32 // the register that the meter told of that boundary; 0: it told none
}

// Packed arrivals, behind all else in a packed block:
//
//	u8      0: runs, 1: delays
//	runs    of Value until every boundary has one: uvarint n, zigzag varint, the difference to the run before, the first to the
//	        day's start
//	delays  runs of uvarint n<<1 | has a value, until every boundary has one; zigzag varint, the smallest delay behind the boundary,
//	        in seconds; then groups of up to 8 delays above that, as those of values in a block
//	runs    of Register: uvarint n<<2 | 0: none, 1: with the value, 2: n zigzag varints follow, each the difference to the day's start
//
// Meters that tell each interval when it ends have delays of some seconds, which take a few bits; a load profile brings all at
// once, which makes one run.
const (
	cameRuns   = 0
	cameDelays = 1

	registerNone     = 0
	registerSame     = 1
	registerElseways = 2
)

// PackCame packs the arrivals of a day that starts at the time start, in slots of step seconds.
func PackCame(c *Came, start, step uint32) []byte {
	out := appendRuns([]byte{cameRuns}, c.Value, start)
	if len(out) > len(c.Value)/2 {
		if delays := appendDelays([]byte{cameDelays}, c.Value, start, step); len(delays) > 0 && len(delays) < len(out) {
			out = delays
		}
	}
	kind := func(i int) uint64 {
		switch c.Register[i] {
		case 0:
			return registerNone
		case c.Value[i]:
			return registerSame
		}
		return registerElseways
	}
	for i := 0; i < len(c.Register); {
		j, k := i, kind(i)
		for ; j < len(c.Register) && kind(j) == k; j++ {
		}
		out = binary.AppendUvarint(out, uint64(j-i)<<2|k)
		for ; k == registerElseways && i < j; i++ {
			out = binary.AppendUvarint(out, zig(int64(c.Register[i])-int64(start)))
		}
		i = j
	}
	return out
}

func appendRuns(out []byte, at []uint32, start uint32) []byte {
	prev := int64(start)
	for i := 0; i < len(at); {
		j := i
		for ; j < len(at) && at[j] == at[i]; j++ {
		}
		t := int64(at[i])
		out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(j-i)), zig(t-prev))
		prev = t
		i = j
	}
	return out
}

// appendDelays returns nil where the delays lie too far apart.
func appendDelays(out []byte, at []uint32, start, step uint32) []byte {
	low, high, any := int64(0), int64(0), false
	for i, t := range at {
		if t == 0 {
			continue
		}
		d := int64(t) - int64(start) - int64(i)*int64(step)
		if !any || d < low {
			low = d
		}
		if !any || d > high {
			high = d
		}
		any = true
	}
	if bits.Len64(uint64(high-low)) > 32 {
		return nil
	}
	for i := 0; i < len(at); {
		j := i
		for ; j < len(at) && (at[j] == 0) == (at[i] == 0); j++ {
		}
		run := uint64(j-i) << 1
		if at[i] != 0 {
			run |= 1
		}
		out = binary.AppendUvarint(out, run)
		i = j
	}
	out = binary.AppendUvarint(out, zig(low))
	var buf [group]uint64
	n := 0
	for i, t := range at {
		if t == 0 {
			continue
		}
		buf[n] = uint64(int64(t) - int64(start) - int64(i)*int64(step) - low)
		if n++; n == group {
			out = appendBits(out, buf[:])
			n = 0
		}
	}
	if n > 0 {
		out = appendBits(out, buf[:n])
	}
	return out
}

// UnpackCame reads what PackCame wrote. It returns nil for a block that has no arrivals.
func (b *Block) UnpackCame() (*Came, error) {
	if len(b.Came) == 0 {
		return nil, nil
	}
	n, err := slots(b.Length)
	if err != nil {
		return nil, err
	}
	start, step := b.Day.Start(), uint32(b.Length)*60
	c := &Came{Value: make([]uint32, n+1), Register: make([]uint32, n+1)}
	r := reader{p: b.Came}
	switch r.byte() {
	case cameRuns:
		r.runs(c.Value, start)
	case cameDelays:
		r.delays(c.Value, start, step)
	default:
		r.bad = true
	}
	for i := 0; i <= n && !r.bad; {
		k := r.uvarint()
		run := k >> 2
		if run == 0 || run > uint64(n+1-i) || k&3 > registerElseways {
			r.bad = true
			break
		}
		for range run {
			switch k & 3 {
			case registerSame:
				c.Register[i] = c.Value[i]
			case registerElseways:
				c.Register[i] = r.instant(int64(start) + r.varint())
			}
			i++
		}
	}
	if r.bad || len(r.p) != 0 {
		return nil, fmt.Errorf("arrivals of %d bytes of device %d on %v: %w", len(b.Came), b.Device, b.Day, ErrCorrupt)
	}
	return c, nil
}

func (r *reader) instant(t int64) uint32 {
	if t < 0 || t > 1<<32-1 {
		r.bad = true
		return 0
	}
	return uint32(t)
}

func (r *reader) runs(at []uint32, start uint32) {
	t := int64(start)
	for i := 0; i < len(at) && !r.bad; {
		run := r.uvarint()
		t += r.varint()
		if run == 0 || run > uint64(len(at)-i) {
			r.bad = true
			return
		}
		v := r.instant(t)
		for range run {
			at[i] = v
			i++
		}
	}
}

func (r *reader) delays(at []uint32, start, step uint32) {
	count := 0
	for i := 0; i < len(at) && !r.bad; {
		k := r.uvarint()
		run := k >> 1
		if run == 0 || run > uint64(len(at)-i) {
			r.bad = true
			return
		}
		for range run {
			if at[i] = uint32(k & 1); k&1 != 0 {
				count++
			}
			i++
		}
	}
	low := r.varint()
	var buf [group]uint64
	var left []uint64
	for i := range at {
		if at[i] == 0 {
			continue
		}
		if len(left) == 0 {
			if left = r.bits(buf[:min(group, count)]); r.bad {
				return
			}
			count -= len(left)
		}
		if left[0] > 1<<34 || low > 1<<34 || low < -1<<34 {
			r.bad = true
			return
		}
		at[i] = r.instant(int64(start) + int64(i)*int64(step) + low + int64(left[0]))
		left = left[1:]
	}
}
