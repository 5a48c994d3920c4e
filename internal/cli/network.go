package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

func newConcentrators(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "concentrators",
		Short:   "List the tree of concentrators with their state",
		Example: "  wattbus concentrators\n  wattbus concentrators --watch",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, l, []column[api.Concentrator]{
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
				{"meter_states", func(c api.Concentrator) string { return numbers(c.States) }},
			}, func(ctx context.Context, c *apiclient.Client) ([]api.Concentrator, error) {
				return c.Concentrators(ctx)
			})
		},
	}
	l.flags(cmd, true)
	return cmd
}
