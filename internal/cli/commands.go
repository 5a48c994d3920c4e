package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

var commandColumns = []column[api.Command]{
	{"id", func(c api.Command) string { return c.ID }},
	{"type", func(c api.Command) string { return c.Type }},
	{"target", func(c api.Command) string { return targetText(c.Target) }},
	{"state", func(c api.Command) string { return c.State }},
	{"sends", func(c api.Command) string { return strconv.Itoa(c.Sends) }},
	{"by", func(c api.Command) string { return c.By }},
	{"created_wall", func(c api.Command) string { return stamp(&c.Created) }},
	{"took_ms", func(c api.Command) string {
		if n := len(c.History); n > 0 && api.Finished(c.State) {
			return strconv.FormatInt(c.History[n-1].Time.Sub(c.Created).Milliseconds(), 10)
		}
		return ""
	}},
	{"stragglers", func(c api.Command) string {
		if c.Bulk == nil {
			return ""
		}
		return strings.Join(c.Bulk.Stragglers, " ")
	}},
	{"result", func(c api.Command) string {
		switch {
		case c.State == api.CommandPendingApproval && c.Approval != nil:
			return c.Approval.Why
		case c.Bulk != nil:
			return numbers(c.Bulk.States)
		case c.QueuedUntil != nil:
			return asleep(c)
		case c.Result != nil:
			return strings.TrimSpace(c.Result.Outcome + " " + c.Result.Reason)
		}
		return ""
	}},
}

// commandColumns leaves the stragglers, which may be a hundred, out of tables for people, and does not say twice that a command is done.
func (l *look) commandColumns() []column[api.Command] {
	if l.output.format == "csv" {
		return commandColumns
	}
	out := slices.DeleteFunc(slices.Clone(commandColumns), func(c column[api.Command]) bool { return c.name == "stragglers" })
	last := &out[len(out)-1]
	said := last.cell
	last.cell = func(c api.Command) string {
		if r := c.Result; r != nil && c.Bulk == nil && r.Outcome == c.State {
			if r.Register != nil {
				return registerText(r.Register)
			}
			return r.Reason
		}
		return said(c)
	}
	return out
}

// registerText tells what a meter's registers show.
func registerText(r *api.Register) string {
	return fmt.Sprintf("import %s Wh, export %s Wh, %s W", thousands(r.Import), thousands(r.Export), thousands(r.Power))
}

func targetText(t api.Target) string {
	switch {
	case t.Meter != "":
		return t.Meter
	case t.Group != nil:
		return fmt.Sprintf("group:%d", *t.Group)
	}
	if t.Path != "" {
		return "path:" + t.Path
	}
	if t.Query != nil {
		return queryText(t.Query)
	}
	return listText(t)
}

func newCommands(a *app) *cobra.Command {
	l := &look{app: a}
	var open, all bool
	var meter string
	var limit int
	cmd := &cobra.Command{
		Use:     "commands [ID]",
		Example: "  wattbus commands --open\n  wattbus commands --meter M1000317 --all\n  wattbus commands 7264936155\n  wattbus commands approve 7264936155 --token \"$TOKEN\"",
		Short:   "List commands, newest first, show one with its whole life, or decide on one",
		Long: `List the commands that people and programs asked for, newest first; --all adds those that the centre gives by itself, such as
the pings by which it verifies outages and the reading behind a switch. With an ID show that one with its whole life.

"commands approve", "reject" and "cancel" decide on one, "commands watch" follows one until it has ended, "commands progress"
shows its counts.

Their times are those of the wall clock, on which people wait for them; times of meters, readings and outages are business
time, which may run faster.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				if len(args) == 0 {
					q := api.CommandQuery{Open: open, Origin: api.OriginAsked, Meter: meter}
					if all {
						q.Origin = ""
					}
					items, err := c.Commands(ctx, q, limit)
					if err != nil {
						return err
					}
					return write(a.Out, l.output, items, l.commandColumns())
				}
				one, err := c.Command(ctx, args[0])
				if err != nil {
					return err
				}
				if err := write(a.Out, l.output, []api.Command{one}, l.commandColumns()); err != nil || l.output.format != "table" {
					return err
				}
				fmt.Fprintln(a.Out, "\nby the wall clock, which business time may run ahead of:")
				for _, h := range one.History {
					fmt.Fprintln(a.Out, l.output.transition(h, 16))
				}
				if v := verification(one); v != "" {
					fmt.Fprintln(a.Out, strings.TrimPrefix(v, ", "))
				}
				fmt.Fprint(a.Out, persons(one), stragglers(one, ""))
				return nil
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().BoolVar(&open, "open", false, "only those that have not ended")
	cmd.Flags().BoolVar(&all, "all", false, "also those that the centre gives by itself")
	cmd.Flags().StringVar(&meter, "meter", "", "only those for this meter alone")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most this many; 0: all")
	cmd.AddCommand(newCommandProgress(a, false), newCommandProgress(a, true),
		newDecision(a, "approve", "Let a command go that waits for approval",
			`Let a command go that waits for approval. It has to be approved by another person than the one who asked for it, with a token of that
person's own; "wattbus commands ID" says why it waits. Its time begins now.`,
			func(ctx context.Context, c *apiclient.Client, id, comment string) (api.Command, error) {
				return c.DecideCommand(ctx, id, true, comment)
			}),
		newDecision(a, "reject", "End a command that waits for approval", "End a command that waits for approval.",
			func(ctx context.Context, c *apiclient.Client, id, comment string) (api.Command, error) {
				return c.DecideCommand(ctx, id, false, comment)
			}),
		newDecision(a, "cancel", "End a command that has not ended",
			"End a command: what was not sent never will be, and repeats stop. A meter that it already reached may still carry it out.",
			func(ctx context.Context, c *apiclient.Client, id, _ string) (api.Command, error) {
				return c.CancelCommand(ctx, id)
			}))
	return cmd
}

// newDecision makes a command that ends or lets go one of the centre's commands.
func newDecision(a *app, name, short, long string, decide func(ctx context.Context, c *apiclient.Client, id, comment string) (api.Command, error)) *cobra.Command {
	l := &look{app: a}
	var comment string
	cmd := &cobra.Command{
		Use:   name + " ID",
		Short: short,
		Long:  long,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				one, err := decide(ctx, c, args[0], comment)
				if err != nil {
					return err
				}
				return write(a.Out, l.output, []api.Command{one}, l.commandColumns())
			})
		},
	}
	cmd.Example = "  wattbus commands " + name + " 7264936155"
	l.flags(cmd, false)
	if name != "cancel" {
		cmd.Example += ` --comment "storm damage, case 4711" --token "$TOKEN"`
		cmd.Flags().StringVar(&comment, "comment", "", "why; it is kept with the command")
	}
	return cmd
}
