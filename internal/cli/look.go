package cli

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/apiclient"
)

// look is one of the commands that show something.
type look struct {
	app    *app
	server server
	output output
	watch  bool
}

func (l *look) flags(cmd *cobra.Command, watch bool) {
	l.server.flags(cmd.Flags())
	l.output.flag(cmd.Flags())
	l.output.timesFlag(cmd.Flags())
	if watch {
		cmd.Flags().BoolVarP(&l.watch, "watch", "w", false, "show it again every 2 seconds until Ctrl-C")
	}
}

// checkLimit refuses a --limit below 0.
func checkLimit(n int) error {
	if n < 0 {
		return usagef("flag --limit: value %d, want 1 or more, or 0 for all", n)
	}
	return nil
}

// show runs f once or, with --watch, until ctx ends.
func (l *look) show(ctx context.Context, f func(context.Context, *apiclient.Client) error) error {
	if err := l.output.check(l.app); err != nil {
		return err
	}
	client, err := l.server.client()
	if err != nil {
		return err
	}
	if !l.watch {
		return f(ctx, client)
	}
	return l.again(ctx, client, f)
}

// showList writes what ask gets of the centre.
func showList[T any](cmd *cobra.Command, l *look, columns []column[T], ask func(context.Context, *apiclient.Client) ([]T, error)) error {
	return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
		items, err := ask(ctx, c)
		if err != nil {
			return err
		}
		return write(l.app.Out, l.output, items, columns)
	})
}

// showOne is showList of one thing.
func showOne[T any](cmd *cobra.Command, l *look, columns []column[T], ask func(context.Context, *apiclient.Client) (T, error)) error {
	return showList(cmd, l, columns, func(ctx context.Context, c *apiclient.Client) ([]T, error) {
		one, err := ask(ctx, c)
		return []T{one}, err
	})
}

func newLooks(a *app) []*cobra.Command {
	return []*cobra.Command{newMeters(a), newSubMeters(a), newConcentrators(a), newOutages(a), newCompleteness(a), newEvents(a), newCommands(a), newAudit(a), newQuarantine(a), newGroups(a), newWhoami(a), newRegistryCommand(a),
		newExplain(a), newFindings(a), newEdits(a), newSums(a), newMissing(a), newConsumers(a), newTop(a), newRuns(a), newTargets(a)}
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
