package tariff

import "time"

// Rules say how a zone's clocks change within a year.
type Rules struct {
	Standard int64 // offset of standard time, seconds east of UTC
	Offset   int64 // what summer time is more; 0: none, or not by rules of this kind
	Start    Rule  // of summer time
	End      Rule
}

// Rule is a change of clocks: the nth day of the week of a month, 5 for the last one, or a date each year.
type Rule struct {
	Month   time.Month // 0: no rule
	Weekday time.Weekday
	Nth     int // 1 to 4, 5: the last; 0: on Day
	Day     int
	Second  int64 // of the day, by the clock that is in force until then
}

// ESPI is the rule as Green Button codes it (DstRuleType); without a rule all bits are set.
func (r Rule) ESPI() uint32 {
	if r.Month == 0 {
		return 0xFFFFFFFF
	}
	out := uint32(r.Month)<<28 | uint32(r.Second/3600)<<12 | uint32(r.Second%3600)
	if r.Nth == 0 {
		return out | uint32(r.Day)<<20
	}
	wd := uint32(r.Weekday)
	if wd == 0 {
		wd = 7 // Monday is 1
	}
	op := uint32(r.Nth) + 1
	if r.Nth == 5 {
		op = 7
	}
	return out | op<<25 | wd<<17
}

// Rules are those of the year that an instant lies in.
func (z *Zone) Rules(unix int64) Rules {
	year := z.Time(unix).Year()
	start, end, std, plus := z.changes(year)
	out := Rules{Standard: std, Offset: plus}
	if plus == 0 {
		return out
	}
	// A rule is what holds in the years to come, too.
	starts, ends := []time.Time{start}, []time.Time{end}
	for y := year + 1; y < year+6; y++ {
		if s, e, _, p := z.changes(y); p == plus {
			starts, ends = append(starts, s), append(ends, e)
		}
	}
	out.Start, out.End = ruleOf(starts), ruleOf(ends)
	return out
}

// changes are the two changes of a year as the clocks show them just when they change; plus is 0 if there are not two.
func (z *Zone) changes(year int) (start, end time.Time, std, plus int64) {
	at := z.Start(DateOf(year, 1, 1))
	last := z.Start(DateOf(year+1, 1, 1))
	off, until := z.piece(at)
	std = off
	n := 0
	for until < last {
		next, after := z.piece(until)
		shown := time.Unix(until+off, 0).UTC()
		if n++; next > off {
			start, plus = shown, next-off
		} else {
			end = shown
		}
		std = min(std, next)
		off, until = next, after
	}
	if n != 2 || start.IsZero() || end.IsZero() {
		off, _ = z.piece(at)
		return start, end, off, 0
	}
	return start, end, std, plus
}

func ruleOf(ts []time.Time) Rule {
	first := ts[0]
	h, m, s := first.Clock()
	r := Rule{Month: first.Month(), Weekday: first.Weekday(), Day: first.Day(), Second: int64(h*3600 + m*60 + s)}
	last, nth := true, (first.Day()-1)/7+1
	for _, t := range ts {
		same := t.Month() == r.Month && t.Weekday() == r.Weekday
		last = last && same && t.AddDate(0, 0, 7).Month() != t.Month()
		if !same || (t.Day()-1)/7+1 != nth {
			nth = 0
		}
	}
	switch {
	case last:
		r.Nth = 5
	case nth < 5:
		r.Nth = nth
	}
	return r
}
