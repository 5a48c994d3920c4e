package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

var subMeterColumns = []column[api.SubMeter]{
	{"id", func(s api.SubMeter) string { return s.ID }},
	{"medium", func(s api.SubMeter) string { return s.Medium }},
	{"channel", func(s api.SubMeter) string { return strconv.Itoa(s.Channel) }},
	{"time", func(s api.SubMeter) string {
		if s.Newest == nil {
			return ""
		}
		return stamp(&s.Newest.Time)
	}},
	{"value", func(s api.SubMeter) string {
		if s.Newest == nil {
			return ""
		}
		return s.Newest.Value
	}},
	{"unit", func(s api.SubMeter) string {
		if s.Newest == nil {
			return ""
		}
		return s.Newest.Unit
	}},
}

var subReadingColumns = []column[api.SubReading]{
	{"time", func(r api.SubReading) string { return stamp(&r.Time) }},
	{"value", func(r api.SubReading) string { return r.Value }},
	{"unit", func(r api.SubReading) string { return r.Unit }},
}

func newSubMeters(a *app) *cobra.Command {
	l := &look{app: a}
	var from, to string
	var limit int
	cmd := &cobra.Command{
		Use:   "sub-meters METER [SUB]",
		Short: "List the meters behind a meter, such as its gas meter, or the values of one",
		Long: `List the meters for gas, water, heat and so on behind a meter, each with its newest value, or the values of one of them. Their meter tells
them, as those with a P1 port do (docs/formats.md).`,
		Example: "  wattbus sub-meters M1\n  wattbus sub-meters M1 G0039001936990619 --from 2026-11-01T00:00:00Z -o csv",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			span, err := parseSpan(from, to)
			if err != nil {
				return err
			}
			if len(args) == 1 && (from != "" || to != "") {
				return usagef("flags --from and --to need a sub-meter's id")
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				if len(args) == 1 {
					items, err := c.SubMeters(ctx, args[0], limit)
					if err != nil {
						return err
					}
					return write(a.Out, l.output, items, subMeterColumns)
				}
				items, err := c.SubReadings(ctx, args[0], args[1], span.From, span.To, limit)
				if err != nil {
					return err
				}
				return write(a.Out, l.output, items, subReadingColumns)
			})
		},
	}
	l.flags(cmd, true)
	f := cmd.Flags()
	f.IntVar(&limit, "limit", 0, "at most this many; 0: all")
	f.StringVar(&from, "from", "", "start of the values, RFC 3339 (default: the oldest)")
	f.StringVar(&to, "to", "", "end of the values, RFC 3339 (default: the newest)")
	return cmd
}
