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
	"github.com/wattbus/wattbus/internal/connector"
)

func newTargets(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "targets",
		Example: "  wattbus targets check targets.yaml --connect\n  wattbus targets list --watch\n  wattbus targets replay billing --from 2026-11-28T00:00:00Z",
		Short:   "Look after the other systems that get events",
		Long: `Look after the other systems that get events: message brokers, webhooks, files. A YAML file declares them, which a centre gets with
--targets; docs/connectors.md describes it, with an example of each type.`,
	}
	cmd.AddCommand(newTargetsList(a), newTargetsCheck(a), newTargetsReplay(a))
	return cmd
}

func newTargetsList(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show each target, whether it is there and how far behind it is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				all, err := c.Targets(ctx)
				if err != nil {
					return err
				}
				return l.targets(all)
			})
		},
		Example: "  wattbus targets list\n  wattbus targets list --watch",
	}
	l.flags(cmd, true)
	return cmd
}

func (l *look) targets(all []api.TargetStatus) error {
	return write(l.app.Out, l.output, all, []column[api.TargetStatus]{
		{"name", func(t api.TargetStatus) string { return t.Name }},
		{"type", func(t api.TargetStatus) string { return t.Type }},
		{"state", func(t api.TargetStatus) string { return t.State }},
		{"events", func(t api.TargetStatus) string { return strings.Join(t.Events, ",") }},
		{"sent", func(t api.TargetStatus) string { return int64Text(t.Sent) }},
		{"refused", func(t api.TargetStatus) string { return int64Text(t.Refused) }},
		{"behind", func(t api.TargetStatus) string { return int64Text(t.PendingBatches) }},
		{"lag_s", func(t api.TargetStatus) string { return strconv.FormatFloat(t.LagSeconds, 'f', 0, 64) }},
		{"commands", commandsText},
		{"lost", func(t api.TargetStatus) string { return int64Text(t.LostBatches) }},
		{"where", func(t api.TargetStatus) string { return t.URL }},
		{"detail", detailText},
	})
}

// commandsText is how many requests were answered; nothing for a target that sends none.
func commandsText(t api.TargetStatus) string {
	if t.Commands == nil {
		return ""
	}
	return int64Text(t.Commands.Done + t.Commands.Refused)
}

func detailText(t api.TargetStatus) string {
	if c := t.Commands; c != nil && c.Detail != "" && c.Detail != t.Detail {
		return strings.TrimPrefix(t.Detail+"; no commands: "+c.Detail, "; ")
	}
	return t.Detail
}

func newTargetsCheck(a *app) *cobra.Command {
	var (
		connect bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a file of targets, and with --connect whether each can be reached",
		Long: `Check a file of targets, together with the files and the environment that it takes secrets from, and print what it declares. With
--connect each target is connected to as a centre would do it, and nothing is sent.`,
		Example: "  wattbus targets check targets.yaml\n  wattbus targets check targets.yaml --connect",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			specs, err := connector.Load(args[0])
			if err != nil {
				return &usageError{err: err}
			}
			failed := 0
			for _, s := range specs {
				state := "ok"
				ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
				err := connector.Try(ctx, s, connect)
				cancel()
				if err != nil {
					state, failed = err.Error(), failed+1
				} else if connect {
					state = "reached"
				}
				if _, err := fmt.Fprintf(a.Out, "%s: %s %s: %s\n", s.Name, s.Type, strings.Join(s.Events, ","), state); err != nil {
					return err
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d targets cannot be used as they are", failed, len(specs))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "connect to each target")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long a target may take")
	return cmd
}

func newTargetsReplay(a *app) *cobra.Command {
	l := &look{app: a}
	var from string
	cmd := &cobra.Command{
		Use:   "replay NAME",
		Short: "Deliver events to a target again, from a time on",
		Long: `Set a target back to the first events that were made at or after a time (of the wall clock), as far back as they are kept
(--keep-events of the centre). What the other side has of them already it gets again, with the same ids.`,
		Example: "  wattbus targets replay billing --from 2026-11-28T00:00:00Z",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := parseTime("from", from)
			if err != nil {
				return err
			}
			if at == nil {
				return usagef("flag --from: want a time, RFC 3339, from which on events are delivered again")
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				t, err := c.ReplayTarget(ctx, args[0], *at)
				if err != nil {
					return err
				}
				return l.targets([]api.TargetStatus{t})
			})
		},
	}
	l.flags(cmd, false)
	cmd.Flags().StringVar(&from, "from", "", "time of the first events, RFC 3339")
	return cmd
}
