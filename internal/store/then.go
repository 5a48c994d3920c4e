package store

import "slices"

// Then picks what was known of each day at a time. A backend adds, by ascending day, time of record and version, the newest version
// that was recorded by then or, without one, the first one, and the first draft that was recorded later.
type Then struct {
	known uint32
	f     func(*Block) error
	best  Block // of the day under way, if any
	any   bool
}

// NewThen returns one that calls f with what was known of each day.
func NewThen(known uint32, f func(*Block) error) *Then { return &Then{known: known, f: f} }

// Add takes a block, which stays the caller's.
func (t *Then) Add(b *Block) error {
	if t.any && t.best.Day != b.Day {
		if err := t.Close(); err != nil {
			return err
		}
	}
	after := b.Recorded > t.known
	switch {
	case after && len(b.Came) == 0: // it does not tell what came when
		return nil
	case after && t.any: // the day was sealed by then, or an earlier one tells more
		return nil
	}
	wh, quality := t.best.Wh[:0], t.best.Quality[:0]
	t.best = *b
	t.best.Wh, t.best.Quality = append(wh, b.Wh...), append(quality, b.Quality...)
	t.best.Came, t.best.Anchors = slices.Clone(b.Came), slices.Clone(b.Anchors)
	t.best.After, t.any = after, true
	return nil
}

// Close hands out the last day.
func (t *Then) Close() error {
	if !t.any {
		return nil
	}
	t.any = false
	return t.f(&t.best)
}

// Known reports what of the block's arrivals was known at a time: the values by slot, and the registers by boundary.
func (c *Came) Known(at uint32) (values, registers []bool) {
	values, registers = make([]bool, max(len(c.Value)-1, 0)), make([]bool, len(c.Register))
	for i := range c.Register {
		registers[i] = c.Register[i] != 0 && c.Register[i] <= at
		if i > 0 {
			values[i-1] = c.Value[i] != 0 && c.Value[i] <= at
		}
	}
	return values, registers
}
