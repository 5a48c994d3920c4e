package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

// sliceFlags select one slot or day of many meters.
type sliceFlags struct {
	q  api.SumQuery
	at string
}

func (s *sliceFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.at, "at", "", "a time in the slot, RFC 3339 (default: the last slot that has ended)")
	f.IntVar(&s.q.Minutes, "minutes", 30, "length of the slot")
	f.StringVar(&s.q.Day, "day", "", "a whole UTC day in place of a slot, such as 2026-11-28")
	f.StringVar(&s.q.Channel, "channel", "import", "import or export")
	f.StringVar(&s.q.Path, "path", "", "only below these concentrators, such as C1/C11")
	f.StringVar(&s.q.Substation, "substation", "", "only of this substation")
	f.StringVar(&s.q.Feeder, "feeder", "", "only on this feeder")
	f.StringVar(&s.q.Transformer, "transformer", "", "only behind this transformer")
	if cmd.Name() != "missing" {
		f.BoolVar(&s.q.Raw, "raw", false, "what came from the meters alone, without estimates and edits")
	}
}

func (s *sliceFlags) query() (api.SumQuery, error) {
	t, err := parseTime("at", s.at)
	if err == nil && t != nil {
		s.q.At = *t
	}
	return s.q, err
}

const thatCount = `Values are those that count: edited before estimated before measured, before the factor of transformers; ESTIMATED and EDITED say how
many are. --raw takes what came from the meters alone. Only intervals as long as the slot, or shorter, are in its sum; of longer
ones those that end in it.`

func int64Text(v int64) string { return strconv.FormatInt(v, 10) }

func newSums(a *app) *cobra.Command {
	l := &look{app: a}
	var s sliceFlags
	cmd := &cobra.Command{
		Use:     "sums",
		Short:   "Add up what meters used in a slot or a day, by path or feeder",
		Long:    "Add up what meters used in a slot or a day, by path or feeder.\n\n" + thatCount,
		Example: "  wattbus sums --by feeder\n  wattbus sums --by transformer --day 2018-12-11 --feeder F1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := s.query()
			if err != nil {
				return err
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				got, err := c.Sums(ctx, q)
				if err != nil {
					return err
				}
				if l.output.format == "json" {
					return write(a.Out, l.output, []api.Sums{got}, nil)
				}
				rows := got.Items
				if l.output.format == "table" || q.By == "" {
					got.Total.Key = "total"
					rows = append(rows, got.Total)
				}
				if l.output.format == "table" {
					fmt.Fprintf(a.Out, "%s to %s\n", l.output.local(stamp(&got.From)), l.output.local(stamp(&got.To)))
				}
				return write(a.Out, l.output, rows, []column[api.Sum]{
					{"key", func(s api.Sum) string { return s.Key }},
					{"meters", func(s api.Sum) string { return strconv.Itoa(s.Meters) }},
					{"values", func(s api.Sum) string { return int64Text(s.Values) }},
					{"missing", func(s api.Sum) string { return int64Text(s.Missing) }},
					{"estimated", func(s api.Sum) string { return int64Text(s.Estimated) }},
					{"edited", func(s api.Sum) string { return int64Text(s.Edited) }},
					{"wh", func(s api.Sum) string { return int64Text(s.Wh) }},
				})
			})
		},
	}
	l.flags(cmd, true)
	s.flags(cmd)
	cmd.Flags().StringVar(&s.q.By, "by", "", "path, substation, feeder or transformer (default: the total only)")
	return cmd
}

// newSlice makes a command that lists meters of a slot or day.
func newSlice[T any](a *app, cmd *cobra.Command, limit int, list func(context.Context, *apiclient.Client, api.SumQuery, int) ([]T, error), columns []column[T]) *cobra.Command {
	l := &look{app: a}
	var s sliceFlags
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q, err := s.query()
		if err == nil {
			err = checkLimit(limit)
		}
		if err != nil {
			return err
		}
		return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
			got, err := list(ctx, c, q, limit)
			if err != nil {
				return err
			}
			return write(a.Out, l.output, got, columns)
		})
	}
	l.flags(cmd, true)
	s.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", limit, "at most this many; 0: all")
	return cmd
}

func newMissing(a *app) *cobra.Command {
	return newSlice(a, &cobra.Command{
		Use:   "missing",
		Short: "List the meters that lack intervals of a slot or a day",
		Long: `List the meters that lack intervals of a slot or a day. LOST tells how many of them will not come any more: the meter told that it
does not reach back so far, or three times that it holds none, or they are older than any meter keeps. The rest may still come.`,
		Example: "  wattbus missing\n  wattbus missing --day 2018-12-11 --feeder F1",
	}, 0, func(ctx context.Context, c *apiclient.Client, q api.SumQuery, limit int) ([]api.MissingMeter, error) {
		return c.Missing(ctx, q, limit)
	}, []column[api.MissingMeter]{
		{"id", func(m api.MissingMeter) string { return m.ID }},
		{"path", func(m api.MissingMeter) string { return m.Path }},
		{"usage_point", func(m api.MissingMeter) string { return m.UsagePoint }},
		{"feeder", func(m api.MissingMeter) string { return m.Feeder }},
		{"transformer", func(m api.MissingMeter) string { return m.Transformer }},
		{"state", func(m api.MissingMeter) string { return m.State }},
		{"missing", func(m api.MissingMeter) string { return int64Text(m.Missing) }},
		{"lost", func(m api.MissingMeter) string { return int64Text(m.Lost) }},
	})
}

func newConsumers(a *app) *cobra.Command {
	return newSlice(a, &cobra.Command{
		Use:     "consumers",
		Short:   "List the meters that used the most in a slot or a day",
		Long:    "List the meters that used the most in a slot or a day.\n\n" + thatCount,
		Example: "  wattbus consumers\n  wattbus consumers --day 2018-12-11 --transformer F1-T01 --limit 5",
	}, 20, func(ctx context.Context, c *apiclient.Client, q api.SumQuery, limit int) ([]api.TopMeter, error) {
		return c.Top(ctx, q, limit)
	}, []column[api.TopMeter]{
		{"id", func(m api.TopMeter) string { return m.ID }},
		{"path", func(m api.TopMeter) string { return m.Path }},
		{"usage_point", func(m api.TopMeter) string { return m.UsagePoint }},
		{"feeder", func(m api.TopMeter) string { return m.Feeder }},
		{"transformer", func(m api.TopMeter) string { return m.Transformer }},
		{"estimated", func(m api.TopMeter) string { return int64Text(m.Estimated) }},
		{"edited", func(m api.TopMeter) string { return int64Text(m.Edited) }},
		{"wh", func(m api.TopMeter) string { return int64Text(m.Wh) }},
		{"missing", func(m api.TopMeter) string { return int64Text(m.Missing) }},
	})
}

// completenessBy shows completeness by key.
func (l *look) completenessBy(ctx context.Context, c *apiclient.Client, by string, span api.Span) error {
	got, err := c.CompletenessBy(ctx, by, span.From, span.To)
	if err != nil {
		return err
	}
	if l.output.format == "json" {
		return write(l.app.Out, l.output, []api.CompleteBy{got}, nil)
	}
	columns := []column[api.KeyCounts]{
		{by, func(k api.KeyCounts) string { return k.Key }},
		{"meters", func(k api.KeyCounts) string { return strconv.Itoa(k.Meters) }},
	}
	if by != "age" {
		columns = append(columns, column[api.KeyCounts]{"expected", func(k api.KeyCounts) string { return int64Text(k.Expected) }},
			column[api.KeyCounts]{"there", func(k api.KeyCounts) string { return int64Text(k.There) }})
	}
	columns = append(columns, column[api.KeyCounts]{"missing", func(k api.KeyCounts) string { return int64Text(k.Missing) }})
	if by != "age" {
		columns = append(columns, column[api.KeyCounts]{"percent", func(k api.KeyCounts) string { return strconv.FormatFloat(k.Percent, 'f', 3, 64) }})
	}
	return write(l.app.Out, l.output, got.Items, columns)
}
