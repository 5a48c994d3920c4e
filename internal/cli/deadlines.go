package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/mdms"
)

// deadlineFlags say what the service-level clock counts arrivals by. Where they are not offered the defaults hold.
type deadlineFlags struct {
	words []string
	list  []mdms.Deadline
}

func (d *deadlineFlags) flags(f *pflag.FlagSet) {
	var def []string
	for _, x := range mdms.DefaultDeadlines() {
		def = append(def, x.String())
	}
	f.StringSliceVar(&d.words, "deadlines", def, "by when intervals should have arrived, at most 7: after their end (30m, 3d), or at a time of the next day in a zone (06:00@Europe/Zurich)")
}

func (d *deadlineFlags) check() error {
	if d.words == nil {
		return nil
	}
	list := []mdms.Deadline{}
	for _, w := range d.words {
		x, err := mdms.ParseDeadline(strings.TrimSpace(w))
		if err != nil {
			return usagef("flag --deadlines: %v", err)
		}
		list = append(list, x)
	}
	if err := mdms.CheckDeadlines(list); err != nil {
		return usagef("flag --deadlines: %v", err)
	}
	d.list = list
	return nil
}

// deadlineRow is what one day, or all of them, came to by one deadline.
type deadlineRow struct {
	Day string `json:"day"`
	api.DeadlineCounts
}

// serviceLevel shows which share had arrived by each deadline.
func (l *look) serviceLevel(ctx context.Context, c *apiclient.Client, span api.Span) error {
	got, err := c.ServiceLevel(ctx, span.From, span.To)
	if err != nil {
		return err
	}
	if l.output.format == "json" {
		return write(l.app.Out, l.output, []api.ServiceLevel{got}, nil)
	}
	var rows []deadlineRow
	for _, d := range got.Days {
		for _, x := range d.Deadlines {
			rows = append(rows, deadlineRow{d.Day, x})
		}
	}
	if l.output.format == "table" {
		for _, x := range got.Deadlines {
			rows = append(rows, deadlineRow{"total", x})
		}
	}
	return write(l.app.Out, l.output, rows, []column[deadlineRow]{
		{"day", func(r deadlineRow) string { return r.Day }},
		{"deadline", func(r deadlineRow) string { return r.Deadline }},
		{"expected", func(r deadlineRow) string { return int64Text(r.Expected) }},
		{"in_time", func(r deadlineRow) string { return int64Text(r.InTime) }},
		{"late", func(r deadlineRow) string { return int64Text(r.Late) }},
		{"missing", func(r deadlineRow) string { return int64Text(r.Missing) }},
		{"pending", func(r deadlineRow) string { return int64Text(r.Pending) }},
		{"unknown", func(r deadlineRow) string { return int64Text(r.Unknown) }},
		{"percent", func(r deadlineRow) string { return strconv.FormatFloat(r.Percent, 'f', 3, 64) }},
	})
}
