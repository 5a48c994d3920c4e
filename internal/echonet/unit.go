package echonet

import (
	"fmt"
	"math/bits"

	"github.com/wattbus/wattbus/internal/format"
)

// Unit is E1, the unit of all counts.
type Unit byte

// tenths is the unit in 0.1 Wh, 0 for one that there is not.
func (u Unit) tenths() uint64 {
	switch u {
	case 0x00:
		return 10_000 // 1 kWh
	case 0x01:
		return 1_000
	case 0x02:
		return 100
	case 0x03:
		return 10
	case 0x04:
		return 1 // 0.0001 kWh
	case 0x0A:
		return 100_000
	case 0x0B:
		return 1_000_000
	case 0x0C:
		return 10_000_000
	case 0x0D:
		return 100_000_000
	}
	return 0
}

// ParseUnit reads a unit in kWh as people write it: 1, 0.1, 0.01, 0.001, 0.0001, 10, 100, 1000 or 10000.
func ParseUnit(s string) (Unit, error) {
	for _, u := range []Unit{0, 1, 2, 3, 4, 0x0A, 0x0B, 0x0C, 0x0D} {
		if u.String() == s {
			return u, nil
		}
	}
	return 0, fmt.Errorf("unit %q kWh, want 1, 0.1, 0.01, 0.001, 0.0001, 10, 100, 1000 or 10000: %w", s, format.ErrValue)
}

// String is the unit in kWh.
func (u Unit) String() string {
	switch t := u.tenths(); {
	case t == 0:
		return fmt.Sprintf("0x%02x", byte(u))
	case t >= 10_000:
		return fmt.Sprint(t / 10_000)
	default:
		return "0." + fmt.Sprintf("%04d", t)[:5-len(fmt.Sprint(t))]
	}
}

// Scale is what makes energy of counts: coefficient (D3), unit (E1) and, for differences over a rollover, digits (D7).
type Scale struct {
	Coefficient uint32 // 0 where the meter told none, which means 1
	Unit        Unit
	HasUnit     bool
	Digits      uint8 // 1 to 8; 0 where the meter told none
}

// Tenths is the energy of a count in 0.1 Wh, exactly. ok is false where that needs more than 64 bits.
func (s Scale) Tenths(c Count) (e uint64, ok bool) {
	k := uint64(max(s.Coefficient, 1)) * s.Unit.tenths() // below 10^6 × 10^8
	hi, lo := bits.Mul64(uint64(c), k)
	return lo, hi == 0
}

// Difference is how many counts passed between two registers, over a rollover too where the digits are known. ok is false
// where the register fell otherwise.
func (s Scale) Difference(from, to Count) (n Count, ok bool) {
	switch {
	case to >= from:
		return to - from, true
	case s.Digits == 0 || s.Digits > 8:
		return 0, false
	}
	roll := Count(1)
	for range s.Digits {
		roll *= 10
	}
	// Plausible only if small: a tenth of what the register holds.
	if from >= roll || to+roll-from > roll/10 {
		return 0, false
	}
	return to + roll - from, true
}
