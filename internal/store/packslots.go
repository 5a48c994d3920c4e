package store

import (
	"fmt"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// nothing is what a block tells of a day of which it tells nothing.
var nothing = func() (wh [maxSlots]uint32) {
	for i := range wh {
		wh[i] = cim.NoValue
	}
	return wh
}()

// UnpackSlots is UnpackBlock of the intervals [lo, hi) alone. Of the others, of registers and of when values came b tells nothing. What
// is packed behind them is not looked at, and what is packed before them is skipped where it can be: of one slot out of 96 it takes an
// eighth to a fourth of the time.
func UnpackSlots(b *Block, p []byte, lo, hi int) error {
	n, err := slots(b.Length)
	if err != nil {
		return err
	}
	lo, hi = max(lo, 0), min(hi, n)
	if len(p) == 0 || p[0]&^(blockRegister|blockDeltas|blockAnchors|blockCame) != blockFormat {
		return fmt.Errorf("block: unknown format: %w", ErrCorrupt)
	}
	format := p[0]
	r := reader{p: p[1:]}
	if format&blockRegister != 0 {
		r.uvarint()
	}
	if format&blockAnchors != 0 {
		count := r.uvarint()
		for i := uint64(0); i < count && !r.bad; i++ {
			r.uvarint()
			r.uvarint()
		}
	}
	b.HasReg, b.Register, b.Anchors, b.Came = false, 0, nil, nil
	b.Wh, b.Quality = append(b.Wh[:0], nothing[:n]...), slices.Grow(b.Quality[:0], n)[:n]
	clear(b.Quality)
	before, inside, all := 0, 0, 0 // values
	for at := 0; at < n && !r.bad; {
		k := r.uvarint()
		run := k >> 4
		if run == 0 || run > uint64(n-at) {
			r.bad = true
			break
		}
		end := at + int(run)
		from, to := max(at, lo), min(end, hi)
		for i := from; i < to; i++ {
			b.Quality[i] = cim.Quality(k & 7)
		}
		if k&8 != 0 {
			all += int(run)
			before += max(min(end, lo)-at, 0)
			if from < to {
				inside += to - from
				clear(b.Wh[from:to])
			}
		}
		at = end
	}
	if inside > 0 && !r.bad {
		r.someValues(b.Wh[lo:hi], before, inside, all, format&blockDeltas != 0)
	}
	if r.bad {
		return fmt.Errorf("block of %d bytes: %w", len(p), ErrCorrupt)
	}
	return nil
}

// someValues reads the values behind the first skip of all, into those of wh that are not cim.NoValue.
func (r *reader) someValues(wh []uint32, skip, inside, all int, deltas bool) {
	factor, low := r.uvarint(), r.uvarint()
	if factor == 0 || factor > noValue || low > noValue {
		r.bad = true
		return
	}
	limit := (noValue - 1) / factor
	var buf [group]uint64
	prev := int64(low)
	for at := 0; inside > 0; {
		size := min(group, all)
		all -= size
		if !deltas && skip >= size {
			skip -= size
			r.skipBits(size)
			continue
		}
		vs := r.bits(buf[:size])
		if r.bad {
			return
		}
		for _, u := range vs {
			v := int64(low) + int64(u)
			if deltas {
				prev += unzig(u)
				v = prev
			}
			if skip > 0 {
				skip--
				continue
			}
			if inside == 0 {
				return
			}
			if uint64(v) > limit { // as it is below 0
				r.bad = true
				return
			}
			for wh[at] == cim.NoValue {
				at++
			}
			wh[at] = uint32(uint64(v) * factor)
			at++
			inside--
		}
	}
}

// skipBits passes over n integers that appendBits packed.
func (r *reader) skipBits(n int) {
	w := int(r.byte())
	need := (w*n + 7) / 8
	if r.bad || w > 40 || len(r.p) < need {
		r.bad = true
		return
	}
	r.p = r.p[need:]
}
