package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wattbus/wattbus/internal/tariff"
)

// checkCalendar checks a tariff calendar and prints a year of it.
func checkCalendar(a *app, file string, quiet bool) error {
	c, err := tariff.Load(file)
	if err != nil {
		if p := new(fs.PathError); errors.As(err, &p) {
			return err
		}
		return &usageError{err: err}
	}
	if quiet {
		return nil
	}
	first := max(tariff.DateOf(time.Now().In(time.UTC).Date()), c.From)
	last := min(first+365, c.To-1)
	if first > last { // it is over
		first, last = max(c.From, c.To-366), c.To-1
	}
	fmt.Fprintf(a.Out, "%s: tariff calendar %s, zone %s, sum %.8x\n\n", file, c.Name, c.Zone.Name(), c.Sum)
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DAYS\tSEASON\tDAY TYPE\tHOLIDAY\tHOURS\tTIMES OF USE")
	// Days that are alike and follow each other within a week are one line.
	type line struct{ season, kind, holiday, hours, times string }
	describe := func(d tariff.Date) line {
		start := c.Zone.Start(d)
		var times []string
		for _, s := range c.Stretches(nil, start, c.Zone.Start(d+1)) {
			times = append(times, c.Zone.Time(s.From).Format("15:04")+" "+c.TOU[s.TOU])
		}
		return line{c.Season(d), c.DayType(d), c.Holiday(d), strings.TrimSuffix(c.Zone.Length(d).String(), "0m0s"), strings.Join(times, ", ")}
	}
	show := func(from, to tariff.Date, l line) {
		days := from.String() + " " + from.Weekday().String()[:3]
		if to > from {
			days += " to " + to.String()[5:] + " " + to.Weekday().String()[:3]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", days, l.season, l.kind, orDash(l.holiday), l.hours, l.times)
	}
	seen := map[line]bool{}
	skipped := 0
	from, now := first, describe(first)
	flush := func(to tariff.Date) {
		if seen[now] {
			skipped++
			return
		}
		seen[now] = true
		show(from, to, now)
	}
	for d := first + 1; d <= last; d++ {
		if next := describe(d); next != now {
			flush(d - 1)
			from, now = d, next
		}
	}
	flush(last)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Out, "\nand %d more groups of days up to %v that are like one of these\n", skipped, last)
	return err
}
