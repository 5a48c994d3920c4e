package cli

import (
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/eeb"
	"github.com/wattbus/wattbus/internal/mdms/command"
)

// registrationFlags bound how fast registrations are acknowledged. Where they are not offered the EEB's default holds.
type registrationFlags struct {
	text   string
	parsed command.Budget
}

func (r *registrationFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&r.text, "registration-budget", eeb.DefaultAcks,
		"how many registrations of meters on one concentrator are acknowledged at once, and in which time as many again; the others wait their turn")
}

func (r *registrationFlags) check() error {
	if r.text == "" {
		return nil
	}
	list, err := command.ParseBudgets(r.text)
	if err != nil {
		return usagef("flag --registration-budget: %v", err)
	}
	if len(list) != 1 {
		return usagef("flag --registration-budget: %q are %d budgets, want one, such as %s", r.text, len(list), eeb.DefaultAcks)
	}
	if r.parsed = list[0]; r.rate() < eeb.LeastAckRate {
		return usagef("flag --registration-budget: %v is %.3g a second, want at least %v: meters that wait repeat themselves", r.parsed, r.rate(), eeb.LeastAckRate)
	}
	return nil
}

// rate is how many a second, 0 where none was given.
func (r *registrationFlags) rate() float64 {
	if r.parsed.N == 0 {
		return 0
	}
	return float64(r.parsed.N) / r.parsed.Per.Seconds()
}
