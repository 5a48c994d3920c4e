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

func newExplain(a *app) *cobra.Command {
	l := &look{app: a}
	var channel string
	cmd := &cobra.Command{
		Use:   "explain METER TIME",
		Short: "Tell every value that an interval ever had, and where each came from",
		Long: `Tell every value that the interval of METER had in which TIME (RFC 3339) lies, oldest first: as it came from the meter, validated,
estimated, edited; with rule set, method, the numbers behind it, who and when. The findings of the rules follow. docs/vee.md
tells how to read them.`,
		Example: "  wattbus explain M1000317 2018-12-12T10:00:00Z",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := time.Parse(time.RFC3339, args[1])
			if err != nil {
				return usagef("TIME: %q, want RFC 3339 such as 2018-12-12T10:00:00Z", args[1])
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				x, err := c.Explain(ctx, args[0], at, channel)
				if err != nil {
					return err
				}
				if l.output.format == "json" {
					return write(a.Out, l.output, []api.Explanation{x}, nil)
				}
				if l.output.format == "table" {
					fmt.Fprintf(a.Out, "%s %s, %s to %s:\n%s, %s (%s)\n\n", x.Meter, x.Channel, l.output.local(stamp(&x.Start)), l.output.local(stamp(&x.End)), wh(x.Value), x.Quality, x.ReadingQuality)
				}
				if err := write(a.Out, l.output, x.Versions, versionColumns); err != nil || l.output.format != "table" || len(x.Findings) == 0 {
					return err
				}
				fmt.Fprintln(a.Out)
				return write(a.Out, l.output, x.Findings, findingColumns)
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().StringVar(&channel, "channel", "", "import (default) or export")
	return cmd
}

// wh is a value for people.
func wh(v *int64) string {
	if v == nil {
		return "no value"
	}
	return thousands(*v) + " Wh"
}

func numbersText(ns []api.Number) string {
	var parts []string
	for _, n := range ns {
		parts = append(parts, n.Name+"="+strconv.FormatFloat(n.Value, 'g', 6, 64))
	}
	return strings.Join(parts, " ")
}

var versionColumns = []column[api.ValueVersion]{
	{"recorded", func(v api.ValueVersion) string { return orDash(stamp(v.Recorded)) }},
	{"kind", func(v api.ValueVersion) string { return v.Kind }},
	{"version", func(v api.ValueVersion) string { return strconv.FormatUint(uint64(v.Version), 10) }},
	{"value", func(v api.ValueVersion) string { return wh(v.Value) }},
	{"code", func(v api.ValueVersion) string { return v.ReadingQuality }},
	{"by", func(v api.ValueVersion) string { return orDash(strings.TrimSpace(v.By + " " + v.Rules)) }},
	{"why", func(v api.ValueVersion) string { return v.Text }},
	{"numbers", func(v api.ValueVersion) string { return numbersText(v.Numbers) }},
}

var findingColumns = []column[api.Finding]{
	{"meter", func(f api.Finding) string { return f.Meter }},
	{"channel", func(f api.Finding) string { return f.Channel }},
	{"from", func(f api.Finding) string { return stamp(&f.From) }},
	{"to", func(f api.Finding) string { return stamp(&f.To) }},
	{"rule", func(f api.Finding) string { return f.Rule }},
	{"severity", func(f api.Finding) string { return f.Severity }},
	{"code", func(f api.Finding) string { return f.ReadingQuality }},
	{"superseded", func(f api.Finding) string { return stamp(f.Superseded) }},
	{"text", func(f api.Finding) string { return f.Text }},
}

func newFindings(a *app) *cobra.Command {
	l := &look{app: a}
	var q api.FindingQuery
	var from, to string
	var limit int
	cmd := &cobra.Command{
		Use:     "findings [METER]",
		Short:   "List what the rules of validation and estimation found, newest first",
		Example: "  wattbus findings --severity warning\n  wattbus findings M1000317 --rule spike --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			span, err := parseSpan(from, to)
			if err != nil {
				return err
			}
			q.From, q.To = span.From, span.To
			if len(args) > 0 {
				q.Meter = args[0]
			}
			return showList(cmd, l, findingColumns, func(ctx context.Context, c *apiclient.Client) ([]api.Finding, error) {
				return c.Findings(ctx, q, limit)
			})
		},
	}
	l.flags(cmd, true)
	f := cmd.Flags()
	f.StringVar(&q.Rule, "rule", "", "only of this rule, such as spike")
	f.StringVar(&q.Severity, "severity", "", "at least this severe: info, warning, suspect, failed")
	f.StringVar(&from, "from", "", "only about values behind this time, RFC 3339")
	f.StringVar(&to, "to", "", "only about values before this time, RFC 3339")
	f.BoolVar(&q.All, "all", false, "also those that a newer judgement superseded")
	f.IntVar(&limit, "limit", 50, "at most this many; 0: all")
	return cmd
}
