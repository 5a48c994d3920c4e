package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/topic"
)

// control is one of the commands that drive meters.
type control struct {
	app      *app
	server   server
	output   output
	wait     bool
	timeout  time.Duration
	params   api.Params
	from     string
	to       string
	at       string
	priority string
}

// maxTimeout is the longest that a command may take.
const maxTimeout = 365 * 24 * time.Hour

func newControls(a *app) []*cobra.Command {
	command := func(typ, use, short, long, example string, wait bool, more func(*control, *cobra.Command)) *cobra.Command {
		c := &control{app: a}
		cmd := &cobra.Command{
			Use:     use + " TARGET",
			Short:   short,
			Long:    long + targetHelp,
			Example: example,
			Args:    cobra.ExactArgs(1),
			RunE:    func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), typ, args[0]) },
		}
		f := cmd.Flags()
		c.server.flags(f)
		c.output.flag(f)
		c.output.timesFlag(f)
		told := "wait for the result; without it print the command's id and return"
		if wait {
			told = "wait for the result; --wait=false prints the command's id and returns"
		}
		f.BoolVar(&c.wait, "wait", wait, told)
		f.StringVar(&c.at, "at", "", "when it is to go out, RFC 3339 by the wall clock, or after a while, such as +90m (default at once); --timeout begins then")
		f.StringVar(&c.priority, "priority", "", "low, normal or high (default high for reconnect, else normal)")
		f.DurationVar(&c.timeout, "timeout", 0, "how long the command may take: it expires then, also at the meter (default 1m, and what a meter still sleeps)")
		if more != nil {
			more(c, cmd)
		}
		return cmd
	}
	return []*cobra.Command{
		command(api.CommandRead, "read", "Read a meter's registers now",
			"Ask the meter for its registers at this moment and print them.",
			"  wattbus read M1000317\n  wattbus read path:C1 -o json", true, nil),
		command(api.CommandProfile, "profile", "Fetch a meter's load profile",
			"Fetch intervals from the meter's own memory and print them; without a span the last 6 hours.",
			"  wattbus profile M1000317\n  wattbus profile M1000317 --from 2018-12-12T00:00:00Z --to 2018-12-12T06:00:00Z -o csv", true,
			func(c *control, cmd *cobra.Command) {
				cmd.Flags().StringVar(&c.from, "from", "", "start of the span, RFC 3339")
				cmd.Flags().StringVar(&c.to, "to", "", "end of the span, RFC 3339")
				cmd.Flags().StringVar((*string)(&c.params.Channel), "channel", "", "import, export or all (default import)")
			}),
		command(api.CommandDisconnect, "disconnect", "Open a meter's breaker: the supply is cut off",
			"Open the breaker. Consumption and periodic readings stop until it is closed again.",
			"  wattbus disconnect M1000317 --wait", false, nil),
		command(api.CommandReconnect, "reconnect", "Close a meter's breaker",
			"Close the breaker or, with --arm, make it ready to be closed by a person at the meter.",
			"  wattbus reconnect M1000317 --wait\n  wattbus reconnect M1000317 --arm --wait", false,
			func(c *control, cmd *cobra.Command) {
				cmd.Flags().BoolVar(&c.params.Arm, "arm", false, "arm only; a person closes the breaker at the meter")
			}),
		command(api.CommandPing, "ping", "Ask a meter for a sign of life",
			"Send a command that does nothing and wait for its answer: the whole way down and up works.",
			"  wattbus ping M1000317", true, nil),
	}
}

// parseTarget reads a meter id, path:C1/C7 or group:12.
func parseTarget(s string) (api.Target, error) {
	if path, ok := strings.CutPrefix(s, "path:"); ok {
		if err := topic.CheckPath(path); err != nil || path == "" {
			return api.Target{}, usagef("target %q: want path: and concentrator ids joined by '/', such as path:C1/C7", s)
		}
		return api.Target{Path: path}, nil
	}
	if group, ok := strings.CutPrefix(s, "group:"); ok {
		n, err := strconv.ParseUint(group, 10, 32)
		if err != nil || n == 0 {
			return api.Target{}, usagef("target %q: want group: and a number of 32 bits from 1 on, such as group:12", s)
		}
		g := uint32(n)
		return api.Target{Group: &g}, nil
	}
	if err := topic.CheckID(s); err != nil {
		return api.Target{}, usagef("target %q: want a meter's id, path:C1/C7 or group:12: %w", s, err)
	}
	return api.Target{Meter: s}, nil
}

func parseTime(flag, s string) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, usagef("flag --%s: value %q is not an RFC 3339 time such as 2018-12-12T00:00:00Z", flag, s)
	}
	return &t, nil
}

// parseStart reads --at: a time, or + and a duration from now.
func parseStart(s string, now time.Time) (*time.Time, error) {
	after, relative := strings.CutPrefix(s, "+")
	if !relative {
		return parseTime("at", s)
	}
	d, err := time.ParseDuration(after)
	if err != nil || d <= 0 {
		return nil, usagef("flag --at: value %q, want a time such as 2026-12-12T18:00:00Z, or + and a duration such as +90m", s)
	}
	at := now.Add(d)
	return &at, nil
}

func (c *control) run(ctx context.Context, typ, target string) error {
	if err := c.output.check(c.app); err != nil {
		return err
	}
	to, err := readTarget(target, c.app.In)
	if err != nil {
		return err
	}
	if c.params.From, err = parseTime("from", c.from); err != nil {
		return err
	}
	if c.params.To, err = parseTime("to", c.to); err != nil {
		return err
	}
	if c.timeout != 0 && (c.timeout < time.Second || c.timeout > maxTimeout) {
		return usagef("flag --timeout: value %v, want 1s to 8760h (a year)", c.timeout)
	}
	at, err := parseStart(c.at, time.Now())
	if err != nil {
		return err
	}
	client, err := c.server.client()
	if err != nil {
		return err
	}
	cmd, err := client.CreateCommand(ctx, api.CommandRequest{
		Target: to.Target, Type: typ, Params: c.params, ExpiresIn: int((c.timeout + time.Second - 1) / time.Second), At: at, Priority: c.priority,
	})
	if err != nil {
		return to.place(err)
	}
	if cmd.State == api.CommandPendingApproval {
		fmt.Fprintf(c.app.Err, "%s %s waits for approval: %s; \"wattbus commands approve %s\" with another person's token lets it go\n",
			cmd.Type, target, cmd.Approval.Why, cmd.ID)
	}
	if c.wait {
		if cmd.QueuedUntil != nil {
			fmt.Fprintf(c.app.Err, "%s %s: %s\n", cmd.Type, target, asleep(cmd))
		}
		if (c.timeout == 0 || cmd.At != nil) && cmd.Expires != nil {
			c.timeout = max(cmd.Expires.Sub(cmd.Created), time.Second)
		}
		// The centre says itself when the command has expired; the two seconds are for its word to arrive.
		wait, cancel := context.WithTimeout(ctx, c.timeout+2*time.Second)
		defer cancel()
		final, err := c.await(wait, client, cmd, target)
		if err != nil {
			switch {
			case ctx.Err() != nil:
				return fmt.Errorf("not waited for any longer: command %s to %s goes on; \"wattbus commands watch %s\" follows it, \"wattbus commands cancel %s\" ends it",
					cmd.ID, target, cmd.ID, cmd.ID)
			case errors.Is(err, context.DeadlineExceeded):
				return fmt.Errorf("command %s to %s: no result within %v; see 'wattbus commands %s': %w", cmd.ID, target, c.timeout, cmd.ID, errTimeout)
			}
			return err
		}
		cmd = awaitVerification(ctx, client, final)
	}
	a := report{Command: cmd}
	if cmd.Bulk != nil && api.Finished(cmd.State) {
		if a.Meters, err = bulkAnswers(ctx, client, cmd); err != nil {
			return err
		}
	}
	if err := c.print(a, target); err != nil {
		return err
	}
	return outcome(cmd, target)
}

// asleep says when a meter that sleeps fetches the command.
func asleep(cmd api.Command) string {
	return "the meter sleeps, queued until " + cmd.QueuedUntil.Local().Format("15:04:05")
}

// outcome turns the command's end into the exit status.
func outcome(cmd api.Command, target string) error {
	why := ""
	if cmd.Result != nil && cmd.Result.Reason != "" {
		why = ": " + cmd.Result.Reason
	}
	if cmd.Bulk != nil && api.Finished(cmd.State) && cmd.State != api.CommandDone {
		why = fmt.Sprintf("; %d of %d meters did it", cmd.Bulk.States[api.CommandDone], cmd.Bulk.Total) + why
	}
	switch cmd.State {
	case api.CommandExpired:
		if cmd.Bulk != nil {
			return fmt.Errorf("command %s to %s expired%s: %w", cmd.ID, target, why, errTimeout)
		}
		return fmt.Errorf("command %s to %s expired without a result: %w", cmd.ID, target, errTimeout)
	case api.CommandRefused, api.CommandFailed, api.CommandCancelled:
		was := "was "
		if cmd.State == api.CommandFailed {
			was = ""
		}
		return fmt.Errorf("command %s to %s %s%s%s", cmd.ID, target, was, cmd.State, why)
	}
	return nil
}
