package tariff

import (
	"fmt"
	"time"
)

// Date is a day of the Gregorian calendar, counted from 1970-01-01.
type Date int32

// DateOf is the date of a year, month and day.
func DateOf(year int, month time.Month, day int) Date {
	return Date(floorDiv(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), 86400))
}

// ParseDate reads YYYY-MM-DD.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%q is no date, want one such as 2026-03-29", s)
	}
	return DateOf(t.Date()), nil
}

func (d Date) time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// Civil is the date's year, month and day.
func (d Date) Civil() (int, time.Month, int) { return d.time().Date() }

// Weekday is the date's day of the week.
func (d Date) Weekday() time.Weekday { return d.time().Weekday() }

// String is the date as YYYY-MM-DD.
func (d Date) String() string { return d.time().Format(time.DateOnly) }

// Zone is a time zone, asked for local days.
type Zone struct {
	name string
	loc  *time.Location
}

// UTC is the zone without an offset.
func UTC() *Zone { return &Zone{"UTC", time.UTC} }

// LoadZone finds a zone of the IANA database.
func LoadZone(name string) (*Zone, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is no time zone, want a name such as Europe/Zurich", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone, want a name such as Europe/Zurich", name)
	}
	return &Zone{name, loc}, nil
}

// Name is the zone's name.
func (z *Zone) Name() string { return z.name }

// Time is an instant on the zone's clocks.
func (z *Zone) Time(unix int64) time.Time { return time.Unix(unix, 0).In(z.loc) }

// piece returns the zone's offset at an instant, in seconds east of UTC, and the end of its being in force.
func (z *Zone) piece(unix int64) (offset, until int64) {
	t := time.Unix(unix, 0).In(z.loc)
	_, off := t.Zone()
	_, end := t.ZoneBounds()
	if end.IsZero() {
		return int64(off), 1<<62 - 1
	}
	return int64(off), end.Unix()
}

// Start is the instant at which a local day begins: the first one at which the date is d or later. Where midnight does not
// exist, that is the moment of the change of the clocks; where the day does not exist, the next day's start.
func (z *Zone) Start(d Date) int64 {
	local := int64(d) * 86400
	for at := local - 30*3600; ; {
		off, until := z.piece(at)
		if t := max(at, local-off); t < until {
			return t
		}
		at = until
	}
}

// Date is the local day that an instant belongs to, in the sense of Start.
func (z *Zone) Date(unix int64) Date {
	off, _ := z.piece(unix)
	d := Date(floorDiv(unix+off, 86400))
	// Where clocks are put back over midnight the date falls back, too; the day that has begun goes on.
	for z.Start(d+1) <= unix {
		d++
	}
	return d
}

// Length is how long a local day is.
func (z *Zone) Length(d Date) time.Duration {
	return time.Duration(z.Start(d+1)-z.Start(d)) * time.Second
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
