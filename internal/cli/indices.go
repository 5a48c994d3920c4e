package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

var indicesColumns = []column[api.Indices]{
	{"feeder", func(x api.Indices) string { return x.Feeder }},
	{"customers", func(x api.Indices) string { return strconv.Itoa(x.Customers) }},
	{"saidi_min", func(x api.Indices) string { return fmt.Sprintf("%.2f", x.SAIDI) }},
	{"saifi", func(x api.Indices) string { return fmt.Sprintf("%.4f", x.SAIFI) }},
	{"caidi_min", func(x api.Indices) string { return fmt.Sprintf("%.1f", x.CAIDI) }},
	{"maifi", func(x api.Indices) string { return fmt.Sprintf("%.4f", x.MAIFI) }},
	{"maifi_e", func(x api.Indices) string { return fmt.Sprintf("%.4f", x.MAIFIE) }},
	{"sustained", func(x api.Indices) string { return strconv.Itoa(x.Sustained) }},
	{"momentary", func(x api.Indices) string { return strconv.Itoa(x.Momentary) }},
	{"open", func(x api.Indices) string { return strconv.Itoa(x.Open) }},
	{"planned", func(x api.Indices) string { return strconv.Itoa(x.Planned) }},
}

var indexDayColumns = []column[api.IndexDay]{
	{"date", func(d api.IndexDay) string { return d.Date }},
	{"customers", func(d api.IndexDay) string { return strconv.Itoa(d.Customers) }},
	{"sustained", func(d api.IndexDay) string { return strconv.Itoa(d.Sustained) }},
	{"customer_min", func(d api.IndexDay) string { return fmt.Sprintf("%.1f", d.Minutes) }},
	{"saidi_min", func(d api.IndexDay) string { return fmt.Sprintf("%.3f", d.SAIDI) }},
	{"major", func(d api.IndexDay) string {
		if d.Major {
			return "yes"
		}
		return ""
	}},
}

func newIndices(a *app) *cobra.Command {
	l := &look{app: a}
	var q api.IndicesQuery
	var from, to, baseFrom, baseTo string
	var days bool
	cmd := &cobra.Command{
		Use:   "indices",
		Short: "Reckon SAIDI, SAIFI, CAIDI and MAIFI (IEEE 1366) of a period, by feeder",
		Long: `Reckon SAIDI, SAIFI, CAIDI, MAIFI and MAIFI_E (IEEE 1366) of a period, by feeder, and its major event days: those whose SAIDI is beyond
T_MED = exp(alpha + 2.5 beta), with the mean and the deviation of the logarithms of the daily SAIDI of the five years before. With
--days it shows the days of the period on which sustained interruptions began. docs/outages.md tells how each is counted.`,
		Example: "  wattbus outages indices --from 2018-12-01T00:00:00Z -o csv\n" +
			"  wattbus outages indices --from 2018-11-01T00:00:00+01:00 --zone Europe/Zurich --without-major\n  wattbus outages indices --days",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			span, err := parseSpan(from, to)
			if err != nil {
				return err
			}
			q.From, q.To = span.From, span.To
			for _, x := range []struct {
				flag, text string
				t          *time.Time
			}{{"baseline-from", baseFrom, &q.BaselineFrom}, {"baseline-to", baseTo, &q.BaselineTo}} {
				t, err := parseTime(x.flag, x.text)
				if err != nil {
					return err
				}
				if t != nil {
					*x.t = *t
				}
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				got, err := c.Indices(ctx, q)
				if err != nil {
					return err
				}
				if days {
					if err := write(a.Out, l.output, got.Days, indexDayColumns); err != nil {
						return err
					}
				} else {
					rows := got.Feeders
					if q.Feeder == "" {
						rows = append([]api.Indices{got.All}, rows...)
					}
					if err := write(a.Out, l.output, rows, indicesColumns); err != nil {
						return err
					}
				}
				if l.output.format == "table" {
					fmt.Fprintln(a.Out, "\n"+l.output.local(majorText(&got)))
				}
				return nil
			})
		},
	}
	l.flags(cmd, true)
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "start of the period, RFC 3339 (default: 365 days before its end)")
	f.StringVar(&to, "to", "", "end of the period, RFC 3339 (default: now)")
	f.StringVar(&q.Feeder, "feeder", "", "only this feeder")
	f.StringVar(&q.Zone, "zone", "", "time zone whose days count, such as Europe/Zurich (default: UTC)")
	f.BoolVar(&q.WithoutMajor, "without-major", false, "without what began on major event days")
	f.StringVar(&baseFrom, "baseline-from", "", "start of the days that tell what a major event day is, RFC 3339 (default: five years before their end)")
	f.StringVar(&baseTo, "baseline-to", "", "their end, RFC 3339 (default: the start of the period)")
	f.BoolVar(&days, "days", false, "show the days instead of the feeders")
	return cmd
}

// majorText tells what makes a major event day, and which ones there are.
func majorText(x *api.IndicesAnswer) string {
	m := &x.Major
	from := fmt.Sprintf("%d days with sustained interruptions\nfrom %s to %s", m.Days, stamp(&m.From), stamp(&m.To))
	if m.Threshold == 0 {
		return "major event days: not known,\nof " + from + ",\nand two are needed; see --baseline-from"
	}
	var b strings.Builder
	word := "major event days:"
	if m.Excluded {
		word = "major event days, left out:"
	}
	b.WriteString(word)
	for _, d := range x.Days {
		if d.Major {
			fmt.Fprintf(&b, "\n  %s  SAIDI %.2f min", d.Date, d.SAIDI)
		}
	}
	if m.Found == 0 {
		b.WriteString(" none")
	}
	fmt.Fprintf(&b, "\nT_MED: %.2f min a day (alpha %.3f, beta %.3f),\nof %s", m.Threshold, m.Alpha, m.Beta, from)
	return b.String()
}
