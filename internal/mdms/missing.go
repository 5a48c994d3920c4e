package mdms

import "github.com/wattbus/wattbus/internal/cim"

// mergeSlots is how many known slots a request asks for again rather than becoming two: one part of a profile.
const mergeSlots = 12

// finished is the end of the last expected interval that has ended at now.
func (s *series) finished(now uint32) uint32 {
	if s.until != 0 {
		now = min(now, s.until)
	}
	return now / s.step() * s.step()
}

// eachMissing calls f for every day on which intervals before until are expected and not there, given up ones included.
func (s *series) eachMissing(until uint32, f func(day cim.Day, missing int)) {
	for _, d := range s.lost {
		if d.day.Start() < until {
			f(d.day, int(d.missing))
		}
	}
	if s.from == 0 {
		return
	}
	s.walk(s.complete, until, func(lo, hi uint32, r *dayRow) bool {
		day, n := cim.DayOf(lo), 0
		switch {
		case r == nil:
			n = int((hi - lo) / s.step())
		case lo == day.Start() && hi == r.end():
			n = r.missing()
		default:
			for i := int(r.first) + 1; i < len(r.cells); i++ {
				if r.cells[i].wh == cim.NoValue && !r.joined(i) && r.start(i) >= lo && r.at(i) <= hi {
					n++
				}
			}
		}
		if n > 0 {
			f(day, n)
		}
		return true
	})
}

// walk calls f with the part of each day in [from, until) that is not sealed, and its row if there is one.
func (s *series) walk(from, until uint32, f func(lo, hi uint32, r *dayRow) bool) {
	from = max(from, s.complete)
	base := s.base()
	for d := cim.DayOf(from); d.Start() < until; d++ {
		if i := d - base; i < 64 && s.whole&(1<<i) != 0 {
			continue
		}
		lo, hi := max(d.Start(), from), min(d.Start()+dayLength, until)
		if lo < hi && !f(lo, hi, s.find(d)) {
			return
		}
	}
}

// missing counts the intervals before until that are expected and not there.
func (s *series) missing(until uint32) (n int) {
	if s.complete >= until && len(s.lost) == 0 {
		return 0
	}
	s.eachMissing(until, func(_ cim.Day, m int) { n += m })
	return n
}

// gap returns the first span, of at most span seconds, that has missing intervals worth asking for before until, and how
// many. Near ones are put together, also with known ones between.
func (s *series) gap(until, span uint32) (from, to uint32, n int) { return s.gapFrom(0, until, span) }

// gapFrom is gap of what begins at the time after or later.
func (s *series) gapFrom(after, until, span uint32) (from, to uint32, n int) {
	if s.from == 0 || s.complete >= until {
		return 0, 0, 0
	}
	merge := mergeSlots * s.step()
	add := func(lo, hi uint32) bool {
		if from == to {
			from, to = lo, lo
		}
		if lo-to > merge || lo >= from+span {
			return false
		}
		to = min(hi, from+span)
		return hi == to
	}
	start := max(s.complete, (max(s.oldest, after)+s.step()-1)/s.step()*s.step())
	s.walk(start, until, func(lo, hi uint32, r *dayRow) bool {
		if r == nil {
			before := to
			more := add(lo, hi)
			if to > lo && to > before {
				n += int((to - lo) / s.step())
			}
			return more
		}
		for i := int(r.first) + 1; i < len(r.cells); i++ {
			if r.cells[i].wh != cim.NoValue || r.joined(i) || r.refused(i) || r.start(i) < lo || r.at(i) > hi {
				continue
			}
			if !add(r.start(i), r.at(i)) {
				return false
			}
			n++
		}
		return true
	})
	return from, to, n
}

// gone counts the intervals of [from, to) that are lost for good. Of a day that was given up all count.
func (s *series) gone(from, to uint32) (n int64) {
	s.holes(to, func(lo, hi uint32, k int64, gone bool) {
		switch {
		case !gone || hi <= from:
		case lo < from && k == int64((hi-lo)/s.step()) && lo >= s.complete:
			n += int64((hi - max(lo, from/s.step()*s.step())) / s.step())
		default:
			n += k
		}
	})
	return n
}
