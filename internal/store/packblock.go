package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// ErrCorrupt is returned for packed bytes that no packer made.
var ErrCorrupt = errors.New("corrupt packed intervals")

// maxSlots is the number of intervals of a day at their shortest, one minute.
const maxSlots = 1440

const noValue = uint64(cim.NoValue)

// group is how many packed integers share one bit width.
const group = 8

// A packed block is, behind the columns that the backend keeps beside it (device, channel, day, length, version):
//
//	u8      format: 1, plus 0x10 with a register, plus 0x20 if deltas are packed instead of values, plus 0x40 with anchors
//	uvarint register at the day's start, if there is one
//	anchors uvarint their number, then for each: uvarint boundary, as the difference to the one before, the first to 0;
//	        zigzag varint register, as the difference to the one before, the first to that at the day's start or to 0
//	runs    of quality until the day is full: uvarint n<<4 | has value<<3 | quality
//	uvarint factor (greatest common divisor of the values) and smallest value in factors; absent if there is no value
//	groups  of up to 8 values: u8 bit width w, then the w-bit integers, lowest bit first, filled up to a whole byte
//	came    if the format has 0x80: when the values came, up to the end; see packcame.go. PostgreSQL's functions stop before it
//
// Meters count in steps of 1, 10 or more Wh, so the factor saves three bits and more a value.
const (
	blockFormat   = 0x01
	blockRegister = 0x10
	blockDeltas   = 0x20
	blockAnchors  = 0x40
	blockCame     = 0x80
)

// AppendBlock packs what varies in a block (Register, Anchors, Wh, Quality and Came) behind dst.
func AppendBlock(dst []byte, b *Block) ([]byte, error) {
	head := len(dst)
	dst, err := appendBlock(dst, b)
	if err == nil && len(b.Came) > 0 {
		dst[head] |= blockCame
		dst = append(dst, b.Came...)
	}
	return dst, err
}

func appendBlock(dst []byte, b *Block) ([]byte, error) {
	n, err := slots(b.Length)
	if err != nil {
		return dst, err
	}
	if len(b.Wh) != n || len(b.Quality) != n {
		return dst, fmt.Errorf("block of day %v with %d values and %d qualities, want %d of each for %d minutes",
			b.Day, len(b.Wh), len(b.Quality), n, b.Length)
	}
	head := len(dst)
	dst = append(dst, blockFormat)
	if b.HasReg {
		dst[head] |= blockRegister
		dst = binary.AppendUvarint(dst, b.Register)
	}
	if len(b.Anchors) > 0 {
		dst[head] |= blockAnchors
		if dst, err = appendAnchors(dst, b, n); err != nil {
			return dst[:head], err
		}
	}
	var buf [maxSlots]uint32
	values := buf[:0]
	var factor, low uint32
	low = cim.NoValue
	for i := 0; i < n; {
		key := b.runKey(i)
		j := i
		for ; j < n && b.runKey(j) == key; j++ {
			if wh := b.Wh[j]; wh != cim.NoValue {
				values = append(values, wh)
				factor = gcd(wh, factor)
				low = min(low, wh)
			}
		}
		if b.Quality[i] > 7 {
			return dst[:head], fmt.Errorf("block of day %v: quality %d of interval %d, want at most 7", b.Day, b.Quality[i], i)
		}
		dst = binary.AppendUvarint(dst, uint64(j-i)<<4|uint64(key))
		i = j
	}
	if len(values) == 0 {
		return dst, nil
	}
	factor = max(factor, 1)
	dst = binary.AppendUvarint(dst, uint64(factor))
	dst = binary.AppendUvarint(dst, uint64(low/factor))
	plain, delta := 0, 0
	var zigzag [maxSlots]uint64
	prev := low / factor
	for i, v := range values {
		v /= factor
		zigzag[i] = zig(int64(v) - int64(prev))
		prev = v
		values[i] = v - low/factor
	}
	for i := 0; i < len(values); i += group {
		end := min(i+group, len(values))
		var p, d uint64
		for j := i; j < end; j++ {
			p |= uint64(values[j])
			d |= zigzag[j]
		}
		plain += ((end-i)*bits.Len64(p) + 7) / 8
		delta += ((end-i)*bits.Len64(d) + 7) / 8
	}
	if delta < plain {
		dst[head] |= blockDeltas
	} else {
		for i, v := range values {
			zigzag[i] = uint64(v)
		}
	}
	for i := 0; i < len(values); i += group {
		dst = appendBits(dst, zigzag[i:min(i+group, len(values))])
	}
	return dst, nil
}

// UnpackBlock reads what AppendBlock wrote into b, whose Length says how many intervals there are. It uses the capacity of
// b.Wh and b.Quality; b.Came becomes a part of p, which only UnpackCame looks into.
func UnpackBlock(b *Block, p []byte) error {
	n, err := slots(b.Length)
	if err != nil {
		return err
	}
	if len(p) == 0 || p[0]&^(blockRegister|blockDeltas|blockAnchors|blockCame) != blockFormat {
		return fmt.Errorf("block: unknown format: %w", ErrCorrupt)
	}
	format := p[0]
	r := reader{p: p[1:]}
	b.HasReg, b.Register = format&blockRegister != 0, 0
	if b.HasReg {
		b.Register = r.uvarint()
	}
	b.Anchors = nil
	if format&blockAnchors != 0 {
		r.anchors(b, n)
	}
	b.Wh, b.Quality = slices.Grow(b.Wh[:0], n)[:n], slices.Grow(b.Quality[:0], n)[:n]
	count := 0
	for at := 0; at < n && !r.bad; {
		k := r.uvarint()
		run := k >> 4
		if run == 0 || run > uint64(n-at) {
			r.bad = true
			break
		}
		wh, quality := b.Wh[at:at+int(run)], b.Quality[at:at+int(run)]
		at += int(run)
		for i := range quality {
			quality[i] = cim.Quality(k & 7)
		}
		if k&8 != 0 {
			count += int(run)
			clear(wh)
			continue
		}
		for i := range wh {
			wh[i] = cim.NoValue
		}
	}
	if count > 0 && !r.bad {
		r.values(b, count, format&blockDeltas != 0)
	}
	if b.Came = nil; format&blockCame != 0 && len(r.p) > 0 && !r.bad {
		b.Came, r.p = r.p, nil
	}
	if r.bad || len(r.p) != 0 {
		return fmt.Errorf("block of %d bytes: %w", len(p), ErrCorrupt)
	}
	return nil
}

func appendAnchors(dst []byte, b *Block, n int) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(len(b.Anchors)))
	var at uint16
	reg := b.Register // 0 without one
	for i, a := range b.Anchors {
		if a.At <= at || int(a.At) > n {
			return dst, fmt.Errorf("block of day %v: anchor %d at boundary %d, want more than %d and at most %d", b.Day, i, a.At, at, n)
		}
		dst = binary.AppendUvarint(dst, uint64(a.At-at))
		dst = binary.AppendUvarint(dst, zig(int64(a.Register-reg)))
		at, reg = a.At, a.Register
	}
	return dst, nil
}

func (r *reader) anchors(b *Block, n int) {
	count := r.uvarint()
	if count == 0 || count > uint64(n) {
		r.bad = true
		return
	}
	at, reg := uint64(0), b.Register
	for range count {
		step := r.uvarint()
		reg += uint64(unzig(r.uvarint()))
		if step == 0 || step > uint64(n)-at {
			r.bad = true
		}
		if r.bad {
			return
		}
		at += step
		b.Anchors = append(b.Anchors, Anchor{At: uint16(at), Register: reg})
	}
}

func (r *reader) values(b *Block, count int, deltas bool) {
	factor, low := r.uvarint(), r.uvarint()
	if factor == 0 || factor > noValue || low > noValue {
		r.bad = true
		return
	}
	limit := (noValue - 1) / factor
	var buf [group]uint64
	prev := int64(low)
	for at := 0; count > 0; {
		vs := r.bits(buf[:min(group, count)])
		if r.bad {
			return
		}
		count -= len(vs)
		for _, u := range vs {
			v := int64(low) + int64(u)
			if deltas {
				prev += unzig(u)
				v = prev
			}
			if uint64(v) > limit { // as it is below 0
				r.bad = true
				return
			}
			for b.Wh[at] == cim.NoValue {
				at++
			}
			b.Wh[at] = uint32(uint64(v) * factor)
			at++
		}
	}
}

func (b *Block) runKey(i int) uint8 {
	k := uint8(b.Quality[i])
	if b.Wh[i] != cim.NoValue {
		k |= 8
	}
	return k
}

// slots is the number of intervals of a day; length is in minutes.
func slots(length uint16) (int, error) {
	if length == 0 || 1440%length != 0 {
		return 0, fmt.Errorf("interval of %d minutes, want a divisor of a day", length)
	}
	return 1440 / int(length), nil
}

// gcd is the greatest common divisor; gcd(a, 0) = a.
func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func zig(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzig(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// appendBits packs a group of integers of at most 34 bits, all in the width of the widest.
func appendBits(dst []byte, vs []uint64) []byte {
	var all uint64
	for _, v := range vs {
		all |= v
	}
	w := bits.Len64(all)
	dst = append(dst, byte(w))
	var acc uint64
	have := 0
	for _, v := range vs {
		acc |= v << have
		for have += w; have >= 8; have -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	if have > 0 {
		dst = append(dst, byte(acc))
	}
	return dst
}

// reader reads packed bytes; once bad it only returns zeros.
type reader struct {
	p   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 || r.bad {
		r.bad = true
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) byte() byte {
	if r.bad || len(r.p) == 0 {
		r.bad = true
		return 0
	}
	b := r.p[0]
	r.p = r.p[1:]
	return b
}

func (r *reader) bits(vs []uint64) []uint64 {
	w := int(r.byte())
	need := (w*len(vs) + 7) / 8
	if r.bad || w > 40 || len(r.p) < need {
		r.bad = true
		return nil
	}
	in := r.p
	r.p = r.p[need:]
	if len(r.p) >= 8 { // so that eight bytes can be read wherever one of the integers begins, which has 40 bits at most
		mask := uint64(1)<<w - 1
		for i, at := 0, 0; i < len(vs); i, at = i+1, at+w {
			vs[i] = binary.LittleEndian.Uint64(in[at>>3:]) >> (at & 7) & mask
		}
		return vs
	}
	var acc uint64
	have := 0
	for i := range vs {
		for have < w {
			acc |= uint64(in[0]) << have
			in = in[1:]
			have += 8
		}
		vs[i] = acc & (1<<w - 1)
		acc >>= w
		have -= w
	}
	return vs
}
