package storebench

import (
	"math/rand/v2"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/store"
)

// load is what the meters measure: the days of real households, of which meter m has that of household m mod n.
type load struct {
	set    *dataset.Dataset
	length uint16 // minutes
	first  cim.Day
}

func newLoad(set *dataset.Dataset, length uint16) *load {
	return &load{set: set, length: length, first: cim.DayOf(uint32(set.Start())) + 30} // some way into the data
}

func (l *load) slots() int { return 1440 / int(l.length) }

// curves is a day of every household.
type curves struct {
	day  cim.Day
	wh   [][]uint32
	regs [][]uint64 // at the end of each slot
}

func (l *load) day(day cim.Day) *curves {
	c := &curves{day: day}
	step := int64(l.length) * 60
	for i := range l.set.Len() {
		h := l.set.Household(i)
		wh, regs := make([]uint32, l.slots()), make([]uint64, l.slots())
		for s := range wh {
			at := int64(day.Start()) + int64(s)*step
			wh[s], regs[s] = uint32(h.Energy(at, at+step)), h.Register(at+step)
		}
		c.wh, c.regs = append(c.wh, wh), append(c.regs, regs)
	}
	return c
}

// chunk is what one commit brings: one slot of the meters [from, to).
func (l *load) chunk(c *curves, slot, from, to int) store.Chunk {
	k := store.Chunk{Day: c.day, Recorded: c.day.Start() + 86400, Rows: make([]store.Row, 0, to-from)}
	for m := from; m < to; m++ {
		h := m % len(c.wh)
		k.Rows = append(k.Rows, store.Row{Device: uint32(m), Length: l.length, Quality: cim.Raw, Start: c.day.Start() + uint32(slot)*uint32(l.length)*60,
			Wh: c.wh[h][slot], Register: c.regs[h][slot], HasReg: true})
	}
	return k
}

// came is when the values of meters were committed: each some seconds to a minute behind the end of its interval, which vary by some.
func (l *load) came(day cim.Day) [][]byte {
	r := rand.New(rand.NewPCG(uint64(day), 5))
	out := make([][]byte, 1009)
	for i := range out {
		c := store.Came{Value: make([]uint32, l.slots()+1)}
		for s := range c.Value {
			c.Value[s] = day.Start() + uint32(s)*uint32(l.length)*60 + 5 + uint32(i%50) + r.Uint32N(8)
		}
		c.Register = c.Value
		out[i] = store.PackCame(&c, day.Start(), uint32(l.length)*60)
	}
	return out
}

// blocks seals the day of the meters [from, to), every step-th of them. One in a thousand lacks an interval.
func (l *load) blocks(c *curves, quality []cim.Quality, from, to, step int) []store.Block {
	var out []store.Block
	came := l.came(c.day)
	for m := from; m < to; m += step {
		h := m % len(c.wh)
		b := store.Block{Device: uint32(m), Day: c.day, Length: l.length, Version: 1, Recorded: c.day.Start() + 90000, Register: c.regs[h][0] - uint64(c.wh[h][0]), HasReg: true,
			Wh: c.wh[h], Quality: quality, Came: came[m%len(came)]}
		if m%1000 == 7 {
			b.Wh, b.Quality = append([]uint32(nil), b.Wh...), append([]cim.Quality(nil), quality...)
			b.Wh[9], b.Quality[9], b.Missing = cim.NoValue, cim.Missing, 1
			b.Anchors = []store.Anchor{{At: 10, Register: c.regs[h][9]}}
		}
		out = append(out, b)
	}
	return out
}
