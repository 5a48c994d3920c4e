package mdms

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxDeadlines is how many deadlines the service-level clock has at most: a bit each of an arrival, and one for not known.
const maxDeadlines = 7

// ErrDeadline is returned for a deadline that is none.
var ErrDeadline = errors.New("no deadline")

// Deadline is the time by which an interval should have arrived at the centre: a while after its end or, if it has a zone, a
// time of the day after the one in which it ended, both in that zone. An interval that ends at midnight belongs to the day before.
type Deadline struct {
	After time.Duration  // after the end, or after 00:00 on the clocks of the next day in Zone
	Zone  *time.Location // nil: after the interval's end
}

// longestDeadline is shorter than what a meter keeps: what is missing then can still come.
const longestDeadline = 30 * 24 * time.Hour

// DefaultDeadlines are 30 minutes, 06:00 UTC of the next day, a day and three days.
func DefaultDeadlines() []Deadline {
	return []Deadline{{After: 30 * time.Minute}, {After: 6 * time.Hour, Zone: time.UTC}, {After: 24 * time.Hour}, {After: 72 * time.Hour}}
}

// ParseDeadline reads a deadline as String writes it: 30m, 36h, 3d, 06:00@Europe/Zurich; without a zone a time of day is in UTC.
func ParseDeadline(s string) (Deadline, error) {
	bad := func(why string) (Deadline, error) {
		return Deadline{}, fmt.Errorf("%w: %.60q: %s; want such as 30m, 3d or 06:00@Europe/Zurich", ErrDeadline, s, why)
	}
	word, zone, zoned := strings.Cut(s, "@")
	if strings.Contains(word, ":") {
		t, err := time.Parse("15:04", word)
		if err != nil {
			return bad("it is no time of a day")
		}
		if zone == "" {
			zone = "UTC"
		}
		loc, err := time.LoadLocation(zone)
		if err != nil || zone == "Local" { // which would be another one on another machine
			return bad("there is no such time zone")
		}
		return Deadline{After: time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, Zone: loc}, nil
	}
	if zoned {
		return bad("only a time of a day has a zone")
	}
	var d Deadline
	if days, ok := strings.CutSuffix(word, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 8)
		if err != nil {
			return bad("it is no number of days")
		}
		d.After = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if d.After, err = time.ParseDuration(word); err != nil {
			return bad("it is no duration")
		}
	}
	if err := d.check(); err != nil {
		return bad(err.Error())
	}
	return d, nil
}

func (d Deadline) check() error {
	switch {
	case d.Zone != nil && (d.After < 0 || d.After >= 24*time.Hour || d.After%time.Minute != 0):
		return fmt.Errorf("%w: want 00:00 to 23:59", ErrDeadline)
	case d.Zone == nil && (d.After < time.Second || d.After > longestDeadline || d.After%time.Second != 0):
		return fmt.Errorf("%w: want whole seconds, at most %d days", ErrDeadline, longestDeadline/(24*time.Hour))
	}
	return nil
}

// String is what the deadline's counts are kept and shown by.
func (d Deadline) String() string {
	const day = 24 * time.Hour
	switch {
	case d.Zone != nil:
		return fmt.Sprintf("%02d:%02d@%s", d.After/time.Hour, d.After%time.Hour/time.Minute, d.Zone)
	case d.After%day == 0:
		return fmt.Sprintf("%dd", d.After/day)
	}
	s := d.After.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// passed is the time up to which intervals must have ended for the deadline of each of them to be over at now.
func (d Deadline) passed(now uint32) uint32 {
	if d.Zone == nil {
		return now - min(now, uint32(d.After/time.Second))
	}
	y, month, day := unix(now).In(d.Zone).Date()
	if d.on(y, month, day) >= int64(now)+1 {
		day--
	}
	t := time.Date(y, month, day, 0, 0, 0, 0, d.Zone)
	if t.Hour() > 12 { // there is no 00:00 on that day, and this is before it
		t = t.Add(time.Hour)
	}
	if first := t.Add(-time.Hour); first.Day() == t.Day() { // it is there twice
		t = first
	}
	return uint32(max(t.Unix(), 0))
}

// on is the deadline's time on a day in its zone, or an hour later where the clocks skip it.
func (d Deadline) on(y int, month time.Month, day int) int64 {
	t := time.Date(y, month, day, int(d.After/time.Hour), int(d.After%time.Hour/time.Minute), 0, 0, d.Zone)
	if t.Day() != time.Date(y, month, day, 12, 0, 0, 0, time.UTC).Day() {
		t = t.Add(time.Hour)
	}
	return t.Unix()
}

// due finds deadlines of intervals. It remembers the last day, since the next question is mostly about the same one.
type due struct {
	Deadline
	name   string
	lo, hi int64 // the moments of this span have the same deadline
	at     int64
}

// by is the deadline of an interval that ends at end.
func (d *due) by(end uint32) int64 {
	if d.Zone == nil {
		return int64(end) + int64(d.After/time.Second)
	}
	last := int64(end) - 1
	if last >= d.lo && last < d.hi {
		return d.at
	}
	y, month, day := time.Unix(last, 0).In(d.Zone).Date()
	d.at = d.on(y, month, day+1)
	// Clocks are changed near midnight in some places: only what is far from it is sure to lie on that day.
	d.lo, d.hi = time.Date(y, month, day, 3, 0, 0, 0, d.Zone).Unix(), time.Date(y, month, day, 21, 0, 0, 0, d.Zone).Unix()
	if last < d.lo || last >= d.hi {
		d.lo, d.hi = last, last+1
	}
	return d.at
}

// CheckDeadlines checks a whole list: each a deadline, none twice, not too many.
func CheckDeadlines(ds []Deadline) error {
	if len(ds) > maxDeadlines {
		return fmt.Errorf("mdms: %d deadlines, want at most %d", len(ds), maxDeadlines)
	}
	seen := map[string]bool{}
	for _, d := range ds {
		if err := d.check(); err != nil {
			return fmt.Errorf("mdms: deadline %v: %w", d, err)
		}
		if seen[d.String()] {
			return fmt.Errorf("mdms: deadline %v: %w: it stands there twice", d, ErrDeadline)
		}
		seen[d.String()] = true
	}
	return nil
}
