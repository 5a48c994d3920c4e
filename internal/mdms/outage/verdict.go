package outage

import (
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// The verdicts on a meter's supply. They are an inference from the facts and change none of them.
const (
	verdictNone      uint8 = iota // nobody has judged yet
	verdictSupplied               // nothing says otherwise
	verdictPowerLost              // its last gasp, or all that its neighbours show
	verdictCommLost               // the way to it is gone, its supply most likely not
	verdictOpened                 // its breaker is open
	verdictMaintenance
	verdictUnreachable // its concentrator is gone, and nothing else is known
	verdictUnknown
	verdicts
)

var verdictNames = [verdicts]string{"", api.VerdictSupplied, api.VerdictPowerLost, api.VerdictCommLost, api.VerdictOpened, api.VerdictMaintenance,
	api.VerdictUnreachable, api.VerdictUnknown}

// What a device was last known to have gone by.
const (
	byGasp uint8 = iota + 1
	byWill
	bySilence
)

// left notes news that a device is gone.
func (t *track) left(by uint8, at uint32) { t.goneBy, t.goneAt = by, at }

// ownOdds are the log-odds that a meter whose link is lost, and that said nothing, has lost its supply by itself: a service
// drop, a fuse. A meter with a battery would most likely have said so.
func (t *track) ownChance() float64 {
	p := 0.15
	if t.dev.Capabilities&uint16(record.CapBattery) != 0 {
		p = 0.03
	}
	return p
}

// judgement is a verdict with the probability that it is right.
type judgement struct {
	verdict    uint8
	confidence float64
	lost       bool // whatever it is called, the supply is gone
}

// verdictOf judges a meter. It is a function of what is known now and changes nothing.
func (e *Engine) verdictOf(t *track, now uint32) judgement {
	lost, p := e.supplyLost(t, now)
	gone := t.gone()
	window := e.covered(t, now)
	away := gone || t.node.blocked || lost
	switch {
	case t.own.State == cim.LinkNeverSeen && !lost:
		return judgement{verdictUnknown, 0.5, false}
	case window != nil && away:
		return judgement{verdictMaintenance, 0.95, lost}
	case gone && t.dev.Power.State != cim.PowerLost && t.restarting(now):
		return judgement{verdictMaintenance, 0.9, false}
	case lost:
		return judgement{verdictPowerLost, p, true}
	case t.dev.Breaker.State == cim.BreakerOpen, t.dev.Breaker.State == cim.BreakerReady:
		c := 0.99
		if gone || t.node.blocked {
			c = 0.9
		}
		return judgement{verdictOpened, c, false}
	case p >= doubtful:
		return judgement{verdictUnknown, p, false}
	case t.node.blocked, t.dev.Link.State == cim.LinkUnreachable:
		return judgement{verdictUnreachable, 1 - p, false}
	case gone:
		return judgement{verdictCommLost, 1 - p, false}
	}
	return judgement{verdictSupplied, 1 - p, false}
}

// supplyLost is whether a meter is taken to have lost its supply, and how likely that is.
func (e *Engine) supplyLost(t *track, now uint32) (lost bool, p float64) {
	x := t.grid
	if t.dev.Power.State == cim.PowerLost {
		odds := oddsGasp - 2
		if t.own.State == cim.LinkLost {
			odds++
		}
		if x != nil {
			odds += float64(min(x.signs.gasps-1, 3)) + float64(min(x.signs.wills, 2))
		}
		return true, chance(odds)
	}
	var top *element
	if x != nil {
		top = x.top()
	}
	if top == nil {
		if !t.gone() {
			if x == nil || x.signs.onset == 0 || t.aliveAt > x.signs.onset+clockSlack {
				return false, 0.01
			}
			return false, max(0.01, 0.9*chance(x.odds)) // its neighbours are going; of itself nothing is known
		}
		own := t.ownChance()
		if x == nil || x.signs.onset == 0 || !e.recent(t, x, now) {
			return false, own
		}
		p := chance(x.odds)
		return false, p + (1-p)*own
	}
	if t.aliveAt > x.onsetOf(top)+clockSlack && (!t.gone() || t.aliveAt > t.goneAt) {
		return false, 0.02
	}
	if s := &x.signs; t.gone() && max(t.aliveAt, t.backAt) > x.onsetOf(top)+clockSlack && s.down() < s.back+s.alive {
		return false, 0.5 // it was back, and most of its neighbours still are: its link, or something of its own
	}
	odds := min(max(x.odds, top.odds-1), capUp)
	switch {
	case t.gone() && e.recent(t, x, now):
		odds++
	case e.missed(t, now):
		odds++
	case t.node.blocked:
	case t.gone():
		return false, 0.5 // it was gone before, for reasons of its own
	default: // nothing has been heard of it, and nothing was expected
		return false, 0.9 * chance(odds)
	}
	return odds >= oddsVerdict, chance(odds)
}

// onsetOf is when what x hangs on went out: its own time where that is known better.
func (x *element) onsetOf(top *element) uint32 {
	if x.out && (x.exact || !top.exact) {
		return x.onset
	}
	return top.onset
}

// settle puts a verdict into force: it begins and ends the interruption, moves it to its case and has the change told.
func (e *Engine) settle(t *track, now uint32) {
	j := e.verdictOf(t, now)
	if j.verdict != t.verdict {
		t.verdict, t.verdictAt = j.verdict, now
		e.mark(t)
		e.tally[j.verdict]++
	}
	t.confidence = float32(j.confidence)
	if j.verdict == verdictUnknown && t.gone() && t.grid != nil {
		e.wakeAt(max(t.goneAt+e.recently(t), now)+1, t.grid) // then its neighbours tell nothing of it any more
	}
	if t.gone() {
		e.reconsider(e.cases[t], now)
	}
	switch {
	case j.lost && t.cut == nil:
		e.beginCut(t, j, now)
	case j.lost:
		e.moveCut(t, now)
	case t.cut != nil:
		e.leaveCut(t, now)
	}
}

// Verdict tells what is thought of a meter's supply, on demand with what it rests on; nil for a concentrator. It changes
// nothing.
func (e *Engine) Verdict(dev *cim.EndDevice, evidence bool) *api.Verdict {
	t := e.track(dev)
	if t == nil || t.slot < 0 {
		return nil
	}
	now := e.now()
	j := e.verdictOf(t, now)
	since := t.verdictAt
	if j.verdict != t.verdict {
		since = now
	}
	v := &api.Verdict{State: verdictNames[j.verdict], Confidence: float64(int(j.confidence*1000+0.5)) / 1000}
	if evidence {
		v.Evidence = e.grounds(t, now)
	}
	if since != 0 {
		s := utc(since)
		v.Since = &s
	}
	if t.cut != nil && t.cut.o != nil {
		v.Case = t.cut.o.doc.ID
	}
	return v
}

// grounds lists what speaks of a meter's supply, strongest first within its kind. A weight above 0 speaks for a lost supply.
func (e *Engine) grounds(t *track, now uint32) []api.Ground {
	var out []api.Ground
	add := func(what string, at uint32, weight float64, said *api.Said) {
		g := api.Ground{What: what, Weight: weight, Detail: said.String(), Said: said}
		if at != 0 {
			w := utc(at)
			g.Time = &w
		}
		out = append(out, g)
	}
	dev := t.dev
	if dev.Power.State == cim.PowerLost {
		add("last-gasp", dev.Power.Since, oddsGasp, api.Say("ground.gasp"))
	}
	if t.own.State == cim.LinkLost {
		switch t.goneBy {
		case bySilence:
			add("silence", t.goneAt, oddsSilence, api.Say("ground.silence", "time", cim.Stamp(dev.LastSeen), "every", e.intervalOf(t)))
		default:
			add("will", t.goneAt, oddsWill, api.Say("ground.will"))
		}
		if dev.Power.State != cim.PowerLost && dev.Capabilities&uint16(record.CapBattery) != 0 {
			add("no-last-gasp", 0, oddsNoGasp, api.Say("ground.no-gasp"))
		}
	} else if dev.LastSeen != 0 && dev.Power.State != cim.PowerLost {
		add("heard", dev.LastSeen, 0, api.Say("ground.heard"))
	}
	if e.missed(t, now) {
		add("no-answer", t.asked, oddsMissed, api.Say("ground.no-answer", "within", time.Duration(e.answer)*time.Second))
	}
	if x := t.grid; x != nil && x.signs.onset != 0 {
		s := &x.signs
		siblings := func(what string, n int, weight float64) {
			if n > 0 {
				add(what, 0, weight, api.Say("ground."+what, "n", n, "all", s.total, "name", x.name))
			}
		}
		siblings("siblings-gasped", s.gasps, min(oddsGasp*float64(s.gasps), capGasps))
		siblings("siblings-gone", s.wills+s.silences, s.willOdds)
		siblings("siblings-silent", s.missed, oddsMissed*float64(s.missed))
		siblings("siblings-alive", s.alive, max(oddsAlive*float64(s.alive), 3*oddsAlive))
		siblings("siblings-back", s.back, 0)
		if s.mains {
			add("concentrator-mains", 0, oddsMains, api.Say("ground.mains", "name", x.name))
		}
	}
	if t.grid != nil {
		t.grid.up(func(y *element) bool {
			if y.out {
				add(scopes[y.level]+"-out", y.onset, y.odds, api.Say("ground.out", "scope", scopes[y.level], "name", y.name))
			}
			return true
		})
	}
	for n := t.node; n != nil && n.parent != nil; n = n.parent {
		if n.down() {
			add("concentrator-"+nodeNames[n.status], n.since, 0, api.Say("ground.concentrator", "id", n.id))
		}
	}
	if b := dev.Breaker; b.State == cim.BreakerOpen || b.State == cim.BreakerReady {
		add("breaker-"+b.State.String(), b.Since, 0, api.Say("ground.no-reading"))
	}
	if t.restarting(now) {
		add("restart", t.restartAt, 0, api.Say("ground.restart", "time", cim.Stamp(t.restartEnd)))
	}
	if w := e.covered(t, now); w != nil {
		add("maintenance", w.from, 0, w.said())
	}
	return out
}

func (e *Engine) intervalOf(t *track) time.Duration {
	if t.dev.Interval > 0 {
		return time.Duration(t.dev.Interval) * time.Minute
	}
	return e.o.Interval
}

// Verdicts counts how often each verdict was given since the start.
func (e *Engine) Verdicts() map[string]int64 {
	out := make(map[string]int64, len(verdictNames)-1)
	for v, n := range e.tally[1:] {
		out[verdictNames[v+1]] = n
	}
	return out
}
