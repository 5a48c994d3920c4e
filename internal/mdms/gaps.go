package mdms

import (
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/backfill"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// fewSlots is up to how many missing intervals a meter misses few, and its request is spread over time.
const fewSlots = 4

// dueEnd is up to where intervals of the given length may be asked for.
func (m *MDMS) dueEnd(now uint32, s *series) uint32 {
	grace := uint32(m.o.Backfill.Grace / time.Second)
	return s.finished(now - min(now, grace))
}

func (d *device) behind(due uint32) (n int) {
	d.each(func(s *series) {
		if s.from != 0 && s.complete < due {
			n = max(n, int((due-s.complete)/s.step()))
		}
	})
	return n
}

// lookForGaps wakes the planner for every meter that misses an interval which became due since the last look.
func (m *MDMS) lookForGaps(now uint32) {
	if m.o.Backfill.Off {
		return
	}
	// Every length divides a day and is a multiple of a minute: nothing becomes due between two minutes.
	grace := uint32(m.o.Backfill.Grace / time.Second)
	if minute := (now - min(now, grace)) / 60; !m.looking.going && m.due != minute {
		m.looked, m.due = m.due, minute
		m.looking.begin()
	}
	last, minute := m.looked, m.due
	wall, speed := time.Now(), m.o.Clock.Speed()
	spread := uint64(m.o.Backfill.Spread.Milliseconds())
	for _, d := range m.looking.part(m.devices, sweepPart) {
		// Only those of which an interval ended since the last look.
		step := uint32(d.imp.length)
		if !d.meters() || !d.registered() || last/step == minute/step || !d.Link.State.Reachable() {
			continue
		}
		n := d.behind(m.dueEnd(now, &d.imp))
		if n == 0 {
			continue
		}
		at := wall
		if n <= fewSlots && spread > 0 {
			// A fixed place for each meter, so that those of one concentrator do not ask together.
			ms := float64(uint64(d.Ordinal)*2654435761%spread) / speed
			at = wall.Add(time.Duration(ms * float64(time.Millisecond)))
		}
		m.planner.Wake(d.Ordinal, d.Path, at, false)
	}
}

// wake tells the planner that a meter can be reached, if something is missing.
func (m *MDMS) wake(d *device, now uint32, fresh bool) {
	if !m.o.Backfill.Off && d.meters() && d.registered() && d.Link.State.Reachable() && d.behind(m.dueEnd(now, &d.imp)) > 0 {
		m.planner.Wake(d.Ordinal, d.Path, time.Now(), fresh)
	}
}

// linkChanged keeps the planner to meters that can be reached.
func (m *MDMS) linkChanged(d *device) {
	if d.link == d.Link.State && d.path == d.Path {
		return
	}
	d.link, d.path = d.Link.State, d.Path
	if d.link.Reachable() {
		m.wake(d, m.o.Clock.Unix(), true)
	} else {
		m.planner.Forget(d.Ordinal)
	}
}

// asleep is how long a device still sleeps, wall time; 0 if it is awake.
func (m *MDMS) asleep(d *cim.EndDevice) time.Duration {
	now := m.o.Clock.Now()
	at := d.Wakes(uint32(now.Unix()))
	if at == 0 {
		return 0
	}
	return max(time.Duration(float64(unix(at).Sub(now))/m.o.Clock.Speed()), 0)
}

// What a meter misses of the last hours is fetched before the history of all meters, its own included. If all that it misses is
// younger than a day, it is fetched at once.
const (
	lastHours = 6 * 3600
	lastDay   = dayLength
)

// gap is what the planner asks for a meter.
func (m *MDMS) gap(ordinal uint32) (backfill.Span, bool) {
	out, _, ok := m.nextGap(ordinal)
	return out, ok
}

// live reports whether that is of the last hours.
func (m *MDMS) live(ordinal uint32) bool {
	_, live, ok := m.nextGap(ordinal)
	return live && ok
}

func (m *MDMS) nextGap(ordinal uint32) (out backfill.Span, live, ok bool) {
	d := m.devices[ordinal]
	if !d.Link.State.Reachable() {
		return out, false, false
	}
	due := m.dueEnd(m.o.Clock.Unix(), &d.imp)
	if out, ok = m.gapFrom(d, 0, due); !ok || out.From >= due-min(lastDay, due) {
		return out, ok, ok
	}
	if last, ok := m.gapFrom(d, due-min(lastHours, due), due); ok {
		return last, true, true
	}
	return out, false, true
}

// gapFrom is the first span after a time of which a channel of the device misses something that was due.
func (m *MDMS) gapFrom(d *device, after, due uint32) (out backfill.Span, ok bool) {
	span := uint32(m.o.Backfill.MaxSpan / time.Second)
	channels := 0
	d.each(func(s *series) {
		channels++
		from, to, n := s.gapFrom(after, due, span)
		switch {
		case n == 0:
		case out.To == 0:
			out.From, out.To = from, to
		default:
			out.From, out.To = min(out.From, from), max(out.To, to)
		}
	})
	if out.To == 0 {
		return out, false
	}
	out.To = min(out.To, out.From+span)
	slots := int((out.To - out.From) / d.imp.step())
	out.Parts = channels * (slots + record.ProfileValues - 1) / record.ProfileValues
	return out, true
}

// sendRequest asks a meter for a span of its load profile.
func (m *MDMS) sendRequest(ordinal uint32, id uint64, s backfill.Span) error {
	d := m.devices[ordinal]
	c := record.Command{Header: record.Header{Time: m.o.Clock.Unix()}, ID: id, Opcode: record.OpProfile, A: s.From, B: s.To}
	if d.exp != nil {
		c.Channel = record.ChannelAll
	}
	// A request that waited somewhere until it was sent anew would only be answered twice; but a meter that does not know
	// the time cannot tell.
	if record.Flags(d.Flags)&record.FlagClockUnsynchronised == 0 {
		c.Expiry = uint32(min(m.o.Clock.Deadline(6*m.o.Backfill.Timeout).Unix(), 1<<32-1))
	}
	err := m.o.Bus.SendDown(bus.Down{Target: topic.Device, Kind: d.Kind, ID: d.ID, Event: record.TypeCommand.Event(), QoS: 1, Payload: c.Append(nil)})
	m.countDown("backfill", err)
	return err
}

// sendCommand sends what the command engine says.
func (m *MDMS) sendCommand(d command.Down) error {
	err := m.o.Bus.SendDown(bus.Down(d))
	m.countDown("command", err)
	return err
}

func (m *MDMS) countDown(origin string, err error) {
	outcome := "sent"
	if err != nil {
		outcome = "error"
	}
	m.met.downlinks.WithLabelValues(origin, outcome).Inc()
}
