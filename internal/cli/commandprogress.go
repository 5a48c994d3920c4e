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

// stateOrder is the way of a meter's part through its states.
var stateOrder = []string{api.CommandPendingApproval, api.CommandQueued, api.CommandSent, api.CommandDelivered, api.CommandDone, api.CommandRefused,
	api.CommandFailed, api.CommandExpired, api.CommandCancelled}

// counts are the meters of a command by state; of one for a single meter that one.
func counts(c api.Command) (total int, by map[string]int) {
	if c.Bulk != nil {
		return c.Bulk.Total, c.Bulk.States
	}
	return 1, map[string]int{c.State: 1}
}

// countsText tells them in the order of their lives.
func countsText(c api.Command) string {
	total, by := counts(c)
	var parts []string
	ended := 0
	for _, s := range stateOrder {
		if n := by[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", s, n))
			if api.Finished(s) {
				ended += n
			}
		}
	}
	return fmt.Sprintf("%d of %d ended: %s", ended, total, strings.Join(parts, ", "))
}

// newCommandProgress makes "commands progress" and, with follow, "commands watch".
func newCommandProgress(a *app, follow bool) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "progress ID",
		Short:   "Show how far a command for many meters is: counts by state, and stragglers",
		Long:    "Show how many meters of a command are in which state, and which have not ended.",
		Example: "  wattbus commands progress 7264936155 -o json",
		Args:    cobra.ExactArgs(1),
	}
	if follow {
		cmd.Use, cmd.Short = "watch ID", "Follow a command until it has ended"
		cmd.Long = `Follow a command until it has ended: a line whenever its counts change, at most two a second, and at the end the meters that did
not do it. The exit status is that of the command: 0 done, 1 failed or refused, 3 expired. Ctrl-C stops watching, not the command.`
		cmd.Example = "  wattbus commands watch 7264936155"
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
			if !follow {
				one, err := c.Command(ctx, args[0])
				if err != nil {
					return err
				}
				return l.progress(one)
			}
			return l.follow(ctx, c, args[0])
		})
	}
	l.flags(cmd, !follow)
	return cmd
}

var progressColumns = []column[api.Command]{
	{"id", func(c api.Command) string { return c.ID }},
	{"state", func(c api.Command) string { return c.State }},
	{"meters", func(c api.Command) string { n, _ := counts(c); return strconv.Itoa(n) }},
	{"counts", func(c api.Command) string {
		_, by := counts(c)
		var parts []string
		for _, s := range stateOrder {
			if by[s] > 0 {
				parts = append(parts, fmt.Sprintf("%s=%d", s, by[s]))
			}
		}
		return strings.Join(parts, " ")
	}},
	{"stragglers", func(c api.Command) string {
		if c.Bulk == nil {
			return ""
		}
		return strings.Join(c.Bulk.Stragglers, " ")
	}},
}

func (l *look) progress(c api.Command) error {
	if l.output.format != "table" {
		return write(l.app.Out, l.output, []api.Command{c}, progressColumns)
	}
	_, err := fmt.Fprintf(l.app.Out, "%s %s: %s; %s\n%s", c.Type, targetText(c.Target), c.State, countsText(c), stragglers(c, "  "))
	return err
}

// follow prints the counts whenever they change. A centre that is away for a while is asked again.
func (l *look) follow(ctx context.Context, client *apiclient.Client, id string) error {
	_, tty := terminal(l.app.Out)
	last := ""
	for failed := 0; ; {
		c, err := client.Command(ctx, id)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if failed++; failed > 20 || last == "" {
				return err
			}
		default:
			failed = 0
			if now := c.State + countsText(c); now != last {
				last = now
				switch {
				case l.output.format != "table":
					err = write(l.app.Out, l.output, []api.Command{c}, progressColumns)
				case tty:
					_, err = fmt.Fprintf(l.app.Out, "\r\x1b[K%s  %s; %s", time.Now().Format("15:04:05"), c.State, countsText(c))
				default:
					_, err = fmt.Fprintf(l.app.Out, "%s  %s; %s\n", time.Now().UTC().Format("15:04:05Z"), c.State, countsText(c))
				}
				if err != nil {
					return err
				}
			}
			if api.Finished(c.State) {
				if l.output.format == "table" {
					if tty {
						fmt.Fprintln(l.app.Out)
					}
					fmt.Fprint(l.app.Out, stragglers(c, ""))
				}
				return outcome(c, targetText(c.Target))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}
