package cli

import (
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/mdms"
	"github.com/wattbus/wattbus/internal/mdms/command"
)

// safetyFlags bound what one person can do to the breakers of many. Where they are not offered the defaults hold.
type safetyFlags struct {
	offered     bool
	approveFrom int
	budget      string
	parsed      []command.Budget
}

func (s *safetyFlags) flags(f *pflag.FlagSet) {
	s.offered = true
	f.IntVar(&s.approveFrom, "approve-from", command.DefaultApproveFrom,
		"from how many meters on, disconnected by one person within an hour, another person has to approve it; 1: always, 0: never")
	f.StringVar(&s.budget, "disconnect-budget", "",
		"how many meters may be disconnected, and in which time as many again, such as 100/1m,1000/1h (default: no bound)")
}

func (s *safetyFlags) check() (err error) {
	if s.approveFrom < 0 {
		return usagef("flag --approve-from: %d, want a number of meters, or 0 for never", s.approveFrom)
	}
	if s.budget != "" {
		if s.parsed, err = command.ParseBudgets(s.budget); err != nil {
			return usagef("flag --disconnect-budget: %v", err)
		}
	}
	return nil
}

func (s *safetyFlags) safety() mdms.Safety {
	out := mdms.Safety{ApproveFrom: s.approveFrom, Budgets: s.parsed}
	if s.offered && out.ApproveFrom == 0 {
		out.ApproveFrom = -1
	}
	return out
}
