package tariff

import (
	"slices"
	"time"
	_ "time/tzdata" // the same zones on every machine that has none of its own
)

// Calendar says which time-of-use period holds when. It is not changed once it is read.
type Calendar struct {
	Name    string
	File    string
	Sum     [32]byte // SHA-256 of the file
	Zone    *Zone    // of usage points that have none of their own
	TOU     []string // names; a TOU's number is its index, and one more in a ReadingType code
	Demands []Demand // maxima to find, at least one
	From    Date     // the first day that it is for
	To      Date     // the day behind the last one

	seasons  []season
	holidays []holiday
	dayType  [8]int   // of Sunday to Saturday, and of a holiday
	types    []string // names of day types
	times    [][]span // by season*len(types)+type, ascending, covering the day
}

// Demand is a maximum demand to find.
type Demand struct {
	Name    string
	Window  int64 // seconds
	Sliding bool  // begins with any interval; else at multiples of Window since midnight UTC
}

// holidayType is the index of holidays in Calendar.dayType, behind the days of the week.
const holidayType = 7

type season struct {
	name     string
	from, to int // month*100+day, both inside; from > to goes over the turn of the year
}

func (s season) holds(md int) bool {
	if s.from <= s.to {
		return s.from <= md && md <= s.to
	}
	return md >= s.from || md <= s.to
}

// span is a part of a local day, in seconds of the clock.
type span struct {
	from, to int
	tou      int
	line     int
}

// Stretch is a time during which one TOU holds: [From, To), seconds since the epoch.
type Stretch struct {
	From, To int64
	TOU      int
}

// Covers reports whether the calendar is for the whole of [from, to).
func (c *Calendar) Covers(from, to Date) bool { return from >= c.From && to <= c.To }

// Holiday is the name of the holiday that a date is, "" for none.
func (c *Calendar) Holiday(d Date) string {
	for i := range c.holidays {
		if c.holidays[i].falls(d) {
			return c.holidays[i].name
		}
	}
	return ""
}

// DayType is the name of a date's type of day.
func (c *Calendar) DayType(d Date) string { return c.types[c.typeOf(d)] }

func (c *Calendar) typeOf(d Date) int {
	if c.Holiday(d) != "" {
		return c.dayType[holidayType]
	}
	return c.dayType[d.Weekday()]
}

// Season is the name of a date's season.
func (c *Calendar) Season(d Date) string { return c.seasons[c.seasonOf(d)].name }

func (c *Calendar) seasonOf(d Date) int {
	_, m, day := d.Civil()
	md := int(m)*100 + day
	return slices.IndexFunc(c.seasons, func(s season) bool { return s.holds(md) })
}

// Stretches are the TOUs of [from, to) in a zone, nil for the calendar's own, without a gap; neighbours differ. On a day on
// which clocks change, a time of the day that does not exist takes nothing, and one that exists twice counts twice.
func (c *Calendar) Stretches(z *Zone, from, to int64) []Stretch {
	if z == nil {
		z = c.Zone
	}
	var out []Stretch
	add := func(a, b int64, tou int) {
		if a, b = max(a, from), min(b, to); a >= b {
			return
		}
		if n := len(out); n > 0 && out[n-1].TOU == tou {
			out[n-1].To = b
			return
		}
		out = append(out, Stretch{a, b, tou})
	}
	for d := z.Date(from); ; d++ {
		start, end := z.Start(d), z.Start(d+1)
		if start >= to {
			return out
		}
		times := c.times[c.seasonOf(d)*len(c.types)+c.typeOf(d)]
		for at := start; at < end; {
			off, until := z.piece(at)
			until = min(until, end)
			clock := (at + off) - floorDiv(at+off, 86400)*86400
			// Within a piece the clock runs evenly; it passes midnight only where the change of the clocks made the date fall back.
			for at < until {
				i := slices.IndexFunc(times, func(s span) bool { return int64(s.to) > clock })
				step := min(int64(times[i].to)-clock, until-at)
				add(at, at+step, times[i].tou)
				at += step
				clock = (clock + step) % 86400
			}
		}
	}
}

// At is the TOU that holds at an instant.
func (c *Calendar) At(z *Zone, unix int64) int { return c.Stretches(z, unix, unix+1)[0].TOU }

// weekdayNames are the days of a week as they stand in files.
func weekdayNames() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// easter is Easter Sunday of a year of the Gregorian calendar (the anonymous computus).
func easter(year int) Date {
	a, b, c := year%19, year/100, year%100
	d, e := b/4, b%4
	f := (b + 8) / 25
	g := (b - f + 1) / 3
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 22*l) / 451
	n := h + l - 7*m + 114
	return DateOf(year, time.Month(n/31), n%31+1)
}
