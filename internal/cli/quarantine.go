package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

var quarantineColumns = []column[api.Quarantine]{
	{"name", func(q api.Quarantine) string { return q.Name }},
	{"since_wall", func(q api.Quarantine) string { return stamp(&q.Since) }},
	{"by", func(q api.Quarantine) string { return q.By }},
	{"command", func(q api.Quarantine) string { return q.Command }},
	{"why", func(q api.Quarantine) string { return q.Why }},
}

func newQuarantine(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "List operators and feeders whose disconnections are stopped, or release one",
		Long: `List operators and feeders whose disconnections are stopped, because one more was asked for than "wattbus center --operator-budget" or
"--feeder-budget" allows. What waits goes on once another person has released it.`,
		Example: "  wattbus quarantine\n  wattbus quarantine release operator:alice --comment \"case 4711\" --token \"$BOB\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, l, quarantineColumns, func(ctx context.Context, c *apiclient.Client) ([]api.Quarantine, error) {
				return c.Quarantines(ctx)
			})
		},
	}
	l.flags(cmd, true)
	r := &look{app: a}
	var comment string
	release := &cobra.Command{
		Use:     "release NAME",
		Short:   "Let disconnections go on",
		Long:    "Release an operator or a feeder, as another person than the one whose command was one too many, with a token that has the right approve.",
		Example: "  wattbus quarantine release feeder:F12 --comment \"storm, case 4711\" --token \"$BOB\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showOne(cmd, r, quarantineColumns, func(ctx context.Context, c *apiclient.Client) (api.Quarantine, error) {
				return c.ReleaseQuarantine(ctx, args[0], comment)
			})
		},
	}
	r.flags(release, false)
	release.Flags().StringVar(&comment, "comment", "", "why; it is kept in the audit trail")
	cmd.AddCommand(release)
	return cmd
}
