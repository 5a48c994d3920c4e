package format

import (
	"fmt"
	"time"
)

// Zone reads the time zone of a declaration: an offset such as +09:00, or a name such as Europe/Zurich. Local is none: it would be
// another one on every machine.
func Zone(s string) (*time.Location, error) {
	if t, err := time.Parse("-07:00", s); err == nil {
		_, off := t.Zone()
		return time.FixedZone(s, off), nil
	}
	loc, err := time.LoadLocation(s)
	if err != nil || s == "Local" {
		return nil, fmt.Errorf("%q, want an offset such as +09:00, or a name such as Europe/Zurich", s)
	}
	return loc, nil
}

// Local is the moment of a local time, in seconds since the epoch: its first pass, and the second where it comes twice, when clocks are put back. ok
// is false where there is no such time: on no such day, or within the hour that is left out when clocks are put forward.
func Local(year, month, day, hour, minute, second int, zone *time.Location) (first, again int64, ok bool) {
	asUTC := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if asUTC.Day() != day {
		return 0, 0, false
	}
	ahead := func(unix int64) int64 {
		_, seconds := time.Unix(unix, 0).In(zone).Zone()
		return int64(seconds)
	}
	const day24 = 86400 // clocks are not changed twice in two days, and no zone is further from UTC
	t := asUTC.Unix()
	before, after := ahead(t-day24), ahead(t+day24)
	first, again = t-before, t-after
	if before == after {
		return first, again, true
	}
	if ahead(first) != before { // it is after the change
		first = again
	}
	if ahead(again) != after {
		again = first
	}
	return first, again, ahead(first) == t-first
}
