package outage

import (
	"maps"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
)

// The thresholds of storm mode. An alarm is news that a device is gone: a last gasp, a will, silence.
const (
	stormAlarms = 200  // alarms a minute from which on there is a storm, at least
	stormShare  = 0.01 // of all devices: alarms a minute, or interruptions that go on
	stormCuts   = 200  // interruptions that go on from which on there is a storm, at least
	stormCalm   = 600  // s without as many as a quarter of that before it is over
	updateEvery = 5    // s between two updates of a case
	updateStorm = 30   // the same in a storm
)

// storm consolidates alarms when there are too many for anybody to read.
//
//	calm ──alarms or interruptions at the threshold──> storm ──below a quarter of it for 10 min──> calm
//
// In a storm single meters that are lost to communication get no case, one meter instead of three is asked at each transformer,
// and cases are told every 30 s. Nothing that is a fact is shed: what there was is found when it is over.
type storm struct {
	on      bool
	since   uint32
	quiet   uint32 // since when it is calm
	buckets [60]uint32
	second  uint32 // of the newest bucket
	sum     uint32
	peak    uint32
	count   int64 // how often there was one
	shed    map[string]int64
	dirty   bool
}

func (s *storm) advance(now uint32) {
	if now <= s.second {
		return
	}
	if now-s.second >= 60 {
		s.buckets, s.sum = [60]uint32{}, 0
	} else {
		for t := s.second + 1; t <= now; t++ {
			s.sum -= s.buckets[t%60]
			s.buckets[t%60] = 0
		}
	}
	s.second = now
}

// alarmed counts an alarm.
func (e *Engine) alarmed(now uint32) {
	e.storm.advance(now)
	e.storm.buckets[e.storm.second%60]++
	e.storm.sum++
	e.storm.peak = max(e.storm.peak, e.storm.sum)
	e.stats.Alarms++
}

func (e *Engine) shed(what string) {
	if e.storm.shed == nil {
		e.storm.shed = map[string]int64{}
	}
	e.storm.shed[what]++
}

func (e *Engine) stormThreshold() (alarms, cuts float64) {
	share := stormShare * float64(e.devices)
	return max(stormAlarms, share), max(stormCuts, share)
}

// weather enters and leaves storm mode.
func (e *Engine) weather(now uint32) {
	s := &e.storm
	s.advance(now)
	alarms, cuts := e.stormThreshold()
	rate, open := float64(s.sum), float64(e.cutsOpen)
	switch {
	case !s.on && (rate >= alarms || open >= cuts && rate >= alarms/4):
		s.on, s.since, s.quiet, s.peak = true, now, 0, s.sum
		s.count++
		s.dirty = true
		e.log.Warn("storm mode begins", "alarms_per_minute", s.sum, "interruptions", e.cutsOpen)
	case s.on && rate < alarms/4:
		if s.quiet == 0 {
			s.quiet = now
		}
		if now >= s.quiet+stormCalm {
			s.on, s.dirty = false, true
			e.log.Warn("storm mode ends", "lasted", time.Duration(now-s.since)*time.Second, "peak_alarms_per_minute", s.peak, "shed", s.shed)
			e.catchUp()
		}
	case s.on:
		s.quiet = 0
	}
}

// restoreStorm finds out, when all devices are added, whether there was a storm when the centre stopped. Alarms are not kept, but
// devices that went are: whose going was an alarm and who is not back counts as one. That is never more than there were.
func (e *Engine) restoreStorm(now uint32) {
	var went []uint32
	lost := 0
	for _, t := range e.tracks {
		if t == nil || t.slot < 0 || !t.gone() {
			continue
		}
		if t.dev.Power.State == cim.PowerLost {
			lost++
		}
		if t.goneAt <= now && t.goneAt+stormCalm > now {
			went = append(went, t.goneAt)
		}
	}
	slices.Sort(went)
	s := &e.storm
	alarms, cuts := e.stormThreshold()
	for first, last := 0, 0; last < len(went); last++ {
		for went[last]-went[first] >= 60 {
			first++
		}
		n := last - first + 1
		rate := float64(n)
		if !s.on && (rate >= alarms || float64(lost) >= cuts && rate >= alarms/4) {
			s.on, s.since, s.count = true, went[last], 1
		}
		if s.on && rate >= alarms/4 {
			s.quiet = went[last]
		}
		s.peak = max(s.peak, uint32(n))
	}
	if s.on {
		e.log.Warn("storm mode goes on", "since", cim.Stamp(s.since), "peak_alarms_per_minute", s.peak)
	}
}

// catchUp opens the cases that were shed and still have their reason.
func (e *Engine) catchUp() {
	for _, t := range e.tracks {
		if t != nil && t.slot >= 0 && t.own.State == cim.LinkLost && t.cut == nil && e.cases[t] == nil {
			e.later = append(e.later, t)
		}
	}
}

// Storm tells how things stand.
func (e *Engine) Storm() api.Storm {
	s := &e.storm
	s.advance(e.now())
	out := api.Storm{Active: s.on, AlarmsPerMinute: int(s.sum), Peak: int(s.peak), Interruptions: e.cutsOpen, Count: int(s.count), Shed: maps.Clone(s.shed)}
	if s.on {
		at := utc(s.since)
		out.Since = &at
	}
	return out
}

// held reports whether a change of a case waits: each is told every few seconds at most, but for its beginning and its end.
func (e *Engine) held(o *outage, now uint32) bool {
	if o.x == nil && o.w == nil || !o.told || o.end != 0 {
		return false
	}
	every := uint32(updateEvery)
	if e.storm.on {
		every = updateStorm
	}
	return now < o.toldAt+every
}

// InStorm reports whether alarms are consolidated.
func (e *Engine) InStorm() bool { return e.storm.on }

// Shed is how much was left out since the start.
func (e *Engine) Shed() (n int64) {
	for _, k := range e.storm.shed {
		n += k
	}
	return n
}

// Interruptions is how many meters are without supply now, by their verdict.
func (e *Engine) Interruptions() int { return e.cutsOpen }
