package mdms

import (
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// bound takes over in which span the registry expects a series: from the installation of its meter to its removal, 0 for an
// end that is not said. What lies outside and is there stays; it counts neither as expected nor as missing.
func (l *ledger) bound(s *series, begin, until uint32) {
	if s.begin == begin && s.until == until {
		return
	}
	for _, r := range s.rows {
		l.draft(r)
		l.recount(r, -1)
	}
	s.begin, s.until = begin, until
	if from := (begin + s.step() - 1) / s.step() * s.step(); s.from != 0 && s.from < from {
		s.from = from
		if s.complete < from {
			s.forget(cim.DayOf(from))
			s.complete = from
		}
	}
	s.lost = slices.DeleteFunc(s.lost, func(d lostDay) bool {
		return (d.day+1).Start() <= s.from || until != 0 && d.day.Start() >= until
	})
	for _, r := range s.rows {
		r.setFirst()
		l.recount(r, 1)
		l.touch(r)
	}
	l.showAll(s)
	s.advance()
}

// forget moves what is known of sealed days to another first day, which lies later.
func (s *series) forget(base cim.Day) {
	if by := base - s.base(); by < 64 {
		s.whole >>= by
	} else {
		s.whole = 0
	}
}
