package mdms

import (
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/topic"
)

// A meter that the registry says is installed is expected to measure, also if nobody ever heard of it: it gets its account as if it had
// come, and all of it is missing: from its installation on, but no longer before it became known than meters keep. Once it
// registers, it is its own word that counts for the time before it became known.

// unheardPerTurn is how many of them get their accounts in one commit: a registry may bring a million.
const unheardPerTurn = 5000

// heard reports whether a message of the device ever came.
func (d *device) heard() bool { return d.LastSeen != 0 || d.registered() }

// lookForUnheard collects the meters that are installed and have no account, every hour and in parts: an installation may lie ahead.
func (m *MDMS) lookForUnheard() {
	m.unheardAt = m.registry.EachInstalled(m.unheardAt, sweepPart, func(id string) {
		if m.byID[id] == nil && topic.CheckID(id) == nil {
			m.unheard = append(m.unheard, id)
		}
	})
}

// expectUnheard gives some of them their accounts. It reports whether there are more.
func (m *MDMS) expectUnheard(now uint32) (more bool) {
	if hour := now / 3600; hour != m.unheardHour && m.unheardAt == 0 {
		m.unheardHour = hour
		m.unheard, m.unheardAt = m.unheard[:0], 1
	}
	if m.unheardAt != 0 {
		m.lookForUnheard()
	}
	for n := 0; n < unheardPerTurn && len(m.unheard) > 0; {
		id := m.unheard[len(m.unheard)-1]
		m.unheard = m.unheard[:len(m.unheard)-1]
		span := m.registry.Expected(id)
		if m.byID[id] != nil || span.From == 0 || span.From > now || span.Until != 0 && span.Until <= now {
			continue
		}
		n++
		m.markDirty(m.add(cim.EndDevice{Ordinal: uint32(len(m.devices)), Kind: topic.Meter, ID: id, Recorded: m.now}))
	}
	return len(m.unheard) > 0 || m.unheardAt != 0
}

// firstWord takes over how far back a meter reaches that was expected before it was heard.
func (m *MDMS) firstWord(d *device, oldest uint32) {
	s := &d.imp
	from := min(oldest, d.Recorded)
	if s.from == 0 || s.from <= s.begin || from <= s.from {
		return
	}
	before := s.from
	m.ledger.begin(s, from)
	m.judgeArrival(s, before)
	m.noteExpected(d)
}

// begin moves the first expected interval ahead.
func (l *ledger) begin(s *series, from uint32) {
	from = (from + s.step() - 1) / s.step() * s.step()
	for _, r := range s.rows {
		l.recount(r, -1)
	}
	if s.from = from; s.complete < from {
		s.forget(cim.DayOf(from))
		s.complete = from
	}
	s.lost = slices.DeleteFunc(s.lost, func(d lostDay) bool { return (d.day + 1).Start() <= from })
	for _, r := range s.rows {
		r.setFirst()
		l.recount(r, 1)
		l.touch(r)
	}
	l.showAll(s)
	s.advance()
}

// placeUnheard takes over what the registry says of a meter that was never heard.
func (m *MDMS) placeUnheard(d *device, now uint32) {
	s := &d.imp
	switch {
	case d.span.From == 0: // it was a mistake
		s.from, s.complete, s.whole = 0, 0, 0
	case d.span.From <= now:
		from := max(d.span.From, d.Recorded-min(d.Recorded, keepDays*dayLength))
		if err := m.ledger.expect(s, from); err != nil {
			m.log.Warn("a meter that was never heard is not expected", "device", d.ID, "error", err)
		}
	}
}
