package store

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// Golomb-Rice coding of values that are alike, but for some: a value v is v>>k ones, a zero, and the lowest k bits of v, where k suits
// the values of a group. It takes half a bit a value less than the width of the widest of eight.
//
//	5 bits  k, of each group of up to 32 values; 31: all of them are 0, and nothing follows
//	then for each value: v>>k ones and a zero, k bits; or, from 16 ones on, 16 ones and 32 bits
//
// All bits are the lowest first, and filled up to a whole byte behind the last group.
const (
	riceGroup  = 32
	riceZeros  = 31
	riceEscape = 16
	riceMaxBit = 30 // the highest k: with it no value needs an escape
)

// riceWriter packs groups of values.
type riceWriter struct {
	out  []byte
	acc  uint64
	have int // bits in acc, at most 7 between two groups
}

// riceMost are the bytes that a group takes at most, and those that are written at once.
const riceMost = (5+riceGroup*(riceEscape+32)+7)/8 + 1 + 8

// group packs up to 32 values, at least one.
func (w *riceWriter) group(vs []uint32) {
	k := riceBits(vs)
	out := slices.Grow(w.out, riceMost)
	at := len(out)
	out = out[:at+riceMost]
	acc, have := w.acc|uint64(k)<<w.have, w.have+5
	if k == riceZeros {
		vs = nil
	}
	for _, v := range vs {
		binary.LittleEndian.PutUint64(out[at:], acc)
		at += have >> 3
		acc >>= have &^ 7
		have &= 7
		if q := v >> k; q < riceEscape {
			acc |= (1<<q - 1 | uint64(v&(1<<k-1))<<(q+1)) << have
			have += int(q) + 1 + k
		} else {
			acc |= (1<<riceEscape - 1 | uint64(v)<<riceEscape) << have
			have += riceEscape + 32
		}
	}
	binary.LittleEndian.PutUint64(out[at:], acc)
	at += have >> 3
	w.out, w.acc, w.have = out[:at], acc>>(have&^7), have&7
}

// flush appends what was packed to dst, and begins anew.
func (w *riceWriter) flush(dst []byte) []byte {
	dst = append(dst, w.out...)
	if w.have > 0 {
		dst = append(dst, byte(w.acc))
	}
	w.out, w.acc, w.have = w.out[:0], 0, 0
	return dst
}

// riceBits is a k with which the values take few bits. From the mean on, where it mostly is, it is looked for below: a few values that are
// much more than the others raise the mean.
func riceBits(vs []uint32) int {
	sum := uint64(0)
	for _, v := range vs {
		sum += uint64(v)
	}
	if sum == 0 {
		return riceZeros
	}
	k := min(max(bits.Len64(sum/uint64(len(vs)))-1, 0), riceMaxBit)
	for best := riceCost(vs, k); k > 0; k-- {
		less := riceCost(vs, k-1)
		if less >= best {
			break
		}
		best = less
	}
	return k
}

// riceCost is how many bits the values take, or a few less where some escape.
func riceCost(vs []uint32, k int) int {
	n, most := len(vs)*(1+k), uint32(riceEscape+31-k)
	for _, v := range vs {
		n += int(min(v>>k, most))
	}
	return n
}

// riceReader reads what riceWriter packed.
type riceReader struct {
	p  []byte
	at int // bit
}

// group reads the values of a group, as many as were packed in it. It reports false where they are none that were.
func (r *riceReader) group(vs []uint32) bool {
	k := uint(r.next() & 31)
	if r.at += 5; k == riceZeros {
		clear(vs)
		return r.at <= len(r.p)*8
	}
	mask := uint64(1)<<k - 1
	for i := range vs {
		x := r.next()
		q := uint(bits.TrailingZeros64(^x))
		if q >= riceEscape {
			vs[i] = uint32(x >> riceEscape)
			r.at += riceEscape + 32
			continue
		}
		v := uint64(q)<<k | x>>(q+1)&mask
		if v > math.MaxUint32 {
			return false
		}
		vs[i] = uint32(v)
		r.at += int(q + 1 + k)
	}
	return r.at <= len(r.p)*8
}

// next are the bits from the next on, at least 57; behind the end they are 0.
func (r *riceReader) next() uint64 {
	from := r.at >> 3
	if from+8 <= len(r.p) {
		return binary.LittleEndian.Uint64(r.p[from:]) >> (r.at & 7)
	}
	var buf [8]byte
	if from < len(r.p) {
		copy(buf[:], r.p[from:])
	}
	return binary.LittleEndian.Uint64(buf[:]) >> (r.at & 7)
}

// bytes is how many of them were read, the last one perhaps in part.
func (r *riceReader) bytes() int { return (r.at + 7) / 8 }
