package command

import (
	"time"

	"github.com/wattbus/wattbus/internal/cim"
)

// What was without supply for a while takes more than usual when it comes back, all of it at once: a feeder that is switched on
// again in one stroke may trip. So the reconnections of a command for many come back feeder by feeder no faster than
// Options.ReconnectBudgets say. That of a single meter never waits.

// stagger returns the feeder's bucket, nil where nothing bounds it.
func (e *Engine) stagger(dev *cim.EndDevice, now time.Time) budgets {
	if len(e.o.ReconnectBudgets) == 0 {
		return nil
	}
	f := e.feeder(dev)
	if f == "" {
		return nil
	}
	b := e.feeders[f]
	if b == nil {
		b = newBudgets(e.o.ReconnectBudgets, now)
		e.feeders[f] = b
	}
	return b
}

// within reports whether all open meters of a command may be reconnected at once; if so they are taken off.
func (e *Engine) withinStagger(c *control, now time.Time) bool {
	need := map[string]int{}
	of := map[string]budgets{}
	for i := c.low; i < len(c.members); i++ {
		m := &c.members[i]
		if b := e.stagger(m.dev, now); b != nil && !m.state.finished() {
			f := e.feeder(m.dev)
			need[f]++
			of[f] = b
		}
	}
	for f, n := range need {
		for i := range of[f] {
			if of[f][i].fill(now); of[f][i].left < float64(n) {
				return false
			}
		}
	}
	for f, n := range need {
		of[f].spend(n)
		e.staggering[f] = struct{}{}
	}
	return true
}

// staggered is how long it takes at least to reconnect the meters, and the budget that it waits for.
func (e *Engine) staggered(devices []*cim.EndDevice) (d time.Duration, by Budget) {
	if len(e.o.ReconnectBudgets) == 0 || len(devices) < 2 {
		return 0, by
	}
	need := map[string]int{}
	for _, dev := range devices {
		if f := e.feeder(dev); f != "" {
			need[f]++
		}
	}
	bs := newBudgets(e.o.ReconnectBudgets, e.o.Wall())
	for _, n := range need {
		if t, b := bs.lasts(n); t > d {
			d, by = t, b
		}
	}
	return d, by
}
