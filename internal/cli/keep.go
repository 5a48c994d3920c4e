package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/mdms"
)

// keepFlags say for how many days what is kept for a while is kept; 0: for ever.
type keepFlags struct{ versions, intervals, commands, outages, dead, events int }

func (k *keepFlags) flags(f *pflag.FlagSet) {
	f.IntVar(&k.versions, "keep-versions", 0, "days for which superseded versions of sealed intervals are kept (0: for ever; else at least 46)")
	f.IntVar(&k.intervals, "keep-intervals", 0, "days for which sealed intervals are kept (0: for ever; else at least 401)")
	f.IntVar(&k.commands, "keep-commands", 0, "days for which commands that are not open are kept (0: for ever)")
	f.IntVar(&k.outages, "keep-outages", 0, "days for which outages that have ended are kept (0: for ever)")
	f.IntVar(&k.dead, "keep-dead-letters", 0, "days for which dead letters are kept (0: as they are on an existing bus, else 30)")
	f.IntVar(&k.events, "keep-events", 0, "days for which events are kept for targets that are away, and for replays (0: as they are on an existing bus, else 7)")
}

func (k *keepFlags) check() error {
	for _, v := range []struct {
		flag       string
		days, want int
	}{{"versions", k.versions, 46}, {"intervals", k.intervals, 401}, {"commands", k.commands, 1}, {"outages", k.outages, 1}, {"dead-letters", k.dead, 1}, {"events", k.events, 1}} {
		if v.days != 0 && (v.days < v.want || v.days > 36500) {
			return usagef("flag --keep-%s: value %d, want 0, or %d to 36500 days", v.flag, v.days, v.want)
		}
	}
	return nil
}

func (k *keepFlags) retention() mdms.Retention {
	return mdms.Retention{Versions: days(k.versions), Intervals: days(k.intervals), Commands: days(k.commands), Outages: days(k.outages)}
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
