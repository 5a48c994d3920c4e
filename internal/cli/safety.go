package cli

import (
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

func (s *safetyFlags) safety() mdms.Safety {
	out := mdms.Safety{ApproveFrom: s.approveFrom, Budgets: s.parsed[0], Operators: s.parsed[1], Feeders: s.parsed[2], Reconnects: s.parsed[3]}
	if out.ApproveFrom == 0 {
		out.ApproveFrom = -1
	}
	return out
}
