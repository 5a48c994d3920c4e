package outage

import (
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/topic"
)

// The bounds of verification: meters are asked by the centre's ordinary pings.
const (
	pingWait   = 30      // s for an answer, see Engine.timeWire
	pingWay    = 10      // business seconds between two looks, and for the way
	pingSample = 3       // meters of a transformer that are asked at a time
	pingAgain  = 600     // business seconds before a transformer's sample is asked anew; on a fast clock at least two answers, twice
	pingQueue  = 1000    // that wait to be asked; beyond, they are not
	pingRate   = 2.0     // per wall second
	pingBurst  = 60.0    // at once
	pingTry    = 2       // times that one is asked
	restarted  = 15 * 60 // the longest restart that a meter may announce, s
)

// verify has a sample of a transformer's meters asked, of those that nothing is known of. In storm mode one stands for all.
func (e *Engine) verify(x *element, now uint32) {
	if x.level != levelTransformer || x.signs.onset == 0 || x.signs.dark == 0 || x.asked != 0 && now < x.asked+e.again {
		return
	}
	p := chance(x.odds)
	if !x.out && p < 0.02 && x.signs.back == 0 {
		return
	}
	n := pingSample
	if e.storm.on {
		n = 1
	}
	for _, t := range x.meters {
		if n == 0 {
			return
		}
		if t.gone() || t.node.blocked || t.dev.Link.State != cim.LinkUp || t.dev.Kind != topic.Meter || t.aliveAt > x.signs.onset+clockSlack ||
			t.asked != 0 && now < t.asked+e.again {
			continue
		}
		x.asked = now
		t.tries = 0
		if !e.ask(t) {
			return
		}
		n--
	}
}

func (e *Engine) ask(t *track) bool {
	if len(e.pings) >= pingQueue {
		e.shed("pings")
		return false
	}
	e.pings = append(e.pings, t)
	return true
}

// Pings are the devices to be asked now, within the budget. The caller sends each a ping, by the command path; any message of
// the device is its answer.
func (e *Engine) Pings() []*cim.EndDevice {
	if len(e.pings) == 0 {
		return nil
	}
	wall := e.o.Wall()
	e.tokens = min(e.tokens+wall.Sub(e.tokensAt).Seconds()*pingRate, pingBurst)
	e.tokensAt = wall
	n := min(int(e.tokens), len(e.pings))
	e.tokens -= float64(n)
	now := e.now()
	var out []*cim.EndDevice
	for _, t := range e.pings[:n] {
		if t.slot < 0 || t.gone() || t.node.blocked {
			continue
		}
		t.asked = now
		t.tries++
		e.stats.Pings++
		e.waits.push(timer{now + e.answer + 1, t})
		out = append(out, t.dev)
	}
	rest := copy(e.pings, e.pings[n:])
	clear(e.pings[rest:])
	e.pings = e.pings[:rest]
	return out
}

// unanswered looks at the pings whose time is over.
func (e *Engine) unanswered(now uint32) {
	for len(e.waits) > 0 && e.waits[0].due <= now {
		t := e.waits.pop().t
		if t.slot < 0 || t.asked == 0 || t.grid == nil {
			continue
		}
		if t.dev.LastSeen >= t.asked {
			e.grid.touch(t.grid) // it answered
			continue
		}
		if t.tries < pingTry && !t.gone() && !t.node.blocked {
			e.ask(t)
			continue
		}
		e.stats.Unanswered++
		e.touchTrack(t)
	}
}

// wakeAt has an element looked at again, not later than then.
func (e *Engine) wakeAt(at uint32, x *element) {
	if x.wake == 0 {
		e.alarms = append(e.alarms, x)
		x.wake = at
	}
	x.wake = min(x.wake, at)
}

func (e *Engine) awake(now uint32) (next uint32) {
	kept := e.alarms[:0]
	for _, x := range e.alarms {
		if x.wake <= now {
			x.wake = 0
			e.grid.touch(x)
			continue
		}
		kept = append(kept, x)
		if next == 0 || x.wake < next {
			next = x.wake
		}
	}
	clear(e.alarms[len(kept):])
	e.alarms = kept
	return next
}

// OnRestarts takes the word of a device that it restarts and will be back within so many seconds: until then that it is gone
// says nothing.
func (e *Engine) OnRestarts(dev *cim.EndDevice, seconds, at uint32) {
	t := e.track(dev)
	if t == nil || t.slot < 0 {
		return
	}
	t.restartAt, t.restartEnd = at, at+min(seconds, restarted)+e.answer
	e.waitsEnd = append(e.waitsEnd, t)
	e.touchTrack(t)
}
