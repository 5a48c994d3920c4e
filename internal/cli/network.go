package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

func newConcentrators(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:   "concentrators",
		Short: "List the tree of concentrators with their state",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				items, err := c.Concentrators(ctx)
				if err != nil {
					return err
				}
				return write(a.Out, l.output, items, []column[api.Concentrator]{
					{"id", func(c api.Concentrator) string {
						if l.output.format == "table" {
							return strings.Repeat("  ", strings.Count(c.Path, "/")) + c.ID
						}
						return c.ID
					}},
					{"path", func(c api.Concentrator) string { return c.Path }},
					{"state", func(c api.Concentrator) string { return c.State }},
					{"since", func(c api.Concentrator) string { return stamp(&c.Since) }},
					{"meters", func(c api.Concentrator) string { return strconv.Itoa(c.Meters) }},
					{"below", func(c api.Concentrator) string { return strconv.Itoa(c.Below) }},
					{"meter_states", func(c api.Concentrator) string {
						var parts []string
						for _, k := range sortedKeys(c.States) {
							parts = append(parts, fmt.Sprintf("%s %d", k, c.States[k]))
						}
						return strings.Join(parts, ", ")
					}},
				})
			})
		},
	}
	l.flags(cmd, true)
	return cmd
}

func newOutages(a *app) *cobra.Command {
	l := &look{app: a}
	var open bool
	var limit int
	cmd := &cobra.Command{
		Use:   "outages",
		Short: "List outages, newest first, with what they rest on",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				items, err := c.Outages(ctx, open, limit)
				if err != nil {
					return err
				}
				return write(a.Out, l.output, items, []column[api.Outage]{
					{"id", func(o api.Outage) string { return o.ID }},
					{"kind", func(o api.Outage) string { return o.Kind }},
					{"of", func(o api.Outage) string { return o.Meter + o.Concentrator }},
					{"path", func(o api.Outage) string { return o.Path }},
					{"affected", func(o api.Outage) string { return strconv.Itoa(o.Affected) }},
					{"start", func(o api.Outage) string { return stamp(&o.Start) }},
					{"end", func(o api.Outage) string { return stamp(o.End) }},
					{"evidence", func(o api.Outage) string {
						var parts []string
						for _, e := range o.Evidence {
							parts = append(parts, e.What)
						}
						return strings.Join(parts, ", ")
					}},
				})
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().BoolVar(&open, "open", false, "only those that go on")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many; 0: all")
	return cmd
}
