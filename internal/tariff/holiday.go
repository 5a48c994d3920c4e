package tariff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// holiday is one of: a date, a day of each year, a distance from Easter, a weekday of a month or beside a day.
type holiday struct {
	name     string
	rule     func(year int) (Date, bool)
	observed string
}

// The rules for holidays that fall on a weekend.
const (
	observedMonday  = "monday"          // Saturday or Sunday: the Monday behind is a holiday, too
	observedSunday  = "monday-if-sun"   // Sunday only
	observedNearest = "nearest-weekday" // Saturday: the Friday before, Sunday: the Monday behind
)

func (h *holiday) falls(d Date) bool {
	year, _, _ := d.Civil()
	for y := year - 1; y <= year+1; y++ { // Easter's distance and what is observed may pass the turn of the year
		on, ok := h.rule(y)
		if !ok {
			continue
		}
		if on == d || h.moved(on) == d {
			return true
		}
	}
	return false
}

// moved is the day on which a holiday is observed besides its own.
func (h *holiday) moved(on Date) Date {
	switch wd := on.Weekday(); {
	case wd == time.Sunday && h.observed != "":
		return on + 1
	case wd == time.Saturday && h.observed == observedMonday:
		return on + 2
	case wd == time.Saturday && h.observed == observedNearest:
		return on - 1
	}
	return on
}

// dateRule reads YYYY-MM-DD, once, or MM-DD, each year.
func dateRule(s string) (func(int) (Date, bool), error) {
	if d, err := ParseDate(s); err == nil {
		on, _, _ := d.Civil()
		return func(year int) (Date, bool) { return d, year == on }, nil
	}
	m, day, err := monthDay(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no date, want one such as 2026-12-25, or 12-25 for each year", s)
	}
	return func(year int) (Date, bool) {
		d := DateOf(year, m, day)
		_, got, _ := d.Civil()
		return d, got == m // 02-29 is no day of most years
	}, nil
}

func easterRule(s string) (func(int) (Date, bool), error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < -120 || n > 120 {
		return nil, fmt.Errorf("%q is no distance from Easter Sunday, want days such as -2 for Good Friday or 39 for Ascension Day", s)
	}
	return func(year int) (Date, bool) { return easter(year) + Date(n), year > 0 }, nil
}

// weekdayRule reads "1st monday of september", "last monday of may" and "monday on-or-before 05-24".
func weekdayRule(s string) (func(int) (Date, bool), error) {
	wrong := fmt.Errorf("%q is no rule, want one such as \"1st mon of september\", \"last mon of may\", \"mon on-or-before 05-24\" or \"sat on-or-after 06-20\"", s)
	w := strings.Fields(strings.ToLower(s))
	switch {
	case len(w) == 4 && w[2] == "of":
		nth := slices.Index([]string{"last", "1st", "2nd", "3rd", "4th"}, w[0])
		day, month := weekdayOf(w[1]), monthOf(w[3])
		if nth < 0 || day < 0 || month == 0 {
			return nil, wrong
		}
		return func(year int) (Date, bool) {
			if nth == 0 {
				last := DateOf(year, month+1, 1) - 1
				return last - Date((int(last.Weekday())-day+7)%7), true
			}
			first := DateOf(year, month, 1)
			return first + Date((day-int(first.Weekday())+7)%7+7*(nth-1)), true
		}, nil
	case len(w) == 3 && (w[1] == "on-or-before" || w[1] == "on-or-after"):
		day := weekdayOf(w[0])
		m, md, err := monthDay(w[2])
		if day < 0 || err != nil {
			return nil, wrong
		}
		return func(year int) (Date, bool) {
			d := DateOf(year, m, md)
			if w[1] == "on-or-before" {
				return d - Date((int(d.Weekday())-day+7)%7), true
			}
			return d + Date((day-int(d.Weekday())+7)%7), true
		}, nil
	}
	return nil, wrong
}

func weekdayOf(s string) int {
	return slices.IndexFunc(weekdayNames(), func(n string) bool {
		full := strings.ToLower(time.Weekday(slices.Index(weekdayNames(), n)).String())
		return s == n || s == full
	})
}

func monthOf(s string) time.Month {
	for m := time.January; m <= time.December; m++ {
		if full := strings.ToLower(m.String()); s == full || s == full[:3] {
			return m
		}
	}
	return 0
}

// monthDay reads MM-DD; 02-29 is one.
func monthDay(s string) (time.Month, int, error) {
	if len(s) != 5 {
		return 0, 0, fmt.Errorf("%q is no day of the year, want one such as 10-01", s)
	}
	t, err := time.Parse(time.DateOnly, "2024-"+s)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is no day of the year, want one such as 10-01", s)
	}
	return t.Month(), t.Day(), nil
}
