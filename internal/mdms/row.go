package mdms

import (
	"math"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// dayRow is one UTC day of one series in RAM: 11 bytes a slot, so 540 for 48 half hours, for as long as the day is not
// sealed in a block.
//
//	boundary  0       1       2             n
//	          |-------|-------|---- … ------|
//	cell      0   1       2             n
//
// Cell i holds the interval between the boundaries i-1 and i and the register at boundary i; cell 0 holds a register only.
// An interval may be longer than a slot, on days on which a meter's intervals change their length: all cells of it but the
// last one are joined (cim.Joined), and hold nothing.
//
//	boundary  0       1       2       3       4
//	          |-------|---------------|-------|
//	cell      0   1    2 joined   3       4
type dayRow struct {
	// Questions about all meters look at this line of memory alone.
	day    cim.Day
	length uint16 // minutes of a slot
	first  uint16 // slots before this one are not expected
	last   uint16 // nor are those from this one on
	want   uint16 // intervals that are expected
	have   uint16 // of these, with a value
	cells  []cell
	marks  []mark

	s         *series
	version   uint32 // of its newest block, 0: none
	ref       uint64 // registers are kept as differences to this one
	hasRef    bool
	block     bool    // changes are written as a new version of a block, not as rows of a chunk
	dirty     bool    // stands in ledger.dirty
	waits     bool    // stands in ledger.waiting
	closing   bool    // is to be sealed as it is, with its gaps
	chunked   bool    // counted in tally.open: some of it lies in chunks
	lost      bool    // given up: written even without a value
	came      arrival // of all values, while arrivals is nil: nearly all rows have only values that came in time
	arrivals  []arrival
	near      []uint16     // see seenAt
	far       []uint32     // the same, where some came much later
	told      []toldAt     // see toldSeen
	page      *sheetPage   // that shows it; nil: none does
	regridded bool         // its slots have another length than in the chunks so far
	drafted   uint32       // when the last draft of it was made
	was       *store.Block // that draft, until it is in the store
}

type cell struct {
	wh  uint32 // cim.NoValue: none
	reg int32  // relative to ref, if markRegister
}

// mark is a quality and what else is known of a cell.
type mark uint8

const (
	markQuality  mark = 0x07
	markRegister mark = 0x08 // cell.reg is set
	markDirty    mark = 0x10 // not in the store yet
	markRefused  mark = 0x20 // counts in steps of this how often the device said that it holds no value; RAM only
	maxRefused        = 3
)

func newRow(s *series, day cim.Day, length uint16) *dayRow {
	n := 1440/int(length) + 1
	r := &dayRow{s: s, day: day, length: length, cells: make([]cell, n), marks: make([]mark, n)}
	for i := range r.cells {
		r.cells[i].wh = cim.NoValue
	}
	r.setFirst()
	return r
}

// setFirst recounts after the series' first or last expected interval changed.
func (r *dayRow) setFirst() {
	r.first = 0
	if start := r.day.Start(); r.s.from > start {
		r.first = uint16(min((r.s.from-start+r.step()-1)/r.step(), uint32(r.slots())))
	}
	r.last = uint16(r.slots())
	if until := r.s.until; until != 0 && until < r.end() {
		r.last = uint16((until - min(until, r.day.Start())) / r.step())
	}
	r.have, r.want = 0, 0
	for i := int(r.first) + 1; i <= int(r.last); i++ {
		if !r.joined(i) {
			r.want++
		}
		if r.cells[i].wh != cim.NoValue {
			r.have++
		}
	}
}

func (r *dayRow) slots() int         { return len(r.cells) - 1 }
func (r *dayRow) step() uint32       { return uint32(r.length) * 60 }
func (r *dayRow) end() uint32        { return r.day.Start() + dayLength }
func (r *dayRow) at(i int) uint32    { return r.day.Start() + uint32(i)*r.step() } // the time of boundary i
func (r *dayRow) joined(i int) bool  { return r.quality(i) == cim.Joined }
func (r *dayRow) start(i int) uint32 { return r.at(r.begin(i)) } // of the interval of cell i
func (r *dayRow) missing() int       { return int(r.want) - int(r.have) }
func (r *dayRow) whole() bool        { return r.have == r.want }
func (r *dayRow) expected(i int) bool {
	return i > int(r.first) && i <= int(r.last) && !r.joined(i)
}

// begin is the boundary at which the interval of cell i begins.
func (r *dayRow) begin(i int) int {
	for i--; i > 0 && r.joined(i); i-- {
	}
	return i
}

// next is the cell of the interval that begins at boundary i; past the last cell if there is none.
func (r *dayRow) next(i int) int {
	for i++; i < len(r.cells) && r.joined(i); i++ {
	}
	return i
}

// boundary returns the number of the boundary at t, if there is one.
func (r *dayRow) boundary(t uint32) (int, bool) {
	if t < r.day.Start() || t > r.end() {
		return 0, false
	}
	off := t - r.day.Start()
	return int(off / r.step()), off%r.step() == 0
}

// cellEnding returns the cell of the interval that ends at t, if there is one; 0 for the day's start.
func (r *dayRow) cellEnding(t uint32) (int, bool) {
	i, ok := r.boundary(t)
	return i, ok && !r.joined(i)
}

func (r *dayRow) register(i int) (uint64, bool) {
	if i < 0 || r.marks[i]&markRegister == 0 {
		return 0, false
	}
	return r.ref + uint64(int64(r.cells[i].reg)), true
}

// setRegister keeps the register at boundary i; false if it is too far from the others of the day to be kept (2 GWh).
func (r *dayRow) setRegister(i int, reg uint64) bool {
	if !r.hasRef {
		r.ref, r.hasRef = reg, true
	}
	d := int64(reg - r.ref)
	if d > math.MaxInt32 || d < math.MinInt32 {
		return false
	}
	r.cells[i].reg = int32(d)
	r.marks[i] |= markRegister
	return true
}

// difference is the value that the registers at both ends give the interval of cell i.
func (r *dayRow) difference(i int) (uint32, bool) {
	if i < 1 || i >= len(r.cells) || r.joined(i) {
		return 0, false
	}
	a, ok := r.register(r.begin(i))
	b, ok2 := r.register(i)
	if !ok || !ok2 || b < a || b-a >= uint64(cim.NoValue) || b-a > record.MaxEnergy(r.at(i)-r.start(i)) {
		return 0, false
	}
	return uint32(b - a), true
}

func (r *dayRow) quality(i int) cim.Quality { return cim.Quality(r.marks[i] & markQuality) }

func (r *dayRow) refused(i int) bool { return r.marks[i]>>5 >= maxRefused }

func (r *dayRow) refuse(i int) {
	if !r.refused(i) {
		r.marks[i] += markRefused
	}
}
