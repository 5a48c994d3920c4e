package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

// completeBys are what completeness may be counted by; the API has the deadlines under an address of their own.
var completeBys = []string{"concentrator", "substation", "feeder", "transformer", "age", "deadline"}

func newCompleteness(a *app) *cobra.Command {
	l := &look{app: a}
	var from, to, by string
	var worst int
	cmd := &cobra.Command{
		Use:   "completeness",
		Short: "Show which intervals are there: by day, and the meters that lack some",
		Long: `Show how many intervals were expected, came by themselves, were recovered by backfill and are missing: by UTC day, with the meters that
lack most; or by one of --by. PERCENT is what is there of what was expected.`,
		Example: "  wattbus completeness --from 2018-12-01T00:00:00Z\n  wattbus completeness --by feeder --watch\n  wattbus completeness --by deadline -o csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if worst < 0 {
				return usagef("flag --worst: value %d, want 0 or more", worst)
			}
			if by != "" && !slices.Contains(completeBys, by) {
				return usagef("flag --by: value %.40q, want one of %s", by, strings.Join(completeBys, ", "))
			}
			span, err := parseSpan(from, to)
			if err != nil {
				return err
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				if by == "deadline" {
					return l.serviceLevel(ctx, c, span)
				}
				if by != "" {
					return l.completenessBy(ctx, c, by, span)
				}
				all, err := c.Completeness(ctx, span.From, span.To)
				if err != nil {
					return err
				}
				if l.output.format == "json" {
					return write(a.Out, l.output, []api.Completeness{all}, nil)
				}
				rows := all.Days
				if l.output.format == "table" {
					rows = append(rows, api.DayCounts{Day: "total", Counts: all.Counts})
				}
				if err := write(a.Out, l.output, rows, []column[api.DayCounts]{
					{"day", func(d api.DayCounts) string { return d.Day }},
					{"expected", func(d api.DayCounts) string { return strconv.FormatInt(d.Expected, 10) }},
					{"received", func(d api.DayCounts) string { return strconv.FormatInt(d.Received, 10) }},
					{"recovered", func(d api.DayCounts) string { return strconv.FormatInt(d.Recovered, 10) }},
					{"missing", func(d api.DayCounts) string { return strconv.FormatInt(d.Missing, 10) }},
					{"percent", func(d api.DayCounts) string { return strconv.FormatFloat(d.Percent, 'f', 3, 64) }},
				}); err != nil || l.output.format == "csv" {
					return err
				}
				for _, m := range all.Meters[:min(worst, len(all.Meters))] {
					lost := ""
					if m.Lost > 0 {
						lost = fmt.Sprintf(", %d of them lost for good", m.Lost)
					}
					fmt.Fprintf(a.Out, "%s (%s) lacks %d of %d%s\n", m.ID, orDash(m.Path), m.Missing, m.Expected, lost)
				}
				if more := len(all.Meters) - worst; more > 0 {
					fmt.Fprintf(a.Out, "and others; --worst %d shows the %d that lack most, \"wattbus missing --day DAY\" all of a day\n", len(all.Meters), len(all.Meters))
				}
				return nil
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().StringVar(&by, "by", "", "concentrator, substation, feeder, transformer, age of what is missing, or deadline by which it came (default: by day)")
	cmd.Flags().IntVar(&worst, "worst", 10, "with a table by day, how many of the meters that lack most are named, at most 100")
	cmd.Flags().StringVar(&from, "from", "", "start of the span, RFC 3339 (default: the oldest interval)")
	cmd.Flags().StringVar(&to, "to", "", "end of the span, RFC 3339 (default: now)")
	return cmd
}
