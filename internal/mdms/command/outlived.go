package command

import (
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// A reconnection ends the earlier disconnections of its meters that have not gone out, whatever they wait for in the queue: their
// turn, a budget, or a release. The later word counts, and nobody sits in the dark because somebody else's budget is used up. What
// has gone out is not ended: it may still arrive, so the reconnection follows it. Nor is what waits for approval or for its time:
// it has not had its last word yet. A reconnection of one meter ends an earlier one that waits to be staggered, too.

// doubtAfterRestart is how long after a restart a disconnection counts as perhaps sent: what went out right before the centre died
// is not in its store.
const doubtAfterRestart = 30 * time.Second

// outlived ends what reconnection by makes pointless.
func (e *Engine) outlived(by *control, devices []*cim.EndDevice, now time.Time) {
	if by.op != record.OpReconnect {
		return
	}
	for _, dev := range devices {
		for _, m := range slices.Clone(e.queues.of(dev)) {
			pointless := m.c.op == record.OpDisconnect || m.c.op == record.OpReconnect && !by.bulk
			if pointless && !m.started() && (!m.restored || now.Sub(e.base) >= doubtAfterRestart) {
				e.endOutlived(m, by.id, now)
			}
		}
	}
	if len(e.held) == 0 {
		return
	}
	on := make(map[*cim.EndDevice]bool, len(devices))
	for _, dev := range devices {
		on[dev] = true
	}
	e.held = slices.DeleteFunc(e.held, func(m *member) bool {
		if !m.state.finished() && !on[m.dev] {
			return false
		}
		if !m.state.finished() {
			e.endOutlived(m, by.id, now)
		}
		return true
	})
}

func (e *Engine) endOutlived(m *member, by uint64, now time.Time) {
	c := m.c
	c.broadcast = false // it would reach this meter, too
	e.noteMember(m, cancelled, nil)
	e.leave(m, cancelled, now)
	e.stats.Superseded++
	c.stored = time.Time{} // kept at once: a restart must not bring it back
	e.touch(c)
	switch {
	case c.open > 0:
	case c.counts[cancelled] < c.total(): // the others have ended otherwise
		e.conclude(c, failed, now, nil)
	default:
		e.conclude(c, cancelled, now, api.Say("command.superseded", "id", formatID(by)))
	}
}
