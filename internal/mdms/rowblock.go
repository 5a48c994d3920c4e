package mdms

import (
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// toBlock makes the next version of the day's block.
func (r *dayRow) toBlock(now uint32) store.Block {
	b := store.Block{Device: r.s.device, Channel: r.s.channel, Day: r.day, Length: r.length, Version: r.version + 1, Recorded: now,
		Missing: uint16(r.missing()), Wh: make([]uint32, r.slots()), Quality: make([]cim.Quality, r.slots())}
	regs := r.reckon()
	b.Register, b.HasReg = regs[0].value, regs[0].known
	for i := range b.Wh {
		b.Wh[i], b.Quality[i] = r.cells[i+1].wh, r.quality(i+1)
		if reg := regs[i+1]; reg.known && !r.follows(regs, i+1) {
			b.Anchors = append(b.Anchors, store.Anchor{At: uint16(i + 1), Register: reg.value})
		}
	}
	if r.version == 0 {
		b.Came = r.arrivalsOf()
	}
	return b
}

// reckoned is a register as far as known.
type reckoned struct {
	value uint64
	known bool
}

// reckon returns the register at every boundary: those that were told, and those that follow from one and the values between.
func (r *dayRow) reckon() []reckoned {
	regs := make([]reckoned, len(r.cells))
	for i := range regs {
		if reg, ok := r.register(i); ok {
			regs[i] = reckoned{reg, true}
			r.rollBack(regs, i)
		} else if i > 0 && !r.joined(i) && r.cells[i].wh != cim.NoValue {
			if before := regs[r.begin(i)]; before.known {
				regs[i] = reckoned{before.value + uint64(r.cells[i].wh), true}
			}
		}
	}
	for i := len(regs) - 1; i > 0; i-- {
		wh := r.cells[i].wh
		if !regs[i].known || wh == cim.NoValue || regs[i].value < uint64(wh) {
			continue
		}
		if before := &regs[r.begin(i)]; !before.known {
			*before = reckoned{regs[i].value - uint64(wh), true}
		}
	}
	return regs
}

// rollBack corrects the registers before boundary i that were reckoned over a roll-over, if the one at i tells so.
func (r *dayRow) rollBack(regs []reckoned, i int) {
	if i == 0 || r.joined(i) || r.cells[i].wh == cim.NoValue {
		return
	}
	before := r.begin(i)
	if !regs[before].known || !rolled(regs[before].value+uint64(r.cells[i].wh), regs[i].value) {
		return
	}
	for {
		wh := r.cells[i].wh
		before := r.begin(i)
		if _, told := r.register(before); told || r.joined(i) || wh == cim.NoValue || regs[i].value < uint64(wh) {
			return
		}
		regs[before].value = regs[i].value - uint64(wh)
		i = before
	}
}

// follows reports whether the register at boundary i is the one before it plus the value between.
func (r *dayRow) follows(regs []reckoned, i int) bool {
	before := regs[r.begin(i)]
	return r.cells[i].wh != cim.NoValue && before.known && before.value+uint64(r.cells[i].wh) == regs[i].value
}

// fromBlock fills a row with a block's values and registers.
func (r *dayRow) fromBlock(b *store.Block) {
	r.version, r.block = b.Version, true
	r.came, r.arrivals = arrivalUnknown, nil
	r.near, r.far, r.told = nil, nil, nil
	for i := range b.Wh {
		r.cells[i+1].wh = b.Wh[i]
		r.marks[i+1] = mark(b.Quality[i]) & markQuality
	}
	reg, known := b.Register, b.HasReg && r.setRegister(0, b.Register)
	anchors := b.Anchors
	for i := 1; i < len(r.cells); i++ {
		if r.joined(i) {
			continue
		}
		if known = known && r.cells[i].wh != cim.NoValue; known {
			reg += uint64(r.cells[i].wh)
		}
		for len(anchors) > 0 && int(anchors[0].At) <= i {
			if int(anchors[0].At) == i {
				reg, known = anchors[0].Register, true
			}
			anchors = anchors[1:]
		}
		if known {
			known = r.setRegister(i, reg)
		}
	}
	r.setFirst()
}
