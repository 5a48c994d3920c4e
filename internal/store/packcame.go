package store

import (
	"encoding/binary"
	"fmt"
	"math"
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
//	u8      0: runs, 1: delays, 2: delays in large groups
//	runs    of Value until every boundary has one: uvarint n, zigzag varint, the difference to the run before, the first to the
//	        day's start
//	delays  runs of uvarint n<<1 | has a value, until every boundary has one; zigzag varint, the smallest delay behind the boundary,
//	        in seconds; of large groups u8 how many delays one has at most; then groups of up to 8 or so many delays above the smallest,
//	        as those of values in a block
//	runs    of Register: uvarint n<<2 | 0: none, 1: with the value, 2: n zigzag varints follow, each the difference to the day's start
//
// Meters that tell each interval when it ends have delays of some seconds, which take a few bits; a load profile brings all at
// once, which makes one run.
const (
	cameRuns        = 0
	cameDelays      = 1
	cameLargeGroups = 2
	cameGroupMost   = 128

	registerNone     = 0
	registerSame     = 1
	registerElseways = 2
)

// PackCame packs the arrivals of a day that starts at the time start, in slots of step seconds.
func PackCame(c *Came, start, step uint32) []byte {
	out := appendRuns([]byte{cameRuns}, c.Value, start)
	if len(out) > len(c.Value)/2 {
		if delays := packDelays(c.Value, start, step); len(delays) > 0 && len(delays) < len(out) {
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

// packDelays returns nil where the delays lie too far apart.
func packDelays(at []uint32, start, step uint32) []byte {
	var buf [256]uint64
	above := buf[:0] // delays, and then what they are more than the smallest
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for i, t := range at {
		if t != 0 {
			d := int64(t) - int64(start) - int64(i)*int64(step)
			low, high = min(low, d), max(high, d)
			above = append(above, uint64(d))
		}
	}
	if len(above) == 0 {
		low, high = 0, 0
	}
	if bits.Len64(uint64(high-low)) > 32 {
		return nil
	}
	for i := range above {
		above[i] -= uint64(low)
	}
	size := delayGroup(above)
	out := []byte{cameDelays}
	if size != group {
		out[0] = cameLargeGroups
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
	if size != group {
		out = append(out, byte(size))
	}
	for len(above) > 0 {
		n := min(size, len(above))
		out = appendBits(out, above[:n])
		above = above[n:]
	}
	return out
}

// delayGroup is how large groups are best. Where all delays vary alike each group's width is a byte too much.
func delayGroup(above []uint64) int {
	var buf [256 / group]uint64
	of := buf[:0] // the bits of all in a group
	for i := 0; i < len(above); i += group {
		var all uint64
		for _, v := range above[i:min(i+group, len(above))] {
			all |= v
		}
		of = append(of, all)
	}
	best, least := group, math.MaxInt
	for size := group; ; size *= 2 {
		bytes := 0
		for i, all := range of {
			bytes += 1 + (bits.Len64(all)*min(size, len(above)-i*size)+7)/8
		}
		if bytes < least {
			best, least = size, bytes
		}
		if len(of) < 2 || size == cameGroupMost {
			return best
		}
		for i := range (len(of) + 1) / 2 { // two groups become one
			of[i] = of[2*i]
			if 2*i+1 < len(of) {
				of[i] |= of[2*i+1]
			}
		}
		of = of[:(len(of)+1)/2]
	}
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
	switch format := r.byte(); format {
	case cameRuns:
		r.runs(c.Value, start)
	case cameDelays, cameLargeGroups:
		r.delays(c.Value, start, step, format == cameLargeGroups)
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

func (r *reader) delays(at []uint32, start, step uint32, large bool) {
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
	low, size := r.varint(), group
	if large {
		if size = int(r.byte()); size == 0 || size > cameGroupMost {
			r.bad = true
			return
		}
	}
	var buf [cameGroupMost]uint64
	var left []uint64
	for i := range at {
		if at[i] == 0 {
			continue
		}
		if len(left) == 0 {
			if left = r.bits(buf[:min(size, count)]); r.bad {
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
