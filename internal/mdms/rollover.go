package mdms

import "github.com/wattbus/wattbus/internal/cim"

// A load profile tells the register at the start of a part; those at the ends of its slots are added up from there. If the meter's own
// began again at 0 meanwhile and the registry does not say how many dials it has, they are too high by what the dials hold,
// until the next one that the meter tells:
//
//	told              999.7                                             0.7
//	added up                   999.9   1000.1   1000.3   1000.5
//	then put right                        0.1      0.3      0.5         0.7

// rolled reports whether a register was added up over a roll-over: it is then higher than the one that was told by what the meter's dials
// hold, from one digit of kWh on.
func rolled(reckoned, told uint64) bool {
	for span := uint64(10_000); span <= 1e15 && told+span <= reckoned; span *= 10 {
		if reckoned == told+span {
			return true
		}
	}
	return false
}

// reckoned enters a register that was added up, and returns the one from which to go on: that which the meter told, if it began again
// at 0 since the start of the part.
func (l *ledger) reckoned(r *dayRow, i int, register uint64) (uint64, error) {
	told, known := r.register(i)
	l.boundary(r, i, register, cim.Recovered, false)
	if !known || !rolled(register, told) {
		return register, nil
	}
	return told, l.unroll(r, i, register)
}

// unroll lowers the registers before boundary i that were added up over a roll-over, as was the one that stood there, back to that. Where
// they do not all follow from each other, or no roll-over is found within a day, it was none.
func (l *ledger) unroll(r *dayRow, i int, had uint64) error {
	type boundary struct {
		r        *dayRow
		i        int
		register uint64
	}
	var wrong []boundary
	s := r.s
	right, _ := r.register(i)
	span := had - right
	for days := 0; ; {
		if i == 0 {
			day := r.day - 1
			if days++; days > 1 || s.find(day) == nil && (!s.sealed(day) || (day+1).Start() <= s.from) {
				return nil
			}
			var err error
			if r, err = l.row(s, day, s.length); err != nil {
				return err
			}
			if i = r.slots(); !r.stands(i, right, span) {
				return nil
			}
			wrong = append(wrong, boundary{r, i, right})
		}
		wh := r.cells[i].wh
		if r.joined(i) || wh == cim.NoValue {
			return nil
		}
		before := r.begin(i)
		if right < uint64(wh) { // it began again in this interval
			if reg, known := r.register(before); !known || reg+uint64(wh) != right+span {
				return nil
			}
			break
		}
		if right -= uint64(wh); !r.stands(before, right, span) {
			return nil
		}
		i = before
		wrong = append(wrong, boundary{r, i, right})
	}
	for _, b := range wrong {
		l.draft(b.r)
		if b.r.setRegister(b.i, b.register) {
			b.r.sawRegister(b.i, l.now)
			b.r.marks[b.i] |= markDirty
			l.touch(b.r)
		}
	}
	return nil
}

// stands reports whether the register at boundary i is too high by span.
func (r *dayRow) stands(i int, right, span uint64) bool {
	reg, known := r.register(i)
	return known && reg == right+span
}
