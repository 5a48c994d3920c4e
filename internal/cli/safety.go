package cli

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/mdms"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/mdms/firmware"
)

// safetyFlags bound what one person can do to the breakers of many.
type safetyFlags struct {
	approveFrom int
	texts       [4]string           // budgets: of all, of each operator, of each feeder, of reconnections
	parsed      [4][]command.Budget // the same
	firmware    int                 // bytes a second; 0: the default
}

// budgetFlags are in the order of safetyFlags.texts.
var budgetFlags = [...]struct{ name, help string }{
	{"disconnect-budget", "how many meters may be disconnected, and in which time as many again, such as 100/1m,1000/1h (default: no bound)"},
	{"operator-budget", "how many meters one person may disconnect without approval, such as 50/1h: with one more all that person's disconnections stop until another person has released them (default: no bound)"},
	{"feeder-budget", "how many meters may be disconnected on one feeder, such as 30/1h: with one more the disconnections there stop until another person has released them (default: no bound)"},
	{"reconnect-budget", "how many meters of one feeder a reconnection of many switches on, such as 50/1m, so that the feeder is not overloaded (default: no bound)"},
}

func (s *safetyFlags) flags(f *pflag.FlagSet) {
	f.IntVar(&s.approveFrom, "approve-from", command.DefaultApproveFrom,
		"from how many meters on, disconnected by one person within an hour, another person has to approve it; 1: always, 0: never")
	f.IntVar(&s.firmware, "firmware-rate", firmware.DefaultTotalRate, "bytes a second that roll-outs of firmware send in all, 1000 at least")
	for i, b := range budgetFlags {
		f.StringVar(&s.texts[i], b.name, "", b.help)
	}
}

func (s *safetyFlags) check() (err error) {
	if s.approveFrom < 0 {
		return usagef("flag --approve-from: %d, want a number of meters, or 0 for never", s.approveFrom)
	}
	if s.firmware < 1000 {
		return usagef("flag --firmware-rate: %d, want at least 1000 bytes a second", s.firmware)
	}
	for i, text := range s.texts {
		if text == "" {
			continue
		}
		if s.parsed[i], err = command.ParseBudgets(text); err != nil {
			return usagef("flag --%s: %v", budgetFlags[i].name, err)
		}
	}
	return nil
}

// unreachable are the budgets of operators that nobody can exhaust, because another person has to approve sooner: without that
// one disconnects at most one meter fewer than --approve-from in an hour.
func (s *safetyFlags) unreachable() (out []command.Budget) {
	if s.approveFrom == 0 {
		return nil // never
	}
	most := s.approveFrom - 1
	for _, b := range s.parsed[1] {
		if b.N >= most && float64(b.N)/b.Per.Hours() >= float64(most) {
			out = append(out, b)
		}
	}
	return out
}

// warnUnreachable tells of a configuration's budgets that will never be what stops somebody; "" if there are none.
func warnUnreachable(f *pflag.FlagSet) string {
	var s safetyFlags
	from, budget := f.Lookup("approve-from"), f.Lookup("operator-budget")
	if from == nil || budget == nil || budget.Value.String() == "" {
		return ""
	}
	var err error
	if s.approveFrom, err = f.GetInt("approve-from"); err != nil {
		return ""
	}
	if s.parsed[1], err = command.ParseBudgets(budget.Value.String()); err != nil {
		return "" // the start refuses it
	}
	if never := s.unreachable(); len(never) > 0 {
		return fmt.Sprintf("nobody can exhaust the --operator-budget of %v: from %d meters in an hour on another person has to approve (--approve-from), and what was approved does not count", never[0], s.approveFrom)
	}
	return ""
}

func (s *safetyFlags) safety() mdms.Safety {
	out := mdms.Safety{ApproveFrom: s.approveFrom, Budgets: s.parsed[0], Operators: s.parsed[1], Feeders: s.parsed[2], Reconnects: s.parsed[3]}
	if out.ApproveFrom == 0 {
		out.ApproveFrom = -1
	}
	return out
}
