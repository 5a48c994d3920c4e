package meter

import (
	"math"
	"sort"
)

// Source is a load curve: the cumulative energy in Wh that the installation would have taken up to t, seconds since the
// epoch by the meter's clock, were it never cut off. It must be a pure function that never falls; it is called from many
// goroutines.
type Source interface {
	Register(t int64) uint64
}

// forever ends the cut that has not ended yet.
const forever = math.MaxUint32

// Cut is a span [From, To) in which nothing was consumed: the breaker was open or the power was gone. Times are the meter's
// clock; To is 1<<32-1 for the span that goes on.
type Cut struct {
	From, To uint32
}

// curve gives registers: the source less the energy that lies in cuts. Cuts are in order and do not touch.
type curve struct {
	source [2]Source // import, export; export may be nil
	base   [2]uint64 // Wh in cuts that were forgotten
	cuts   []Cut
	sums   [][2]uint64 // Wh in base and in the cuts before each one
}

// load takes over the state's cuts.
func (c *curve) load(base [2]uint64, cuts []Cut) {
	c.base, c.cuts, c.sums = base, cuts, c.sums[:0]
	sum := base
	for _, cut := range cuts {
		c.sums = append(c.sums, sum)
		if cut.To != forever {
			for ch := range sum {
				sum[ch] += c.energy(ch, cut.From, cut.To)
			}
		}
	}
}

func (c *curve) energy(ch int, from, to uint32) uint64 {
	if c.source[ch] == nil || to <= from {
		return 0
	}
	return c.source[ch].Register(int64(to)) - c.source[ch].Register(int64(from))
}

// register is the register of a channel (0 import, 1 export) at t, Wh.
func (c *curve) register(ch int, t uint32) uint64 {
	if c.source[ch] == nil {
		return 0
	}
	skipped := c.base[ch]
	if i := sort.Search(len(c.cuts), func(i int) bool { return c.cuts[i].From >= t }) - 1; i >= 0 {
		skipped = c.sums[i][ch] + c.energy(ch, c.cuts[i].From, min(c.cuts[i].To, t))
	}
	all := c.source[ch].Register(int64(t))
	return all - min(all, skipped) // below only before what is remembered
}

// interval is the energy in [from, to), Wh, as the profile holds it.
func (c *curve) interval(ch int, from, to uint32) uint32 {
	return uint32(min(c.register(ch, to)-c.register(ch, from), math.MaxUint32-1))
}

// running reports whether a cut goes on.
func (c *curve) running() bool {
	return len(c.cuts) > 0 && c.cuts[len(c.cuts)-1].To == forever
}

// edge is the earliest time at which a new cut may begin.
func (c *curve) edge() uint32 {
	if len(c.cuts) == 0 {
		return 0
	}
	return c.cuts[len(c.cuts)-1].To
}

// begin starts a cut at t. A cut that ended at that very second goes on.
func (c *curve) begin(t uint32) {
	if c.running() {
		return
	}
	if n := len(c.cuts); n > 0 && c.cuts[n-1].To >= t {
		c.cuts[n-1].To = forever
		return
	}
	sum := c.base
	if n := len(c.cuts); n > 0 {
		last := c.cuts[n-1]
		for ch := range sum {
			sum[ch] = c.sums[n-1][ch] + c.energy(ch, last.From, last.To)
		}
	}
	c.cuts = append(c.cuts, Cut{From: t, To: forever})
	c.sums = append(c.sums, sum)
}

// end ends the running cut at t; a cut of no length is none.
func (c *curve) end(t uint32) {
	if !c.running() {
		return
	}
	last := &c.cuts[len(c.cuts)-1]
	last.To = max(t, last.From)
	if last.To == last.From {
		c.cuts = c.cuts[:len(c.cuts)-1]
		c.sums = c.sums[:len(c.sums)-1]
	}
}

// forget folds the ended cuts before t into base, and the oldest ones until at most limit are left. It returns the end of the
// last one that was folded, 0 for none: registers before that time are no longer known.
func (c *curve) forget(t uint32, limit int) uint32 {
	n := 0
	for n < len(c.cuts) && c.cuts[n].To != forever && (c.cuts[n].To <= t || len(c.cuts)-n > limit) {
		n++
	}
	if n == 0 {
		return 0
	}
	folded := c.cuts[n-1].To
	base := c.sums[n-1]
	for ch := range base {
		base[ch] += c.energy(ch, c.cuts[n-1].From, folded)
	}
	c.load(base, append([]Cut(nil), c.cuts[n:]...))
	return folded
}
