package mdms

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/store"
)

// Options configure the MDMS. Bus, Store and Clock are needed; they are used, not closed.
type Options struct {
	Bus        *bus.Bus
	Store      store.Store
	Clock      *clock.Clock          // business time: the centre's
	Logger     *slog.Logger          // default: discards
	Registerer prometheus.Registerer // nil: no metrics

	Backfill  Backfill
	Safety    Safety
	Firmware  Firmware
	VEE       VEE
	Retention Retention

	// Deadlines are what the service-level clock counts first arrivals by, at most 7. Default: DefaultDeadlines; empty, not nil: none.
	Deadlines []Deadline

	// FlushEvery is how long, in wall time, what changes with every message (last seen, registers, watermarks) may be newer
	// in RAM than in the store. Intervals, commands, outages and facts are never newer. Default 5 s.
	FlushEvery time.Duration
	// CommitEntries is how many messages go into one commit at most. Default 50,000.
	CommitEntries int
}

// Safety bounds what one person can do to the breakers of many.
type Safety struct {
	// ApproveFrom is the number of meters, disconnected by one person within an hour, from which on another one has to approve
	// it; default 100, below 0: never.
	ApproveFrom int
	Budgets     []command.Budget // of meters that are disconnected, all together; none: as fast as it goes
	// Operators bound what one person disconnects without approval, Feeders what is disconnected on one feeder: who would exceed
	// one is quarantined. Reconnects are how fast a feeder's meters are reconnected by a command for many. None: no bound.
	Operators, Feeders, Reconnects []command.Budget
}

// Firmware bounds roll-outs of firmware. From which number of meters on another person has to approve one is in Safety.
type Firmware struct {
	Rate int // bytes a second in all; default 1 MiB
}

// Backfill says how missing intervals are collected.
type Backfill struct {
	Off             bool
	Grace           time.Duration // business time after an interval's end before it is asked for; default 60 s
	Spread          time.Duration // business time over which requests for few intervals are spread; default 30 s
	MaxSpan         time.Duration // business time that one request spans at most; default 7 days
	PerConcentrator int           // requests under way below one concentrator; default 8
	Total           int           // requests under way at all; default 256
	PartsPerSecond  float64       // of load profiles below one concentrator; 0: as fast as they come
	Timeout         time.Duration // wall time; default 10 s
}

// graceDefault and its siblings are the defaults of Backfill.
const (
	graceDefault   = 60 * time.Second
	spreadDefault  = 30 * time.Second
	spanDefault    = 7 * 24 * time.Hour
	timeoutDefault = 10 * time.Second
)

func (o *Options) setDefaults() error {
	if o.Bus == nil || o.Store == nil || o.Clock == nil {
		return errors.New("mdms: Bus, Store and Clock are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("component", "mdms")
	b := &o.Backfill
	for _, d := range []struct {
		name     string
		v        *time.Duration
		def, max time.Duration
	}{
		{"Backfill.Grace", &b.Grace, graceDefault, 24 * time.Hour}, {"Backfill.Spread", &b.Spread, spreadDefault, 24 * time.Hour},
		{"Backfill.MaxSpan", &b.MaxSpan, spanDefault, 60 * 24 * time.Hour}, {"Backfill.Timeout", &b.Timeout, timeoutDefault, time.Hour},
		{"FlushEvery", &o.FlushEvery, 5 * time.Second, time.Hour},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < 0 || *d.v > d.max {
			return fmt.Errorf("mdms: %s is %v, want 0 to %v", d.name, *d.v, d.max)
		}
	}
	if err := o.Retention.check(); err != nil {
		return err
	}
	if o.Deadlines == nil {
		o.Deadlines = DefaultDeadlines()
	}
	if err := CheckDeadlines(o.Deadlines); err != nil {
		return err
	}
	if o.CommitEntries == 0 {
		o.CommitEntries = 50_000
	}
	if o.CommitEntries < 1 || b.PartsPerSecond < 0 || b.PerConcentrator < 0 || b.Total < 0 {
		return fmt.Errorf("mdms: CommitEntries %d, Backfill.PartsPerSecond %v, PerConcentrator %d, Total %d: want none below 0",
			o.CommitEntries, b.PartsPerSecond, b.PerConcentrator, b.Total)
	}
	return nil
}
