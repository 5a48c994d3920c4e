package billing

import (
	"sort"

	"github.com/wattbus/wattbus/internal/cim"
)

// Balance is a billing register: what a meter's register showed at an instant.
type Balance struct {
	At        int64
	Meter     string
	Wh        uint64
	Known     bool
	Quality   cim.Quality // of the reading
	Read      int64       // when the register was read that this one follows from; At itself: it was read then
	Estimated bool        // values between Read and At are estimated
	Divided   bool        // At lies within an interval, which was divided evenly
}

// Contradiction is a span of which registers and intervals tell different things.
type Contradiction struct {
	Meter     string
	From, To  int64
	Registers int64 // Wh, the difference of the registers
	Intervals int64 // Wh, the sum of the intervals
	Fell      bool  // the register went down and its meter does not roll over, or not that far; Registers is negative
}

// meterBook answers questions about one meter.
type meterBook struct {
	*Metered
	s *sums
}

// usable are the registers that were read at no moment within an interval: an interval that is divided proves nothing.
func (b *meterBook) usable(i int) bool { return !b.s.divides(b.Registers[i].At) }

// add is a register some energy later, or earlier for a negative one.
func (b *meterBook) add(reg uint64, wh int64) (uint64, bool) {
	out := reg + uint64(wh)
	if b.Modulus > 0 {
		m := int64(b.Modulus)
		return uint64(((int64(reg%b.Modulus)+wh%m)%m + m) % m), true
	}
	return out, wh < 0 == (out < reg) || wh == 0
}

// advance is the energy between two registers. fell: the later one is lower and did not roll over.
func (b *meterBook) advance(from, to uint64) (wh int64, fell bool) {
	d := int64(to - from)
	if d >= 0 {
		return d, false
	}
	// A register that rolled over advanced by less than half of its range; else it was set back.
	if b.Modulus > 0 && from < b.Modulus && to < b.Modulus && uint64(d+int64(b.Modulus)) <= b.Modulus/2 {
		return d + int64(b.Modulus), false
	}
	return d, true
}

// advanced is the energy between the registers at two instants. Where intervals cover the time they say how often the register
// rolled over.
func (b *meterBook) advanced(a, to int64, from, end uint64) (wh int64, fell bool) {
	wh, fell = b.advance(from, end)
	if b.Modulus > 0 {
		if sum, whole := b.s.between(a, to); whole && (sum-wh)%int64(b.Modulus) == 0 {
			return sum, false
		}
	}
	return wh, fell
}

// balance is the register at an instant: read then, else the nearest one read before and the intervals since, else the
// nearest one read behind and the intervals until then.
func (b *meterBook) balance(t int64) Balance {
	out := Balance{At: t, Meter: b.Meter}
	next := sort.Search(len(b.Registers), func(i int) bool { return b.Registers[i].At > t })
	derive := func(i int) bool {
		r := b.Registers[i]
		if r.At == t {
			out.Wh, out.Known, out.Quality, out.Read = r.Wh, true, r.Quality, t
			return true
		}
		lo, hi, sign := r.At, t, int64(1)
		if t < r.At {
			lo, hi, sign = t, r.At, -1
		}
		wh, whole := b.s.between(lo, hi)
		if !whole {
			return false
		}
		reg, ok := b.add(r.Wh, sign*wh)
		if !ok {
			return false
		}
		out.Wh, out.Known, out.Quality, out.Read = reg, true, r.Quality, r.At
		out.Estimated, out.Divided = b.s.estimated(lo, hi), b.s.divides(t)
		return true
	}
	for i := next - 1; i >= 0; i-- {
		if b.Registers[i].At == t || b.usable(i) {
			if derive(i) {
				return out
			}
			break
		}
	}
	for i := next; i < len(b.Registers); i++ {
		if b.usable(i) {
			derive(i)
			break
		}
	}
	return out
}

// contradictions calls f with every span between two registers of [from, to] of which the intervals tell something else, and
// with every register that fell.
func (b *meterBook) contradictions(from, to int64, f func(Contradiction)) {
	last := -1
	for i := range b.Registers {
		r := b.Registers[i]
		if r.At < from || r.At > to || !b.usable(i) {
			continue
		}
		if last >= 0 {
			p := b.Registers[last]
			wh, fell := b.advanced(p.At, r.At, p.Wh, r.Wh)
			sum, whole := b.s.between(p.At, r.At)
			if fell || whole && sum != wh {
				f(Contradiction{Meter: b.Meter, From: p.At, To: r.At, Registers: wh, Intervals: sum, Fell: fell})
			}
		}
		last = i
	}
}
