package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

// report is a command and, of one for many meters that has ended, what became of it at each.
type report struct {
	api.Command
	Meters []meterAnswer `json:"meters,omitempty"`
}

// meterAnswer is one meter's part. Outcome is done, or what else the command ended as there; "not done" where the centre's list
// of stragglers, which is bounded, leaves open which of several it was; "" where it leaves open that too.
type meterAnswer struct {
	Meter    string        `json:"meter"`
	Outcome  string        `json:"outcome,omitempty"`
	Register *api.Register `json:"register,omitempty"` // of a read
}

var meterAnswerColumns = []column[meterAnswer]{
	{"meter", func(m meterAnswer) string { return m.Meter }},
	{"outcome", func(m meterAnswer) string { return m.Outcome }},
}

// registerColumns are those of a read; of gives the register, nil for none.
func registerColumns[T any](of func(T) *api.Register) []column[T] {
	cell := func(f func(*api.Register) string) func(T) string {
		return func(t T) string {
			if r := of(t); r != nil {
				return f(r)
			}
			return ""
		}
	}
	return []column[T]{
		{"time", cell(func(r *api.Register) string { return stamp(&r.Time) })},
		{"import_wh", cell(func(r *api.Register) string { return strconv.FormatUint(r.Import, 10) })},
		{"export_wh", cell(func(r *api.Register) string { return strconv.FormatUint(r.Export, 10) })},
		{"power_w", cell(func(r *api.Register) string { return strconv.Itoa(int(r.Power)) })},
		{"voltage_v", cell(func(r *api.Register) string { return strconv.FormatFloat(r.Voltage, 'f', 1, 64) })},
	}
}

// bulkAnswers lists the meters of a command for many that has ended; of a read with their registers, which are the newest ones
// that the centre has.
func bulkAnswers(ctx context.Context, client *apiclient.Client, cmd api.Command) ([]meterAnswer, error) {
	var meters []api.Meter
	var err error
	if cmd.Target.Group != nil {
		g, err := client.Group(ctx, *cmd.Target.Group)
		if err != nil {
			return nil, err
		}
		for _, member := range g.Members {
			m, err := client.Meter(ctx, member.ID)
			if err != nil {
				return nil, err
			}
			meters = append(meters, m)
		}
	} else if cmd.Target.Query != nil {
		return nil, nil // which ones they were, then, only the stragglers tell
	} else if meters, err = client.Meters(ctx, api.MeterQuery{Path: cmd.Target.Path}, 0); err != nil {
		return nil, err
	}
	if cmd.Target.Meters != nil {
		named := make(map[string]bool, len(cmd.Target.Meters))
		for _, id := range cmd.Target.Meters {
			named[id] = true
		}
		meters = slices.DeleteFunc(meters, func(m api.Meter) bool { return !named[m.ID] })
	}
	rest, other := 0, "not done"
	for state, n := range cmd.Bulk.States {
		if state == api.CommandDone {
			continue
		}
		if rest += n; rest == n {
			other = state
		} else {
			other = "not done"
		}
	}
	out := make([]meterAnswer, 0, len(meters))
	for _, m := range meters {
		if m.Kind != "" && m.Kind != "meter" {
			continue
		}
		a := meterAnswer{Meter: m.ID}
		switch {
		case slices.Contains(cmd.Bulk.Stragglers, m.ID):
			a.Outcome = other
		case rest == len(cmd.Bulk.Stragglers):
			a.Outcome = api.CommandDone
		}
		if cmd.Type == api.CommandRead && (a.Outcome == api.CommandDone || a.Outcome == "") {
			a.Register = m.Register
		}
		out = append(out, a)
	}
	return out, nil
}

func (c *control) print(cmd report, target string) error {
	w, r := c.app.Out, cmd.Result
	done := r != nil && cmd.State == api.CommandDone
	switch {
	case c.output.format == "json":
		return write(w, c.output, []report{cmd}, nil)
	case done && len(r.Readings) > 0:
		return write(w, c.output, r.Readings, readingColumns)
	case c.output.format != "csv":
		text, err := c.tell(cmd, target)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		return err
	case done && r.Register != nil:
		return write(w, c.output, []report{cmd}, append([]column[report]{{"meter", func(a report) string { return a.Target.Meter }}},
			registerColumns(func(a report) *api.Register { return a.Result.Register })...))
	case cmd.Meters != nil:
		return write(w, c.output, cmd.Meters, c.bulkColumns(cmd))
	}
	return write(w, c.output, []api.Command{cmd.Command}, commandColumns)
}

func (c *control) bulkColumns(cmd report) []column[meterAnswer] {
	columns := slices.Clone(meterAnswerColumns)
	if cmd.Type == api.CommandRead {
		columns = append(columns, registerColumns(func(m meterAnswer) *api.Register { return m.Register })...)
	}
	return columns
}

// tell is a command for people.
func (c *control) tell(cmd report, target string) (string, error) {
	w := &strings.Builder{}
	last := time.Duration(0)
	if n := len(cmd.History); n > 0 {
		last = cmd.History[n-1].Time.Sub(cmd.Created)
	}
	switch {
	case cmd.Bulk != nil:
		fmt.Fprintf(w, "%s %s: command %s %s, %d meters\n", cmd.Type, target, cmd.ID, cmd.State, cmd.Bulk.Total)
		for _, s := range sortedKeys(cmd.Bulk.States) {
			fmt.Fprintf(w, "  %-10s %d\n", s, cmd.Bulk.States[s])
		}
		for _, s := range sortedKeys(cmd.Bulk.Verification) {
			fmt.Fprintf(w, "  read behind it: %s %d\n", s, cmd.Bulk.Verification[s])
		}
		fmt.Fprint(w, stragglers(cmd.Command, "  "))
		if cmd.Type == api.CommandRead && cmd.Meters != nil {
			fmt.Fprintln(w)
			err := write(w, c.output, cmd.Meters, c.bulkColumns(cmd))
			return w.String(), err
		}
	case !api.Finished(cmd.State) && cmd.QueuedUntil != nil:
		fmt.Fprintf(w, "%s %s: command %s, %s; 'wattbus commands %s' shows how it goes\n", cmd.Type, target, cmd.ID, asleep(cmd.Command), cmd.ID)
	case !api.Finished(cmd.State):
		fmt.Fprintf(w, "%s %s: command %s %s; 'wattbus commands %s' shows how it goes\n", cmd.Type, target, cmd.ID, cmd.State, cmd.ID)
	case cmd.Result != nil && cmd.Result.Register != nil && cmd.State == api.CommandDone:
		r := cmd.Result.Register
		fmt.Fprintf(w, "%s  import %s Wh  export %s Wh  %d W  %.1f V  at %s  (%d ms)\n", target, thousands(r.Import), thousands(r.Export),
			r.Power, r.Voltage, c.output.local(stamp(&r.Time)), last.Milliseconds())
	case cmd.State == api.CommandDone:
		breaker := ""
		if cmd.Result != nil && cmd.Result.Breaker != "" && cmd.Result.Breaker != "none" {
			breaker = ", breaker " + cmd.Result.Breaker
		}
		fmt.Fprintf(w, "%s %s: done%s%s  (%d ms)\n", cmd.Type, target, breaker, verification(cmd.Command), last.Milliseconds())
	}
	return w.String(), nil
}

// verification says what the reading behind a switch said, "" where there is none yet.
func verification(cmd api.Command) string {
	v := cmd.Verification
	if v == nil || v.State == api.VerifyPending {
		return ""
	}
	switch v.State {
	case api.VerifyDone:
		return fmt.Sprintf(", verified by a reading of %d W", v.Power)
	case api.VerifyContradicted:
		return fmt.Sprintf(", CONTRADICTED by a reading of %d W: look at the meter", v.Power)
	}
	return ", not verified: no reading came"
}

// persons are lines with who asked for a command and who decided on it, with the comment; "" where nobody has a name.
func persons(cmd api.Command) string {
	text := ""
	if cmd.By != "" {
		text = "asked for by " + cmd.By + "\n"
	}
	if a := cmd.Approval; a != nil && a.By != "" {
		word := "approved"
		if a.Rejected {
			word = "rejected"
		}
		text += word + " by " + a.By
		if a.Comment != "" {
			text += ": " + strconv.Quote(a.Comment)
		}
		text += "\n"
	}
	return text
}

// stragglers is a line with the meters of a command that have not answered or, once it has ended, not done it; "" for none.
func stragglers(cmd api.Command, indent string) string {
	if cmd.Bulk == nil || len(cmd.Bulk.Stragglers) == 0 {
		return ""
	}
	what := "waiting for"
	switch {
	case api.Finished(cmd.State):
		what = "not done by"
	case cmd.State == api.CommandPendingApproval:
		what = "meant for"
	}
	more := ""
	if n := cmd.Bulk.Total - cmd.Bulk.States[api.CommandDone] - len(cmd.Bulk.Stragglers); n > 0 && (api.Finished(cmd.State) || cmd.State == api.CommandPendingApproval) {
		more = fmt.Sprintf(" and %d more", n)
	}
	return indent + what + " " + strings.Join(cmd.Bulk.Stragglers, " ") + more + "\n"
}
