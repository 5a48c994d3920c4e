package outage

import (
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// The three facts of a device and what changes them.
//
//	link    never-seen ──any message──> up ──will of the current registration, or silence──> lost ──any message──> up
//	        (over it lie the concentrators: see Engine.seen)
//	power   unknown ──any message from mains──> on ──last gasp──> lost ──restored; new registration; any newer message──> on
//	breaker unknown ──result, flags──> none | open | closed | ready
//
// Messages come late, twice and in the wrong order; these rules make the outcome the same:
//
//   - A registration counts if its sequence is not below the current one. Its repeat does not bring up a link whose will has
//     come.
//   - A will counts once, and only for the current registration. After it the link comes up by a newer registration, or by
//     a message made after the will came: what the ended connection still had on its way is no sign of life.
//   - A message over a path where the device is not any more, or not yet, says nothing of its link. Of power and breaker it says what was
//     so when it was made, if its clock is synchronised.
//   - Power and breaker go by the devices' own times: a message that was made before the fact changes nothing, and one whose
//     clock is not synchronised goes by its arrival. Times ahead of the centre's are taken for its own.
//     A restart forgets the newest of these times and goes on with those of the facts: better a last gasp too many, which
//     the next message takes back, than one too few.
//   - A load profile part carries the time of old intervals, so it says nothing of power or breaker.
//   - A message made on battery says that the device is there, but nothing of the mains.

// stamp is when a message was made, as far as it can be believed.
func stamp(h record.Header, at uint32) uint32 {
	if h.Flags&record.FlagClockUnsynchronised != 0 || h.Time == 0 || h.Time > at {
		return at
	}
	return h.Time
}

// here takes the path of a message that was made at made, 0 for unknown, and reports whether the device stands there.
func (e *Engine) here(t *track, path string, made, at uint32) bool {
	dev := t.dev
	n := t.node
	if t.slot < 0 { // a concentrator
		_, id := topic.Parent(path)
		e.travelled(topic.Join(path, dev.ID), made, at)
		return id == t.node.id
	}
	if path == dev.Path && n.status == nodeOnline && !n.blocked {
		return true
	}
	n = e.travelled(path, made, at)
	if n == t.node {
		return true
	}
	if dev.Sequence == 0 { // it never registered: where it speaks from is all there is
		e.rehang(t, n)
		return true
	}
	e.stats.OldPaths++
	return false
}

// rehang moves a device to another concentrator.
func (e *Engine) rehang(t *track, n *node) {
	if t.slot < 0 || n == t.node {
		return
	}
	from := t.node
	from.counts[t.state]--
	from.detach(t)
	n.attach(t)
	n.counts[t.state]++
	t.dev.Path = n.path
	e.mark(t)
	e.emptied(from, e.now())
	e.filled(n)
}

func (e *Engine) lastSeen(t *track, at uint32) {
	t.heard = e.signs
	t.dev.LastSeen = at
	if x := t.grid; x != nil && (x.signs.onset != 0 || x.out || x.implied) {
		e.grid.touch(x) // what was made since may show that there is power
	}
	if t.dev.FirstSeen == 0 {
		t.dev.FirstSeen = at
		e.mark(t)
	}
}

// OnMessage takes any message of a device that has no method of its own: reading, profile, event. It sets LastSeen and Flags.
func (e *Engine) OnMessage(dev *cim.EndDevice, path string, typ record.Type, h record.Header, at uint32) {
	t := e.track(dev)
	e.signs++
	made := uint32(0)
	if typ != record.TypeProfile && typ != record.TypeSubmeter { // whose time is that of values
		made = stamp(h, at)
	}
	if !e.here(t, path, made, at) {
		if made != 0 && h.Flags&record.FlagClockUnsynchronised == 0 {
			e.mains(t, h, made, at)
			e.flags(t, h, made)
			e.refresh(t, at, typ.Event(), at)
		}
		return
	}
	e.lastSeen(t, at)
	dev.Flags = uint16(h.Flags)
	changed := e.up(t, h, made, at)
	if made != 0 {
		changed = e.mains(t, h, made, at) || changed
		changed = e.flags(t, h, made) || changed
	}
	if changed || t.dev.Link.State != t.own.State || t.due == 0 && t.periodic() {
		e.refresh(t, at, typ.Event(), at)
	}
}

// up takes a message, made at made (0: unknown), as proof of the device's link.
func (e *Engine) up(t *track, h record.Header, made, at uint32) bool {
	if t.own.State == cim.LinkUp {
		return false
	}
	if t.own.State == cim.LinkLost && t.willed && t.willSeq == t.dev.Sequence && made <= t.willAt &&
		h.Flags&record.FlagClockUnsynchronised == 0 {
		return false
	}
	if t.own.State == cim.LinkLost && h.Flags&record.FlagBattery == 0 {
		t.cameBack(made, at)
	}
	t.own = cim.Fact[cim.Link]{State: cim.LinkUp, Since: at}
	return true
}

// cameBack notes when a device that was gone was there again, by its own time: 0 where that is not known.
func (t *track) cameBack(made, at uint32) {
	if made == 0 {
		made = at
	}
	t.backAt = made
}

// mains takes a message as proof of power.
func (e *Engine) mains(t *track, h record.Header, made, at uint32) bool {
	if h.Flags&record.FlagBattery != 0 {
		return false
	}
	p := &t.dev.Power
	switch {
	case p.State == cim.PowerLost && h.Flags&record.FlagClockUnsynchronised == 0 && made <= t.gaspAt:
		return false
	case p.State != cim.PowerOn:
		return e.powerOn(t, made)
	}
	t.aliveAt = max(t.aliveAt, made)
	return false
}

func (e *Engine) powerOn(t *track, made uint32) bool {
	if p := t.dev.Power; p.State == cim.PowerLost && t.cut == nil && t.slot >= 0 {
		e.passed(t, p.Since, made, 0) // it went and came before anybody looked
	}
	if t.dev.Power.State == cim.PowerLost {
		t.cameBack(made, made)
	}
	t.dev.Power = cim.Fact[cim.Supply]{State: cim.PowerOn, Since: made}
	t.aliveAt = max(t.aliveAt, made)
	t.seqKnown = false
	e.mark(t)
	return true
}

// flags takes the breaker bit of a header.
func (e *Engine) flags(t *track, h record.Header, made uint32) bool {
	b := &t.dev.Breaker
	// Of the same second a result knows better; of two headers the later one does, for a device may register and report in one.
	if b.State != cim.BreakerUnknown && (made < t.breakerAt || made == t.breakerAt && t.breakerTold) {
		return false
	}
	to := cim.BreakerOpen
	if h.Flags&record.FlagBreakerOpen == 0 {
		switch {
		case t.dev.Capabilities&uint16(record.CapBreaker) != 0:
			to = cim.BreakerClosed
		case t.dev.Sequence != 0:
			to = cim.BreakerNone
		default:
			return false // it has not yet said whether it has one
		}
	} else if b.State == cim.BreakerReady {
		to = cim.BreakerReady // armed is open too
	}
	return e.breaker(t, to, made, false)
}

// breaker notes where the breaker is; told: by a result.
func (e *Engine) breaker(t *track, to cim.Breaker, made uint32, told bool) bool {
	t.breakerAt, t.breakerTold = made, told
	if t.dev.Breaker.State == to {
		return false
	}
	t.dev.Breaker = cim.Fact[cim.Breaker]{State: to, Since: made}
	e.mark(t)
	return true
}

// OnLocation takes a registration. If it counts, it sets the device's Path, Sequence, Firmware, Interval, Capabilities and
// Oldest, and returns true.
func (e *Engine) OnLocation(dev *cim.EndDevice, path string, m record.Location, at uint32) bool {
	t := e.track(dev)
	e.signs++
	made := stamp(m.Header, at)
	n := e.travelled(path, made, at)
	if m.Sequence < dev.Sequence {
		e.stats.OldRegistrations++
		return false
	}
	newer := m.Sequence > dev.Sequence
	if newer {
		t.joinedAt = at
		t.cameBack(made, at)
		t.restartAt, t.restartEnd = 0, 0
	}
	e.rehang(t, n)
	if newer && dev.SleepEvery != 0 { // it has connected anew, and is awake until it says otherwise
		dev.SleepFrom, dev.SleepEvery = 0, 0
		e.mark(t)
	}
	if newer || m.Firmware != dev.Firmware || m.Interval != dev.Interval || uint16(m.Capabilities) != dev.Capabilities || m.Oldest != dev.Oldest {
		dev.Sequence, dev.Firmware, dev.Interval, dev.Capabilities, dev.Oldest = m.Sequence, m.Firmware, m.Interval, uint16(m.Capabilities), m.Oldest
		e.mark(t)
	}
	if newer && t.earlyAt != 0 && t.earlySeq == m.Sequence {
		t.willed, t.willSeq, t.willAt = true, m.Sequence, t.earlyAt
		t.own = cim.Fact[cim.Link]{State: cim.LinkLost, Since: t.earlyAt}
		t.left(byWill, t.earlyAt)
		e.refresh(t, at, "will", t.earlyAt)
	}
	if !t.willed || t.willSeq != m.Sequence { // else its connection has ended already
		e.lastSeen(t, at)
		dev.Flags = uint16(m.Flags)
		e.up(t, m.Header, made, at)
	}
	if !e.mains(t, m.Header, made, at) && dev.Power.State == cim.PowerLost && m.Flags&record.FlagBattery == 0 &&
		m.Sequence > t.gaspSeq && made >= t.gaspAt {
		e.powerOn(t, made) // it connected anew after its last gasp, be it in the same second
	}
	e.flags(t, m.Header, made)
	e.refresh(t, at, "registration", at)
	return true
}

// OnSleeps takes the word of a device that it sleeps, and wakes at the message's time and every so many seconds behind it; 0:
// that it stays awake. OnMessage has been told of the message before.
func (e *Engine) OnSleeps(dev *cim.EndDevice, m record.Event, at uint32) {
	t := e.track(dev)
	if dev.SleepFrom == m.Time && dev.SleepEvery == m.Parameter || dev.Sequence == 0 {
		return // a repeat; or nobody knows where it is
	}
	dev.SleepFrom, dev.SleepEvery = m.Time, m.Parameter
	if m.Parameter == 0 {
		dev.SleepFrom = 0
	}
	e.mark(t)
	e.refresh(t, at, "event", at)
}

// OnLost takes a will.
func (e *Engine) OnLost(dev *cim.EndDevice, path string, m record.Lost, at uint32) {
	t := e.track(dev)
	e.signs++
	e.here(t, path, 0, at)
	if m.Sequence > dev.Sequence {
		if m.Sequence >= t.earlySeq || t.earlySeq <= dev.Sequence {
			t.earlySeq, t.earlyAt = m.Sequence, at // it overtook its registration, and counts when that comes
		}
		return
	}
	if m.Sequence < dev.Sequence || t.willed && t.willSeq == m.Sequence {
		e.stats.OldWills++
		return
	}
	t.willed, t.willSeq, t.willAt = true, m.Sequence, at
	t.left(byWill, at)
	if !t.restarting(at) {
		e.alarmed(at)
	}
	if t.own.State != cim.LinkLost {
		t.own = cim.Fact[cim.Link]{State: cim.LinkLost, Since: at}
	}
	e.refresh(t, at, "will", at)
}

// OnPower takes a power message.
func (e *Engine) OnPower(dev *cim.EndDevice, path string, m record.Power, at uint32) {
	t := e.track(dev)
	e.signs++
	made := stamp(m.Header, at)
	here := e.here(t, path, made, at)
	switch m.Kind {
	case record.PowerLost:
		e.gasp(t, m, made, at, here)
		return
	case record.PowerRestored:
		if !e.olderPower(t, m, made) {
			t.joinedAt = at
			if dev.Power.State != cim.PowerOn || t.backAt > made || t.gone() {
				t.backAt = made
			}
			if dev.Power.State != cim.PowerOn {
				e.powerOn(t, made)
			}
			t.aliveAt = max(t.aliveAt, made)
			t.powerSeq, t.seqKnown = m.Sequence, true
			e.mark(t)
		}
		e.toldOutage(t, m, made, at)
	}
	if here {
		e.lastSeen(t, at)
		dev.Flags = uint16(m.Flags)
		e.up(t, m.Header, made, at)
		e.flags(t, m.Header, made)
	}
	what := "restored"
	if m.Kind == record.BatteryLow {
		what = "battery-low"
	}
	e.refresh(t, at, what, made)
}

// olderPower reports whether a power message was made before the one that made the fact.
func (e *Engine) olderPower(t *track, m record.Power, made uint32) bool {
	since := t.dev.Power.Since
	if t.dev.Power.State == cim.PowerLost {
		since = t.gaspAt
	}
	if t.dev.Power.State == cim.PowerUnknown || made > since {
		return false
	}
	return made < since || t.seqKnown && int16(m.Sequence-t.powerSeq) <= 0
}

// gasp takes a last gasp. It is the end of what the device says, so it brings up no link that has been lost.
func (e *Engine) gasp(t *track, m record.Power, made, at uint32, here bool) {
	if made < t.aliveAt || e.olderPower(t, m, made) {
		e.stats.OldGasps++
		return
	}
	t.gaspAt, t.gaspSeq = max(t.gaspAt, made), t.dev.Sequence
	if t.cut != nil {
		t.cut.told = 0 // that it was back, it has gone again before that was looked at
	}
	t.left(byGasp, at)
	e.alarmed(at)
	t.powerSeq, t.seqKnown = m.Sequence, true
	if t.dev.Power.State != cim.PowerLost {
		t.dev.Power = cim.Fact[cim.Supply]{State: cim.PowerLost, Since: made}
		e.mark(t)
	}
	if here {
		e.lastSeen(t, at)
		t.dev.Flags = uint16(m.Flags)
		if t.own.State == cim.LinkNeverSeen {
			e.up(t, m.Header, made, at)
		}
	}
	e.refresh(t, at, "last-gasp", made)
}

// OnResult takes a command result. fresh tells that it is the device's first word on a command: only then the breaker
// position in it counts, for a repeated result repeats an old one.
func (e *Engine) OnResult(dev *cim.EndDevice, path string, m record.Result, fresh bool, at uint32) {
	if t := e.track(dev); fresh && t.slot >= 0 {
		if made := stamp(m.Header, at); t.dev.Breaker.State == cim.BreakerUnknown || made >= t.breakerAt {
			switch m.Breaker {
			case record.BreakerOpen:
				e.breaker(t, cim.BreakerOpen, made, true)
			case record.BreakerClosed:
				e.breaker(t, cim.BreakerClosed, made, true)
			case record.BreakerReady:
				e.breaker(t, cim.BreakerReady, made, true)
			}
		}
		e.refresh(t, at, "result", at)
	}
	e.OnMessage(dev, path, record.TypeResult, m.Header, at)
}

// evidenceOf maps what happened to the words of the API; what is no evidence is "".
func evidenceOf(what string) string {
	switch {
	case what == "last-gasp", what == "will", what == "silence", what == "restored", what == "reading", what == "registration",
		what == "result", strings.HasPrefix(what, "concentrator-"):
		return what
	case what == "":
		return ""
	}
	return "reading" // any other message shows the same: it is there
}
