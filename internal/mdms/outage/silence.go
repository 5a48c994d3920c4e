package outage

import (
	"time"

	"github.com/wattbus/wattbus/internal/cim"
)

// maxVerdicts bounds the work of one Tick, so that the loop stays responsive when a jump of the clock silences everybody.
const maxVerdicts = 10_000

type timer struct {
	due uint32
	t   *track
}

// timers is a heap, the earliest on top. A device has one timer while silence may be its verdict; a message does not touch
// it: when it runs out, it looks at when the device was heard. A timer whose due is not its device's is void.
type timers []timer

func (h *timers) push(x timer) {
	*h = append(*h, x)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[i].due >= s[up].due {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *timers) pop() timer {
	s := *h
	top := s[0]
	n := len(s) - 1
	s[0], s[n] = s[n], timer{}
	s = s[:n]
	for i := 0; ; {
		least := i
		for _, down := range [...]int{2*i + 1, 2*i + 2} {
			if down < n && s[down].due < s[least].due {
				least = down
			}
		}
		if least == i {
			break
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
	*h = s
	return top
}

// periodic reports whether the device is expected to speak up by itself. While its breaker is open it sends no periodic
// reading, and while a concentrator is gone nothing can come: neither is silence.
func (t *track) periodic() bool {
	return t.slot >= 0 && t.own.State == cim.LinkUp && !t.node.blocked &&
		t.dev.Breaker.State != cim.BreakerOpen && t.dev.Breaker.State != cim.BreakerReady
}

// silentAt is when the device will have been silent for too long: two of its own intervals and the grace after it was last
// heard. What the centre could not hear does not count: before it was started, before a concentrator came back, and while it stood still.
func (e *Engine) silentAt(t *track, grace time.Duration) uint32 {
	interval := e.o.Interval
	if t.dev.Interval > 0 {
		interval = time.Duration(t.dev.Interval) * time.Minute
	}
	from := max(t.dev.LastSeen, e.started, t.node.silentAt, t.own.Since)
	return uint32(min(int64(from)+int64(e.unheard(from))+int64((2*interval+grace)/time.Second), 1<<32-1))
}

// arm sets the device's timer if it has none, or a later one.
func (e *Engine) arm(t *track) {
	if !t.periodic() {
		return
	}
	if due := e.silentAt(t, e.o.Grace); t.due == 0 || due < t.due {
		t.due = due
		e.timers.push(timer{due, t})
	}
}

// Tick gives the verdicts that are due at the business time now and returns when the next one may be, the zero time if
// none is planned. It looks at devices whose time has come only.
func (e *Engine) Tick(now time.Time) (next time.Time) {
	at := uint32(max(now.Unix(), 0))
	e.watchStill(at)
	for i := 0; i < len(e.settles); {
		n := e.settles[i]
		if n.settleEnd != 0 && at < n.settleEnd {
			i++
			continue
		}
		e.settles[i] = e.settles[len(e.settles)-1]
		e.settles = e.settles[:len(e.settles)-1]
		n.waits = false
		if n.settleEnd != 0 {
			n.settleEnd = 0
			e.spread(n, at, "concentrator-online", at)
		}
	}
	// The way takes wall time: on a fast business clock that is more of the latter.
	grace := e.o.Grace + e.o.Clock.Deadline(e.o.WallGrace).Sub(e.o.Clock.Now())
	for n := 0; len(e.timers) > 0 && e.timers[0].due <= at; n++ {
		if n == maxVerdicts {
			return now
		}
		x := e.timers.pop()
		t := x.t
		if t.due != x.due {
			continue
		}
		t.due = 0
		if !t.periodic() {
			continue
		}
		if due := e.silentAt(t, grace); due > at {
			t.due = due
			e.timers.push(timer{due, t})
			continue
		}
		e.stats.Silences++
		t.left(bySilence, at)
		e.alarmed(at)
		t.own = cim.Fact[cim.Link]{State: cim.LinkLost, Since: at}
		e.refresh(t, at, "silence", max(t.dev.LastSeen, 1))
	}
	due := e.tickGrid(at)
	if len(e.timers) > 0 && (due == 0 || e.timers[0].due < due) {
		due = e.timers[0].due
	}
	if next := e.absent(at); next != 0 && (due == 0 || next < due) {
		due = next
	}
	for _, n := range e.settles {
		if n.settleEnd != 0 && (due == 0 || n.settleEnd < due) {
			due = n.settleEnd
		}
	}
	if due == 0 {
		return time.Time{}
	}
	return time.Unix(int64(due), 0).UTC()
}
