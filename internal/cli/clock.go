package cli

import (
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/clock"
)

// clockFlag is --clock: business time other than the wall clock's, for simulations over several processes.
func clockFlag(f *pflag.FlagSet, text *string) {
	f.StringVar(text, "clock", "real", "business time: real, or START@ANCHORxSPEED for simulations over several processes")
}

func parseClock(text string) (*clock.Clock, error) {
	c, err := clock.Parse(text)
	if err != nil {
		return nil, usagef("flag --clock: %w", err)
	}
	return c, nil
}
