package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

var maintenanceColumns = []column[api.Maintenance]{
	{"id", func(w api.Maintenance) string { return w.ID }},
	{"state", func(w api.Maintenance) string { return w.State }},
	{"scope", func(w api.Maintenance) string { return w.Scope }},
	{"name", func(w api.Maintenance) string { return w.Name }},
	{"feeder", func(w api.Maintenance) string { return w.Feeder }},
	{"from", func(w api.Maintenance) string { return stamp(&w.From) }},
	{"to", func(w api.Maintenance) string { return stamp(&w.To) }},
	{"by", func(w api.Maintenance) string { return w.By }},
	{"reason", func(w api.Maintenance) string { return w.Reason }},
}

func newMaintenance(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "maintenance",
		Example: "  wattbus maintenance add transformer F1-T01 --for 2h --reason 'oil change'\n  wattbus maintenance list\n  wattbus maintenance end 7264936161",
		Short:   "Plan work, during which nothing below is an outage: add, list, end",
	}
	cmd.AddCommand(newMaintenanceAdd(a), newMaintenanceList(a), newMaintenanceEnd(a))
	return cmd
}

func newMaintenanceAdd(a *app) *cobra.Command {
	l := &look{app: a}
	var q api.MaintenanceRequest
	var from, to string
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "add SCOPE [NAME]",
		Short: "Plan work on a meter, transformer, lateral, feeder or concentrator, or on all",
		Example: "  wattbus maintenance add transformer F1-T01 --to 2018-12-13T16:00:00Z --reason 'oil change'\n" +
			"  wattbus maintenance add feeder F3 --from 2018-12-14T02:00:00Z --for 2h",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Scope = args[0]
			if len(args) > 1 {
				q.Name = args[1]
			}
			if (to == "") == (lasts == 0) {
				return usagef("want either --to or --for: the end of the work")
			}
			if lasts < 0 {
				return usagef("flag --for: value %v, want more than 0", lasts)
			}
			span, err := parseSpan(from, to)
			if err != nil {
				return err
			}
			q.From, q.To = span.From, span.To
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				if lasts > 0 {
					if q.From.IsZero() { // by the centre's clock, not this machine's
						t, err := c.Totals(ctx)
						if err != nil {
							return err
						}
						q.From = t.Time
					}
					q.To = q.From.Add(lasts)
				}
				w, err := c.AddMaintenance(ctx, q)
				if err != nil {
					return err
				}
				return write(a.Out, l.output, []api.Maintenance{w}, maintenanceColumns)
			})
		},
	}
	l.flags(cmd, false)
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "start, RFC 3339 (default: now)")
	f.StringVar(&to, "to", "", "end, RFC 3339")
	f.DurationVar(&lasts, "for", 0, "how long, instead of --to")
	f.StringVar(&q.Feeder, "feeder", "", "the feeder, where the name of a transformer or lateral is not unique")
	f.StringVar(&q.Reason, "reason", "", "why, for those who look")
	return cmd
}

func newMaintenanceList(a *app) *cobra.Command {
	l := &look{app: a}
	var past bool
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List maintenance that is planned or under way",
		Example: "  wattbus maintenance list --past",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return showList(cmd, l, maintenanceColumns, func(ctx context.Context, c *apiclient.Client) ([]api.Maintenance, error) {
				return c.Maintenance(ctx, past, limit)
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().BoolVar(&past, "past", false, "also what is over")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many; 0: all")
	return cmd
}

func newMaintenanceEnd(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "end ID",
		Short:   "End maintenance now, or take it back before it begins",
		Example: "  wattbus maintenance end 7264936161",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showOne(cmd, l, maintenanceColumns, func(ctx context.Context, c *apiclient.Client) (api.Maintenance, error) {
				return c.EndMaintenance(ctx, args[0])
			})
		},
	}
	l.flags(cmd, false)
	return cmd
}
