package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/top"
)

// output is the -o flag: a table for people, JSON or CSV for programs.
type output struct {
	format  string
	times   string // the zone they are shown in
	zone    *time.Location
	width   int  // that tables have to fit into; 0: any
	colours bool // of states
}

func (o *output) flag(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "output", "o", "table", "table, wide (a table that need not fit the terminal), json or csv")
}

// timesFlag is for what shows times.
func (o *output) timesFlag(f *pflag.FlagSet) {
	f.StringVar(&o.times, "times", "utc", "zone in which times are shown: utc, local or a name such as Europe/Zurich; JSON has UTC always")
}

// check refuses a form that there is not, and has tables fit the terminal.
func (o *output) check(a *app) error {
	o.width, o.colours = a.columns(), a.colours(a.Out)
	switch o.times {
	case "utc", "":
		o.zone = nil
	case "local":
		o.zone = time.Local
	default:
		zone, err := time.LoadLocation(o.times)
		if err != nil {
			return usagef("flag --times: value %q, want utc, local or the name of a time zone such as Europe/Zurich", o.times)
		}
		o.zone = zone
	}
	switch o.format {
	case "table", "json", "csv":
		return nil
	case "wide":
		o.format, o.width = "table", 0
		return nil
	}
	return usagef("flag --output: value %q, want table, wide, json or csv", o.format)
}

// column is one column of a table: its name and what stands in it.
type column[T any] struct {
	name string
	cell func(T) string
}

// write prints the items: as JSON lines of the API's own shapes, or as the columns.
func write[T any](w io.Writer, o output, items []T, columns []column[T]) error {
	switch o.format {
	case "json":
		enc := json.NewEncoder(w)
		for _, it := range items {
			if err := enc.Encode(it); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		cw := csv.NewWriter(w)
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = c.name
		}
		if err := cw.Write(row); err != nil {
			return err
		}
		for _, it := range items {
			for i, c := range columns {
				row[i] = o.local(c.cell(it))
			}
			if err := cw.Write(row); err != nil {
				return err
			}
		}
		cw.Flush()
		return cw.Error()
	}
	t := &grid{width: o.width, colours: o.colours}
	for _, c := range columns {
		t.names = append(t.names, c.name)
	}
	for _, it := range items {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = orDash(o.local(top.Clean(c.cell(it))))
		}
		t.rows = append(t.rows, cells)
	}
	text := t.text()
	if len(items) == 0 && o.width > 0 { // people look: that nothing is there is said
		text += "(none)\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// utcTimes are times as they stand in tables and texts.
var utcTimes = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

// local tells the times in a text in the zone that is wanted.
func (o *output) local(text string) string {
	if o.zone == nil {
		return text
	}
	return utcTimes.ReplaceAllStringFunc(text, func(s string) string {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return s
		}
		layout := time.RFC3339
		if strings.Contains(s, ".") {
			layout = "2006-01-02T15:04:05.000Z07:00"
		}
		return t.In(o.zone).Format(layout)
	})
}

// transition is a line of a history, in which states have so many columns.
func (o *output) transition(h api.Transition, width int) string {
	at := o.local(h.Time.UTC().Format("2006-01-02T15:04:05.000Z"))
	return strings.TrimRight(fmt.Sprintf("%s  %-*s %s", at, width, h.State, h.Detail), " ")
}

func stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// thousands writes 1067040 as 1,067,040.
func thousands[N ~int | ~int32 | ~int64 | ~uint64](n N) string {
	s := fmt.Sprint(n)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		return "-" + s
	}
	return s
}
