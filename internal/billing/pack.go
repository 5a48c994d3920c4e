package billing

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/wattbus/wattbus/internal/cim"
)

// ErrPacked is returned for bytes that Pack did not make.
var ErrPacked = errors.New("corrupt packed series")

// MaxPacked bounds the intervals and the registers of a packed series: 31 days of minutes in a year, and more than a meter has.
const MaxPacked = 1 << 20

// Pack appends intervals and registers in short form, some 1.3 bytes an interval:
//
//	uvarint number of runs, then for each: zigzag varint seconds from the end of the run before (the first: since the epoch),
//	        uvarint length in seconds, u8 quality, uvarint number of intervals that follow each other, uvarint Wh of each
//	uvarint number of registers, then for each: zigzag varints of the differences of time and Wh to the one before, u8 quality
func Pack(dst []byte, iv []Interval, regs []Register) []byte {
	runs := 0
	each := func(f func(i, j int)) {
		for i := 0; i < len(iv); {
			j := i + 1
			for j < len(iv) && iv[j].Start == iv[j-1].End && iv[j].End-iv[j].Start == iv[i].End-iv[i].Start && iv[j].Quality == iv[i].Quality {
				j++
			}
			f(i, j)
			i = j
		}
	}
	each(func(int, int) { runs++ })
	dst = binary.AppendUvarint(dst, uint64(runs))
	end := int64(0)
	each(func(i, j int) {
		dst = binary.AppendVarint(dst, iv[i].Start-end)
		dst = binary.AppendUvarint(dst, uint64(iv[i].End-iv[i].Start))
		dst = append(dst, byte(iv[i].Quality))
		dst = binary.AppendUvarint(dst, uint64(j-i))
		for _, v := range iv[i:j] {
			dst = binary.AppendUvarint(dst, uint64(v.Wh))
		}
		end = iv[j-1].End
	})
	dst = binary.AppendUvarint(dst, uint64(len(regs)))
	at, wh := int64(0), uint64(0)
	for _, r := range regs {
		dst = binary.AppendVarint(dst, r.At-at)
		dst = binary.AppendVarint(dst, int64(r.Wh-wh))
		dst = append(dst, byte(r.Quality))
		at, wh = r.At, r.Wh
	}
	return dst
}

// Unpack reads what Pack wrote and appends it.
func Unpack(p []byte, iv []Interval, regs []Register) ([]Interval, []Register, error) {
	bad := false
	uvarint := func() uint64 {
		v, n := binary.Uvarint(p)
		if n <= 0 {
			bad = true
			return 0
		}
		p = p[n:]
		return v
	}
	varint := func() int64 {
		v, n := binary.Varint(p)
		if n <= 0 {
			bad = true
			return 0
		}
		p = p[n:]
		return v
	}
	quality := func() cim.Quality {
		if len(p) == 0 {
			bad = true
			return 0
		}
		q := cim.Quality(p[0])
		p = p[1:]
		return q
	}
	fail := func() ([]Interval, []Register, error) { return iv, regs, ErrPacked }
	end := int64(0)
	total := uint64(0)
	for runs := uvarint(); runs > 0 && !bad; runs-- {
		start := end + varint()
		length, q, n := uvarint(), quality(), uvarint()
		if total += n; bad || n == 0 || n > MaxPacked || total > MaxPacked || length == 0 || length > 86400 || start < -1<<40 || start > 1<<40 {
			return fail()
		}
		for range n {
			wh := uvarint()
			if bad || wh > math.MaxInt64/2 {
				return fail()
			}
			iv = append(iv, Interval{start, start + int64(length), int64(wh), q})
			start += int64(length)
		}
		end = start
	}
	n := uvarint()
	if bad || n > MaxPacked {
		return fail()
	}
	at, wh := int64(0), uint64(0)
	for range n {
		at += varint()
		wh += uint64(varint())
		q := quality()
		if bad {
			return fail()
		}
		regs = append(regs, Register{at, wh, q})
	}
	if len(p) > 0 {
		return fail()
	}
	return iv, regs, nil
}
