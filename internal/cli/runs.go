package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

func newRuns(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "runs [NAME]",
		Short:   "List billing runs, or show one",
		Long:    "List the billing runs that were kept by \"wattbus export --run NAME\", or show one: what was asked for, and as known when.",
		Example: "  wattbus runs\n  wattbus runs november -o json\n  wattbus export --since-run november --out corrections.csv",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				var items []api.BillingRun
				var err error
				if len(args) == 1 {
					var one api.BillingRun
					one, err = c.BillingRun(ctx, args[0])
					items = append(items, one)
				} else {
					items, err = c.BillingRuns(ctx)
				}
				if err != nil {
					return err
				}
				return write(a.Out, l.output, items, []column[api.BillingRun]{
					{"name", func(r api.BillingRun) string { return r.Name }},
					{"what", func(r api.BillingRun) string { return r.What }},
					{"from", func(r api.BillingRun) string { return r.From }},
					{"to", func(r api.BillingRun) string { return r.To }},
					{"known", func(r api.BillingRun) string { return stamp(&r.Known) }},
					{"of", runOf},
				})
			})
		},
	}
	l.flags(cmd, true)
	return cmd
}

// runOf tells what a run is limited to.
func runOf(r api.BillingRun) string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"path ", r.Path}, {"feeder ", r.Feeder}, {"tariff ", r.Tariff}, {"calendar ", r.Calendar}, {"zone ", r.Zone},
		{"", strings.Join(r.Meters, " ")}} {
		if p.value != "" {
			parts = append(parts, p.name+p.value)
		}
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, ", ")
}
