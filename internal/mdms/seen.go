package mdms

import (
	"math"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// What a row knows of when its cells came into the books, so that it can tell what was known at any time. It goes into the first
// version of the day's block. A value that changes before that leaves a draft behind: the row as it was.
//
//	draft       draft        version 1        version 2
//	  |-----------|--------------|-----------------|------ … time of record
//	   told by the one that ends it, by when its cells came     what it says

// toldAt is when a register came, where that is not when the value of its cell did.
type toldAt struct {
	cell uint16
	at   uint32
}

// seenAt is when the value of cell i was committed or, where it has none, its register; 0: neither.
func (r *dayRow) seenAt(i int) uint32 {
	switch {
	case r.far != nil:
		return r.far[i]
	case r.near != nil && r.near[i] != 0:
		return r.at(i) + uint32(r.near[i]) - 1
	}
	return 0
}

// setSeen keeps it, for most in two bytes: as seconds behind the interval's end.
func (r *dayRow) setSeen(i int, t uint32) {
	if r.far == nil {
		d := int64(t) - int64(r.at(i))
		if t == 0 {
			d = -1
		}
		if d >= 0 && d < math.MaxUint16 || t == 0 {
			if r.near == nil {
				r.near = make([]uint16, len(r.cells))
			}
			r.near[i] = uint16(d + 1)
			return
		}
		far := make([]uint32, len(r.cells))
		for j := range far {
			far[j] = r.seenAt(j)
		}
		r.far, r.near = far, nil
	}
	r.far[i] = t
}

// toldSeen is when the register of boundary i came; 0 if the meter told none.
func (r *dayRow) toldSeen(i int) uint32 {
	if r.marks[i]&markRegister == 0 {
		return 0
	}
	for _, x := range r.told {
		if int(x.cell) == i {
			return x.at
		}
	}
	return r.seenAt(i)
}

// setTold keeps when a register came, if that is not when the cell's value did.
func (r *dayRow) setTold(i int, t uint32) {
	n := slices.IndexFunc(r.told, func(x toldAt) bool { return int(x.cell) == i })
	switch same := t == 0 || t == r.seenAt(i); {
	case n >= 0 && same:
		r.told = slices.Delete(r.told, n, n+1)
	case n >= 0:
		r.told[n].at = t
	case !same:
		r.told = append(r.told, toldAt{uint16(i), t})
	}
}

// sawValue notes that the value of cell i came at t, sawRegister that its register did.
func (r *dayRow) sawValue(i int, t uint32) {
	told := r.toldSeen(i)
	r.setSeen(i, t)
	r.setTold(i, told)
}

func (r *dayRow) sawRegister(i int, t uint32) {
	if r.cells[i].wh == cim.NoValue {
		r.setSeen(i, t)
	}
	r.setTold(i, t)
}

// dated reports whether the row tells when its cells came.
func (r *dayRow) dated() bool { return r.near != nil || r.far != nil }

// copySeen makes what the row knows of times its own.
func (r *dayRow) copySeen() {
	r.near, r.far, r.told = slices.Clone(r.near), slices.Clone(r.far), slices.Clone(r.told)
}

// arrivalsOf packs them for a block.
func (r *dayRow) arrivalsOf() []byte {
	if !r.dated() {
		return nil
	}
	c := store.Came{Value: make([]uint32, len(r.cells)), Register: make([]uint32, len(r.cells))}
	for i := range r.cells {
		c.Value[i], c.Register[i] = r.seenAt(i), r.toldSeen(i)
	}
	return store.PackCame(&c, r.day.Start(), r.step())
}

// then makes the row what it was at a time: without what came later. It reports whether something is left.
func (r *dayRow) then(t uint32) (left bool) {
	for i := range r.cells {
		told := r.toldSeen(i)
		if at := r.seenAt(i); r.cells[i].wh != cim.NoValue && (at == 0 || at > t) {
			r.cells[i].wh = cim.NoValue
			if !r.joined(i) {
				r.marks[i] &^= markQuality
			}
		}
		if told == 0 || told > t {
			r.marks[i] &^= markRegister
		}
		left = left || r.cells[i].wh != cim.NoValue || r.marks[i]&markRegister != 0
	}
	r.version, r.block, r.dirty = 0, false, false
	return left
}

// fromLater fills a row with what a block or draft that was made later tells of a time.
func (r *dayRow) fromLater(b *store.Block, t uint32) (left bool, err error) {
	c, err := b.UnpackCame()
	if err != nil || c == nil {
		return false, err
	}
	r.fromBlock(b)
	r.first, r.last = expectedOf(b)
	r.far, r.near, r.told = c.Value, nil, nil
	for i, at := range c.Register {
		switch {
		case at == 0:
			r.marks[i] &^= markRegister
		case r.marks[i]&markRegister != 0:
			r.setTold(i, at)
		}
	}
	return r.then(t), nil
}

// expectedOf is which slots of a block were expected when it was made: those from first on, before last.
func expectedOf(b *store.Block) (first, last uint16) {
	n := len(b.Wh)
	none, lead, counting := 0, 0, true
	for i, wh := range b.Wh {
		switch {
		case wh == cim.NoValue && b.Quality[i] != cim.Joined:
			none++
			if counting {
				lead++
			}
		case b.Quality[i] != cim.Joined:
			counting = false
		}
	}
	out := max(none-int(b.Missing), 0)
	lead = min(lead, out)
	return uint16(lead), uint16(n - (out - lead))
}

// draft keeps the row as it is, before something that was committed changes. Of what is sealed versions are kept instead.
func (l *ledger) draft(r *dayRow) {
	if r.block || r.version > 0 || r.drafted == l.now || !r.dated() {
		return
	}
	old := false
	for i := range r.cells {
		at := r.seenAt(i)
		old = old || at != 0 && at < l.now
	}
	if !old {
		return
	}
	b := r.toBlock(l.now)
	b.Version = 0
	r.drafted, r.was = l.now, &b
	l.drafts = append(l.drafts, r)
}

// takeDrafts hands out the drafts since the last commit.
func (l *ledger) takeDrafts(c *store.Commit) {
	for _, r := range l.drafts {
		c.Drafts = append(c.Drafts, *r.was)
	}
	l.committing = append(l.committing, l.drafts...)
	l.drafts = nil
}

// committed lets go of drafts that are in the store.
func (l *ledger) committed() {
	for _, r := range l.committing {
		r.was = nil
	}
	l.committing = l.committing[:0]
}
