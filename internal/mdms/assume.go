package mdms

import "github.com/wattbus/wattbus/internal/cim"

// A meter says in its registration how long its intervals are. What comes before the first one has to be laid out on some length: that
// of every meter that has said nothing, and a shorter one as soon as a reading ends no such interval. Both are guesses; when the meter
// registers, its days that are not sealed are laid out anew, from the registers that it told:
//
//	told              0:00          0:20          0:40          1:00
//	guessed           |--0:10--|--?--|--?--|--?--|--?--|--?--|         of 10 minutes
//	registered        |-----0:20----|-----0:40----|-----1:00----|

// leastGuess is the shortest length that is guessed, minutes. Of shorter intervals those that end none of these are fetched from the
// meter once it has registered: a meter that tells any minute should not take 1,440 slots a day.
const leastGuess = 5

// guessLength shortens the intervals of a meter that has not said how long they are for a reading at t.
func (m *MDMS) guessLength(d *device, t uint32) {
	if d.registered() || t%60 != 0 || t%d.imp.step() == 0 {
		return
	}
	if g := gcd(d.imp.length, uint16(t/60%1440)); g >= leastGuess {
		d.Interval = g
		m.assumeLength(d)
	}
}

// assumeLength gives the meter's accounts the length of its intervals as one that they had all along.
func (m *MDMS) assumeLength(d *device) {
	if d.imp.length == d.length() {
		return
	}
	d.each(func(s *series) { m.ledger.assume(s, d.length()) })
	m.markDirty(d)
}

// assume gives the series intervals of a length that they had all along, on all days that are not sealed.
func (l *ledger) assume(s *series, length uint16) {
	old := s.length
	s.length = length
	back, changed := s.base(), false
	for _, r := range s.rows {
		if r.block {
			continue
		}
		l.draft(r)
		l.recount(r, -1)
		if !l.retell(r, length) {
			r.regrid(old, length, r.day.Start(), l.now)
		}
		l.recount(r, 1)
		l.touch(r)
		back, changed = min(back, r.day), true
	}
	l.showAll(s)
	if changed {
		s.reopen(back)
		s.advance()
	}
}

// settle lays a day out anew that was written before it was expected, while the length of the meter's intervals was guessed otherwise.
func (l *ledger) settle(r *dayRow) {
	if r.s.guessed && r.length != r.s.length && !l.retell(r, r.s.length) {
		r.regrid(r.length, r.s.length, r.day.Start(), l.now)
	}
}

// retell lays the registers of a row out on slots of another length. It does nothing and returns false where some of what the row
// knows does not follow from registers.
func (l *ledger) retell(r *dayRow, length uint16) bool {
	for i, c := range r.cells {
		if c.wh == cim.NoValue {
			continue
		}
		if wh, ok := r.difference(i); !ok || wh != c.wh {
			return false
		}
	}
	n := newRow(r.s, r.day, length)
	for i := range r.cells {
		reg, known := r.register(i)
		if j, there := n.boundary(r.at(i)); known && there && n.setRegister(j, reg) {
			n.sawRegister(j, r.toldSeen(i))
			n.marks[j] |= markDirty
		}
	}
	for j := range n.cells {
		if wh, ok := n.difference(j); ok {
			at := max(n.toldSeen(j-1), n.toldSeen(j))
			n.sawValue(j, at)
			if r.block {
				n.setArrived(j, arrivalUnknown)
			} else {
				n.setArrived(j, l.arrival(n.at(j), at))
			}
			n.cells[j].wh = wh
			n.marks[j] |= mark(cim.Raw)
		}
	}
	n.marks[n.slots()] |= markDirty // so that a row of the new length is written, whatever is known
	n.setFirst()
	n.dirty, n.chunked, n.lost, n.drafted, n.was, n.regridded = r.dirty, r.chunked, r.lost, r.drafted, r.was, true
	n.block, n.version, n.waits, n.closing, n.page = r.block, r.version, r.waits, r.closing, r.page
	*r = *n
	return true
}

// reopen moves complete back to the beginning of a day that may lack intervals again.
func (s *series) reopen(day cim.Day) {
	if base := s.base(); day < base {
		if by := base - day; by < 64 {
			s.whole <<= by
		} else {
			s.whole = 0
		}
		for d := day; d < base && d < day+64; d++ {
			if r := s.find(d); r == nil || r.block {
				s.whole |= 1 << (d - day)
			}
		}
	}
	s.complete = max(s.from, day.Start())
}
