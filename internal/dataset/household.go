package dataset

import (
	"fmt"
	"math"

	"github.com/wattbus/wattbus/internal/topic"
)

// Household is the load curve of one household. Beyond the measured days time tiles: the same days come again, a whole
// number of weeks later, so weekdays stay weekdays and every instant has a value. It is immutable.
//
// The register runs from the day the meter was installed, 20 to 59 tiles before the data (2.7 to 7.9 years for the Swiss
// data, fixed by the household's number), so that registers look like those of meters of different age. Before that day the
// register stands at 0 and so do the values.
type Household struct {
	id     string
	number uint32
	sums   []uint32 // Wh counted from the start of the data up to each slot's start; one more than slots
	start  int64    // of the data, seconds since the epoch
	shift  int64    // seconds that the curve runs ahead of the clock
	tiles  int64    // between the installation and the start of the data
}

func (h *Household) finish(start int64) {
	h.start = start
	h.tiles = 20 + int64(h.number*2654435761>>16)%40 // multiplicative hashing spreads neighbouring numbers
}

// ID is the id of the household's meter: M and its number in the source, such as M1000317.
func (h *Household) ID() string { return h.id }

// Number is the meter's number in the source; copies have that of their original.
func (h *Household) Number() uint32 { return h.number }

// Copy n of a household, for fleets larger than the data: the same curve with another id (M1000317-2 for copy 2) that runs
// n mod 7 weeks and n/7 half hours ahead of the original, so that copies do not rise and fall together. Copy 0 is the
// original. An n below 0 or too large for an id is an error.
func (h *Household) Copy(n int) (*Household, error) {
	if n == 0 {
		return h, nil
	}
	if n < 0 || n > math.MaxInt32 {
		return nil, fmt.Errorf("household %s: copy %d, want 0 to %d", h.id, n, math.MaxInt32)
	}
	c := *h
	c.id = fmt.Sprintf("%s-%d", h.id, n)
	if err := topic.CheckID(c.id); err != nil {
		return nil, fmt.Errorf("household %s: copy %d: %w", h.id, n, err)
	}
	c.shift += int64(n%7)*week + int64(n/7)*Slot
	return &c, nil
}

// Register is the meter's register in Wh at t, seconds since the epoch. Within a slot it grows evenly, rounded down, so it is
// exact at the ends of slots and differences of registers add up whatever the intervals are.
func (h *Household) Register(t int64) uint64 {
	n := int64(len(h.sums) - 1)
	period := n * Slot
	at := t + h.shift - h.start
	tile := floorDiv(at, period)
	if tile < -h.tiles {
		return 0
	}
	at -= tile * period
	slot, within := at/Slot, at%Slot
	before, wh := h.sums[slot], h.sums[slot+1]-h.sums[slot]
	return uint64(tile+h.tiles)*uint64(h.sums[n]) + uint64(before) + uint64(wh)*uint64(within)/Slot
}

// Energy is what was consumed in [from, to), Wh: the difference of the registers; 0 if to is not after from.
func (h *Household) Energy(from, to int64) uint64 {
	if to <= from {
		return 0
	}
	return h.Register(to) - h.Register(from)
}

// Wh is the consumption of the half hour that t lies in; at a slot's start within the measured days that is the number in the
// file.
func (h *Household) Wh(t int64) uint32 {
	start := floorDiv(t, Slot) * Slot
	return uint32(h.Energy(start, start+Slot))
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
