package outage

import (
	"time"

	"github.com/wattbus/wattbus/internal/cim"
)

// The centre may stand still: its machine does, or its disk. It heard nothing meanwhile, and what it hears first afterwards tells of the
// standstill as much as of the devices: keep-alives that ended, answers that it waited for, readings and returns that are still on their
// way. So what it could not hear is not silence, who was asked is asked anew, and for a while nothing is inferred from who is gone. What has a
// time of its own, such as a last gasp, is judged by that all the same.

// stillFrom is the wall time between two ticks from which on the centre stood still; the caller ticks every second, or sooner.
const stillFrom = 10 * time.Second

// stillSettle is for how much wall time afterwards it waits for what is on its way.
const stillSettle = 15 * time.Second

// maxStills bounds the standstills that are remembered; the oldest ones are taken together.
const maxStills = 32

// still is a standstill: when it was over, and for how long the centre heard nothing before, both business time.
type still struct{ end, lasted uint32 }

// watchStill notices that the centre stood still since the last tick.
func (e *Engine) watchStill(at uint32) {
	wall := e.o.Wall()
	gap, first := wall.Sub(e.tickedWall), e.tickedWall.IsZero()
	before := e.ticked
	e.tickedWall, e.ticked = wall, at
	if first || gap < stillFrom {
		return
	}
	lasted := at - min(before, at)
	e.log.Warn("the centre stood still", "lasted", gap.Round(time.Second), "until", cim.Stamp(at))
	e.quiet = e.in(stillSettle)
	if n := len(e.stills); n == maxStills {
		e.stills[1].lasted += e.stills[0].lasted
		e.stills = append(e.stills[:0], e.stills[1:]...)
	}
	e.stills = append(e.stills, still{at, lasted})
	for len(e.stills) > 0 && e.stills[0].end+aWeek < at {
		e.stills = e.stills[1:]
	}
	for _, n := range e.settles {
		if n.settleEnd != 0 {
			n.settleEnd = max(n.settleEnd, e.settleEnd())
		}
	}
	for _, n := range e.leaves {
		if n.leaveEnd != 0 {
			n.leaveEnd = max(n.leaveEnd, e.in(e.o.Leave))
		}
	}
	for _, t := range e.waitsEnd {
		if t.restartEnd > before {
			t.restartEnd += lasted
		}
	}
	for _, w := range e.waits { // nobody could have answered
		if t := w.t; t.slot >= 0 && t.dev.LastSeen < t.asked {
			t.asked, t.tries = 0, 0
			if t.grid != nil {
				t.grid.asked = 0
				e.grid.touch(t.grid)
			}
		}
	}
	e.waits = e.waits[:0]
}

// unheard is for how many seconds behind since the centre could not hear.
func (e *Engine) unheard(since uint32) (n uint32) {
	for i := len(e.stills) - 1; i >= 0 && e.stills[i].end > since; i-- {
		n += min(e.stills[i].lasted, e.stills[i].end-since)
	}
	return n
}
