package mdms

import (
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/record"
)

// flagsOfInterest are the status flags of a reading that concern its interval.
const flagsOfInterest = record.FlagClockUnsynchronised | record.FlagTamper | record.FlagEstimated

// maxFlagged bounds how many intervals with flags are remembered, some 16 MB; further ones are not.
const maxFlagged = 500_000

// flagged remembers what meters said of intervals until their day is older than what may still be judged. It lies in RAM
// only: what was found is in the findings, and a day that is judged again after a restart is judged without.
type flagged struct {
	of map[dayKey][]slotFlag
	n  int
}

// noteFlags remembers the flags of a reading that ends an interval.
func (m *MDMS) noteFlags(d *device, r record.Reading) {
	day := cim.DayOf(r.Time - 1)
	row := d.imp.find(day)
	i, ok := cellIn(row, r.Time)
	if !ok || i < 1 || m.flags.n >= maxFlagged {
		return
	}
	f := slotFlag{slot: uint16(i - 1)}
	for _, b := range []struct {
		bit  record.Flags
		flag vee.Flag
	}{{record.FlagClockUnsynchronised, vee.FlagClock}, {record.FlagTamper, vee.FlagTamper}, {record.FlagEstimated, vee.FlagEstimate}} {
		if r.Flags&b.bit != 0 {
			f.flag |= b.flag
		}
	}
	k := dayKey{day, d.Ordinal, cim.Import}
	if m.flags.of == nil {
		m.flags.of = map[dayKey][]slotFlag{}
	}
	if len(m.flags.of[k]) < row.slots() {
		m.flags.of[k] = append(m.flags.of[k], f)
		m.flags.n++
	}
}

// takeFlags is what is remembered of a day. It stays remembered: the day may be judged again.
func (m *MDMS) takeFlags(k dayKey) []slotFlag { return m.flags.of[k] }

// forgetFlags lets go of days that are not judged any more.
func (m *MDMS) forgetFlags(today cim.Day) {
	for k, f := range m.flags.of {
		if k.day+giveUpDays < today {
			m.flags.n -= len(f)
			delete(m.flags.of, k)
		}
	}
}
