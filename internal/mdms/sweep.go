package mdms

import (
	"time"

	"github.com/wattbus/wattbus/internal/cim"
)

// sweepPart is how many devices a sweep looks at in one turn: a million of them would hold up everything else for a tenth of a second.
const sweepPart = 1 << 14

// sweep is a look at all devices that time asks for, such as at the end of a day. It is divided among turns.
//
//	begin ──> part, part, … ──> none is left
type sweep struct {
	next  int // device
	going bool
}

func (s *sweep) begin() { *s = sweep{going: true} }

// part are the devices to be looked at in this turn, n at most; none if the sweep is not going.
func (s *sweep) part(all []*device, n int) []*device {
	if !s.going {
		return nil
	}
	from := s.next
	s.next = min(from+n, len(all))
	s.going = s.next < len(all)
	return all[from:s.next]
}

// watch does what the time asks for. It returns the wall time of the next verdict.
func (m *MDMS) watch(now uint32) time.Time {
	at := m.hearing.Now()
	next := m.outages.Tick(at)
	m.verify()
	if day := cim.DayOf(now); day != m.today {
		m.today = day
		m.forgetFlags(day)
		m.ledger.newDay(day)
		m.givingUp.begin()
	}
	for _, d := range m.givingUp.part(m.devices, sweepPart) {
		before := d.complete()
		d.each(func(s *series) { m.ledger.giveUp(s, m.today) })
		if d.complete() != before {
			m.markDirty(d)
		}
	}
	more := m.placeSome()
	m.placeHourly(now)
	more = m.expectUnheard(now) || more
	m.lookForGaps(now)
	m.closeGaps(now)
	if more || m.givingUp.going || m.looking.going || m.closing.going || m.replacing.going {
		return time.Now() // at once
	}
	if next.IsZero() || m.o.Clock.Paused() {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(float64(next.Sub(at)) / m.o.Clock.Speed()))
}
