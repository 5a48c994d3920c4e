package outage

import (
	"math"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// How sure the engine is, and when. All of it is weighed as log-odds: what is observed adds the logarithm of how much likelier it
// is when the supply is gone than when it is there (docs/outages.md tells where each comes from).
const (
	oddsPrior   = -4.0 // something happened at a transformer: a lost supply is one cause of many
	oddsGasp    = 6.0  // a meter says so on its last charge; one in some hundred says it wrongly
	oddsWill    = 3.0  // a connection ended and did not come back
	oddsSilence = 2.5  // the same, seen by silence
	oddsNoGasp  = -0.5 // per meter with a battery that went without a last gasp: of ten, six get lost on the way
	oddsMissed  = 2.0  // asked twice over a concentrator that is there, and no answer
	oddsMains   = 5.0  // the concentrator on the same transformer says that its mains are gone
	oddsUp      = 6.0  // what it hangs on is out
	oddsAlive   = -7.0 // a meter was there all the time
	oddsFew     = 2.0  // a transformer of few meters, and nobody says otherwise

	capNoGasp = -4.0 // what takes one last gasp on its way may take others
	capGasps  = 24.0
	capWills  = 8.0
	capAlone  = 3.0 // wills over a concentrator that serves nobody else: it may be the concentrator
	capMode   = 1.0 // wills over a concentrator that lost its other meters too, without last gasps: it is the concentrator
	capUp     = 6.0 // what a meter inherits from its transformer

	oddsSure    = 2.944 // P = 0.95: an element is out
	oddsDoubt   = 0.0   // P = 0.5: it is not, after all
	oddsVerdict = 2.197 // P = 0.9: a meter has lost its supply
	doubtful    = 0.5   // P from which on a lost link is not put down to communication
)

// Spans of what goes over the wire, in seconds. On a business clock that runs faster they are more of its seconds: see Engine.timeWire.
const (
	clusterWindow = 600 // wills and last gasps further apart do not belong together
	companyWait   = 90  // from the first will to the last of meters that went together: half a keep-alive and what the way takes
	togetherWait  = 180 // between the first news of transformers that went together
	restoreWait   = 600 // after the last one came back
)

// Spans of business time, in seconds.
const (
	silenceWindow = 10 * 60   // and an interval: silence is noticed at two of these, so between meters that went together lies up to one
	clockSlack    = 30        // by how much the clocks of neighbours may differ
	gaspWindow    = 180       // last gasps that are further apart, by the meters' clocks, are of two troubles
	momentary     = 5 * 60    // IEEE 1366-2012, clause 2: up to here an interruption is momentary
	aWeek         = 7 * 86400 // a clock that is further behind than that is not believed
)

func chance(odds float64) float64 { return 1 / (1 + math.Exp(-odds)) }

// fewMeters are so few that one last gasp, or that all of them went together, tells more than their number says.
const fewMeters = 3

// signs are what the meters of a transformer show of one disturbance.
type signs struct {
	onset                          uint32
	gasped, first, last            uint32 // when the first last gasp came, and the first and the last of the other news; 0: none
	total                          int    // meters that could tell, those that are explained otherwise left out
	gasps, wills, silences         int
	alive, back, missed            int
	blocked, dark                  int // behind a lost concentrator; not heard of since, and not expected to be
	noGasp                         int // have a battery, and sent none
	explained                      int // restarts, maintenance of their own
	mains                          bool
	willOdds                       float64
	lastAlive, firstBack, lastBack uint32
}

func (s *signs) down() int { return s.gasps + s.wills + s.silences + s.missed }

// stayed weighs the meters that were there all the time.
func (s *signs) stayed() float64 { return max(oddsAlive*float64(s.alive), 3*oddsAlive) }

// enough is the rule of thumb beside the odds: two meters and half of those that tell anything, or one of one or two.
func (s *signs) enough() bool {
	d := s.down()
	return d >= 2 && 2*d >= d+s.alive || s.total <= 2 && s.gasps >= 1 && s.alive == 0
}

// gone reports whether the device is known to have left.
func (t *track) gone() bool {
	return t.dev.Power.State == cim.PowerLost || t.own.State == cim.LinkLost
}

// recent reports whether the device left as a part of what is going on now.
func (e *Engine) recent(t *track, x *element, now uint32) bool {
	if x.out {
		return t.goneAt+clockSlack+e.cluster >= x.onset
	}
	return t.goneAt+e.recently(t) >= now
}

// recently is for how long it counts that a device has left.
func (e *Engine) recently(t *track) uint32 {
	span := e.cluster
	switch {
	case t.dev.Power.State == cim.PowerLost:
		span = clusterWindow // last gasps wait for nothing
	case t.goneBy == bySilence:
		span += uint32(e.intervalOf(t)/time.Second) + silenceWindow - clusterWindow
	}
	return span
}

// together reports whether a last gasp is of the disturbance that began at onset, by the times that they carry. The first one of a meter may
// have got lost, and who goes later from a transformer that is out goes with it.
func (x *element) together(t *track, onset uint32) bool {
	return t.gaspAt+gaspWindow >= onset && (x.out || t.gaspAt <= onset+clusterWindow)
}

// missed reports whether the device was asked twice and answered neither. That it did not tells for a while, and for as long as it is taken to
// have lost its supply.
func (e *Engine) missed(t *track, now uint32) bool {
	return t.tries >= pingTry && t.dev.LastSeen < t.asked && now >= t.asked+e.answer && (now < t.asked+e.cluster+e.answer || t.cut != nil)
}

// timeWire takes over how long what goes over the wire takes: on a business clock that runs faster it is more of its seconds.
func (e *Engine) timeWire() {
	wire := func(s uint32) uint32 {
		d := e.o.Clock.Deadline(time.Duration(s) * time.Second).Sub(e.o.Clock.Now())
		return max(s, uint32(min(d/time.Second, aWeek)))
	}
	e.answer, e.company = wire(pingWait), wire(companyWait)
	// These are generous, and stay as they are until what they have to hold needs more.
	e.cluster, e.restore = max(clusterWindow, 2*e.company), max(restoreWait, e.company)
	e.together, e.again = max(togetherWait, e.company), max(pingAgain, 4*e.answer)
}

// restarting reports whether the device said that it would be away.
func (t *track) restarting(now uint32) bool { return t.restartAt != 0 && now < t.restartEnd }

// look counts what the meters of a transformer show. It walks over them twice and keeps nothing.
func (e *Engine) look(x *element, now uint32) signs {
	var s signs
	e.looks++
	gasps, heard := e.scratch[:0], uint32(0)
	for _, t := range x.meters {
		if !t.gone() || !e.recent(t, x, now) || t.restarting(now) || e.own(t, now) {
			continue
		}
		if t.dev.Power.State == cim.PowerLost {
			if s.gasped == 0 || t.goneAt < s.gasped {
				s.gasped = t.goneAt
			}
			if t.gaspAt+aWeek > now {
				gasps = append(gasps, t.gaspAt)
			}
		} else {
			if s.first == 0 || t.goneAt < s.first {
				s.first = t.goneAt
			}
			s.last = max(s.last, t.goneAt)
			heard = max(heard, min(t.dev.LastSeen, t.goneAt))
			n := t.node
			if n.look != e.looks {
				n.look, n.here, n.hereGone, n.hereGasped, n.hereBack = e.looks, 0, 0, 0, 0
			}
		}
	}
	e.scratch = gasps
	switch {
	case len(gasps) > 0:
		s.onset, s.first = common(gasps), s.gasped
	case heard != 0:
		s.onset = max(heard, s.first-min(s.first, e.company/2)) // they were there until then, or until shortly before their wills
	}
	if x.out {
		if s.onset == 0 || s.onset > x.onset || s.onset+e.cluster < x.onset {
			s.onset = x.onset
		}
	}
	if s.onset == 0 && !x.out {
		s.total = len(x.meters)
		return s // nothing is going on
	}
	for _, t := range x.meters {
		e.count(x, t, &s, now)
	}
	e.weighWills(x, &s, now)
	return s
}

// count adds one meter to the signs.
func (e *Engine) count(x *element, t *track, s *signs, now uint32) {
	n := t.node
	if n.look == e.looks {
		n.here++
		if t.gone() {
			n.hereGone++
			if t.dev.Power.State == cim.PowerLost {
				n.hereGasped++
			}
		} else if n.wave.has(t) {
			n.hereBack++
		}
	}
	if t.restarting(now) || e.own(t, now) {
		s.explained++
		return
	}
	if t.dev.Power.State != cim.PowerLost && t.aliveAt > s.onset+clockSlack && (t.own.State != cim.LinkLost || t.aliveAt > t.goneAt) {
		s.total++
		if t.goneAt+e.cluster >= s.onset && t.goneAt != 0 && t.goneAt >= x.calm || t.joinedAt >= s.onset {
			s.back++
			came := t.aliveAt // it is not known since when
			if t.backAt > s.onset {
				came = min(came, t.backAt)
			}
			s.lastBack = max(s.lastBack, came)
			if (!x.out || came > x.news) && (s.firstBack == 0 || came < s.firstBack) { // else it was its link, before
				s.firstBack = came
			}
		} else {
			s.alive++
			s.lastAlive = max(s.lastAlive, t.aliveAt)
		}
		return
	}
	switch {
	case t.own.State == cim.LinkNeverSeen:
		return
	case t.gone() && !e.recent(t, x, now), t.dev.Power.State == cim.PowerLost && !x.together(t, s.onset):
		return // a trouble of its own
	case t.dev.Power.State == cim.PowerLost:
		s.gasps++
	case t.gone():
		if t.goneBy == bySilence {
			s.silences++
		} else {
			s.wills++
		}
	case n.blocked:
		s.blocked++
	case e.missed(t, now):
		s.missed++
	default:
		s.dark++
	}
	if t.dev.Power.State != cim.PowerLost && t.dev.Capabilities&uint16(record.CapBattery) != 0 && (t.gone() || !n.blocked) {
		s.noGasp++
	}
	s.total++
}

// weighWills weighs the meters that went without a last gasp by the company they went in: a concentrator whose other meters
// went too, without last gasps, has a trouble of its own.
func (e *Engine) weighWills(x *element, s *signs, now uint32) {
	var mode, alone, fair float64
	again, mass := uint32(0), x.byMass()
	for _, t := range x.meters {
		if t.dev.Power.State == cim.PowerLost || !t.gone() || !e.recent(t, x, now) || t.restarting(now) || e.own(t, now) ||
			t.aliveAt > s.onset+clockSlack && t.aliveAt > t.goneAt {
			continue
		}
		w := oddsWill
		if t.goneBy == bySilence {
			w = oddsSilence
		}
		n := t.node
		others := len(n.devices) - n.here
		gone := n.counts[commLost] + n.counts[powerLost] - n.hereGone
		gasped := n.counts[powerLost] - n.hereGasped
		if v := &n.wave; v.spans[0] != 0 && now < v.last+e.company { // they went in the company of those that are back before them
			gone += v.backs[0] + v.backs[1] - n.hereBack
			gasped += v.backsOfPower[0] + v.backsOfPower[1]
			again = max(again, v.last+e.company)
		}
		switch {
		case n.parent == nil: // at the centre itself
			fair += w
		case mass:
			fair += w
		case others < 3:
			alone += w
		case 2*gone >= others && 10*gasped < others:
			mode += w
		default:
			fair += w
		}
	}
	if again != 0 {
		e.wakeAt(again, x)
	}
	few := 0.0
	if most := float64(s.wills) * oddsWill; s.total >= 2 && s.total <= fewMeters && s.wills == s.total && fair >= most && s.last <= s.first+e.company {
		few = oddsFew // two or three links do not fail by themselves in the same minute
	}
	s.willOdds = min(min(mode, capMode)+min(alone, capAlone)+fair, capWills) + few + max(oddsNoGasp*float64(s.noGasp), capNoGasp)
	x.concentrators(func(n *node) {
		if n.dev != nil && n.dev.grid == x && n.dev.dev.Power.State == cim.PowerLost {
			s.mains = true
		}
	})
}

// concentrators calls f with those of the meters of a transformer; with one more than once.
func (x *element) concentrators(f func(*node)) {
	var last *node
	for _, t := range x.meters {
		if t.node != last {
			last = t.node
			f(last)
		}
	}
}

// weigh makes the log-odds of a lost supply out of the signs.
func (x *element) weigh(s *signs) float64 {
	odds := oddsPrior + min(oddsGasp*float64(s.gasps), capGasps) + s.willOdds + min(oddsMissed*float64(s.missed), 3*oddsMissed) +
		s.stayed()
	if s.mains {
		odds += oddsMains
	}
	if x.implied && s.alive == 0 {
		odds += oddsUp
	}
	if s.total <= 2 && s.gasps > 0 && s.alive == 0 {
		odds += oddsFew
	}
	return odds
}

// inferTransformer judges a transformer anew. It reports whether it went out or came back.
func (e *Engine) inferTransformer(x *element, now uint32) (changed bool) {
	s := e.look(x, now)
	x.signs, x.odds = s, x.weigh(&s)
	if x.out { // those who are back do not make it less likely that it was
		before := x.odds - s.stayed()
		x.peak = max(x.peak, before)
		x.odds += x.peak - before
	}
	if s.onset == 0 && !x.out {
		x.odds = oddsPrior
	}
	was := x.out
	switch {
	case !x.out:
		if s.onset == 0 || x.odds < oddsSure || s.back > s.down() || !s.enough() && !(x.implied && s.alive == 0 && s.back == 0) {
			break
		}
		if s.gasps == 0 && !x.implied && !e.inCompany(x, now) {
			break
		}
		x.exact, x.news = s.gasps > 0, s.first
		e.goesOut(x, s.onset, now)
	case s.alive > 0 && x.odds < oddsDoubt && s.back <= s.alive:
		e.comesBack(x, true, now)
	default:
		x.onset = s.onset
		e.restoring(x, now)
	}
	if !x.out {
		e.verify(x, now)
	}
	return x.out != was
}

// inCompany reports whether it is time to believe wills without a last gasp: it would show by now if a concentrator had lost all its
// meters, and a sample of those that nothing is known of was asked.
func (e *Engine) inCompany(x *element, now uint32) bool {
	s := &x.signs
	due := max(s.first+e.company, e.quiet)
	if s.dark > 0 {
		if x.asked < s.onset {
			x.asked = 0
			e.verify(x, now)
		}
		if x.asked >= s.onset {
			due = max(due, x.asked+2*e.answer+pingWay)
		}
	}
	if now < due {
		e.wakeAt(due, x)
		return false
	}
	return true
}

func (e *Engine) goesOut(x *element, onset, now uint32) {
	x.out, x.restoring, x.taken = true, false, false
	x.onset, x.since, x.backAt, x.firstBack = onset, now, 0, 0
	e.stats.Found++
	if x.level == levelTransformer {
		x.peak = x.odds - x.signs.stayed()
		e.reconsiderNodes(x, now)
	}
	e.log.Debug("out of service", "element", scopes[x.level], "name", x.name, "onset", cim.Stamp(onset), "odds", x.odds, "signs", x.signs)
	e.verify(x, now)
}

// comesBack ends that an element is out; taken: it never was.
func (e *Engine) comesBack(x *element, taken bool, now uint32) {
	x.out, x.restoring, x.taken = false, false, taken
	x.calm = now
	e.log.Debug("in service", "element", scopes[x.level], "name", x.name, "never_out", taken, "odds", x.odds, "signs", x.signs)
}

// restoring looks whether an element that is out comes back: when 95 % of those who were out are there again, or nobody more
// has come for a while.
func (e *Engine) restoring(x *element, now uint32) {
	s := &x.signs
	if s.back == 0 {
		return
	}
	if !x.restoring || s.lastBack > x.backAt {
		x.restoring, x.backAt = true, max(s.lastBack, x.backAt)
		x.backSeen = now
	}
	if x.firstBack == 0 || s.firstBack < x.firstBack {
		x.firstBack = s.firstBack
	}
	left := s.down()
	if left*20 <= s.back || now >= max(x.backSeen+e.restore, e.quiet) {
		e.comesBack(x, false, now)
		if left+s.dark > 0 {
			x.asked = 0 // look for outages within the one that is over
			e.verify(x, now)
		}
		return
	}
	e.wakeAt(max(x.backSeen+e.restore, e.quiet), x)
}

// inferAbove judges a lateral or a feeder by the transformers below it. What went out on its own, at another time, says
// nothing of it. It reports whether it went out or came back.
func (e *Engine) inferAbove(x *element, now uint32) bool {
	around := x.news
	if !x.out {
		around = e.newsOf(x)
	}
	var out, up, back, all int
	var exactly, about []uint32
	x.transformers(func(y *element) {
		s := &y.signs
		switch {
		case y.planned, len(y.meters) == 0, s.onset != 0 && s.blocked == s.total && s.total > 0: // nobody there can tell
			return
		case y.out && !y.restoring && y.news+e.together < around:
			return // it was out before
		}
		all++
		if y.out && !y.restoring {
			out++
			if y.exact {
				exactly = append(exactly, y.onset)
			} else {
				about = append(about, y.onset)
			}
		}
	})
	exact := len(exactly) > 0
	onset := common(exactly)
	if !exact {
		onset = common(about)
	}
	if x.out && (x.exact || !exact) {
		onset = x.onset
	}
	x.transformers(func(y *element) {
		if y.planned || y.out && !y.restoring {
			return
		}
		switch heard, stayed := y.heardSince(onset); {
		case stayed:
			up++
		case heard:
			up++
			back++
		}
	})
	was := x.out
	tells := out + up
	switch {
	case !x.out:
		if around != 0 && out >= 2 && 10*out >= 7*tells && 10*out >= 3*all {
			x.odds = oddsSure + float64(min(out, 4))
			x.exact, x.news, x.mass = exact, around, false
			e.goesOut(x, onset, now)
		} else if onset, first := e.massWent(x, now); onset != 0 {
			x.odds = oddsSure + 1
			x.exact, x.news, x.mass = false, first, true
			e.goesOut(x, onset, now)
		}
	case tells == 0 || 2*out < tells:
		x.firstBack = now // unless a meter tells better
		x.transformers(func(y *element) {
			if at := y.signs.firstBack; at > x.news && at < x.firstBack {
				x.firstBack = at
			}
		})
		e.comesBack(x, 2*back < up, now)
	default:
		x.onset, x.exact = onset, x.exact || exact
	}
	if x.out != was {
		x.transformers(func(y *element) {
			y.implied = y.above()
			e.grid.touch(y)
		})
	}
	return x.out != was
}

// common is when most of them went out: the first that lies within the slack of clocks of the middle one.
func common(onsets []uint32) uint32 {
	if len(onsets) == 0 {
		return math.MaxUint32
	}
	slices.Sort(onsets)
	middle := onsets[len(onsets)/2]
	i, _ := slices.BinarySearch(onsets, middle-min(middle, clockSlack))
	return onsets[i]
}

// above reports whether something that a transformer hangs on is out.
func (x *element) above() bool { return x.parent != nil && x.parent.top() != nil }

// newsOf is when the first news came of transformers below that went out at the same time, the most that there are; 0 where
// there are no two.
func (e *Engine) newsOf(x *element) uint32 {
	var news []uint32
	x.transformers(func(y *element) {
		if y.out && !y.restoring && !y.planned {
			news = append(news, y.news)
		}
	})
	slices.Sort(news)
	most, at := 1, uint32(0)
	for i, j := 0, 0; i < len(news); i++ {
		for j < len(news) && news[j] <= news[i]+e.together {
			j++
		}
		if j-i > most {
			most, at = j-i, news[i]
		}
	}
	return at
}

// heardSince reports whether a meter of a transformer has proved since then that there is power, and whether one of those was
// there all the time: it neither went nor connected anew.
func (x *element) heardSince(onset uint32) (heard, stayed bool) {
	for _, t := range x.meters {
		if t.dev.Power.State == cim.PowerLost || t.aliveAt <= onset+clockSlack || t.own.State == cim.LinkLost && t.goneAt >= t.aliveAt {
			continue
		}
		heard = true
		if t.joinedAt < onset && (t.goneAt == 0 || t.goneAt < onset) && t.dev.Sequence != 0 {
			return true, true
		}
	}
	return heard, false
}
