package mdms

import (
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// outbox holds events until what they tell is committed.
//
//	later, reading, … ──> waiting ── settle: in the commit that is being built ──> ready ── take: committed ──> published
type outbox struct {
	bus     *bus.Bus
	clock   *clock.Clock
	waiting []api.Event
	ready   []api.Event
	states  []*device  // to be told as events of type state
	wanted  bus.Wanted // by other systems, in this turn

	// Who listens on the bus to what a turn always asks about.
	ofReadings, ofStates *bus.Interest
	asked                []*bus.Interest // all about meters that is only told while somebody listens
}

func newOutbox(b *bus.Bus, clk *clock.Clock) outbox {
	o := outbox{bus: b, clock: clk}
	if b != nil { // books have none
		o.ofReadings, o.ofStates = b.Interest(topic.Meter, api.EventReading), b.Interest(topic.Meter, api.EventState)
		o.asked = []*bus.Interest{o.ofReadings, o.ofStates, b.Interest(topic.Meter, api.EventDevice), b.Interest(topic.Meter, api.EventSubMeter)}
	}
	return o
}

// keepAsking asks the bus who listens to what meters tell. Its answer is there at the next question only, which may be the next reading, half
// an hour later: that of a program that came meanwhile would be missed. Any goroutine may call it.
func (o *outbox) keepAsking() {
	for _, x := range o.asked {
		x.Somebody()
	}
}

// readings reports whether somebody wants the events of readings, in this turn.
func (o *outbox) readings() bool { return o.wanted[api.EventReading] || o.ofReadings.Somebody() }

// listening reports whether somebody wants events of a kind and name.
func (o *outbox) listening(kind, name string) bool {
	return o.wanted[name] || o.bus.EventInterest(kind, name)
}

func (o *outbox) later(evs []api.Event) { o.waiting = append(o.waiting, evs...) }

// settle moves everything to what the commit under way covers.
func (o *outbox) settle() {
	o.ready = append(o.ready, o.waiting...)
	o.waiting = nil
}

func (o *outbox) take() []api.Event {
	out := o.ready
	o.ready = nil
	return out
}

// add makes an event of a device. Nobody misses one that cannot be made: its data are plain structs.
func (o *outbox) add(d *device, name string, at time.Time, data any) { o.addAs("", d, name, at, data) }

// addAs is like add for an event that may be made twice: with an id of its own.
func (o *outbox) addAs(id string, d *device, name string, at time.Time, data any) {
	ev, err := bus.NewEvent(name, "/"+topic.Join(d.EndDevice.Path, d.Kind)+"/"+d.ID, d.ID, at, data)
	if err != nil {
		return
	}
	if id != "" {
		ev.ID = id
	}
	o.waiting = append(o.waiting, ev)
}

func (o *outbox) deviceEvent(d *device, e record.Event) {
	if o.listening(d.Kind, api.EventDevice) {
		o.add(d, api.EventDevice, o.clock.Now(), api.DeviceEvent{Meter: d.ID, Code: int(e.Code), Parameter: e.Parameter, Time: unix(e.Time)})
	}
}

// reading tells of a reading, with the interval that it ended if that is known.
func (o *outbox) reading(d *device, r record.Reading, aligned bool, received int64) {
	ev := api.ReadingEvent{Meter: d.ID, Path: d.EndDevice.Path, Flags: flagNames(uint16(r.Flags)), Received: time.UnixMilli(received).UTC(),
		Register: register(cim.Registers{Time: r.Time, Import: r.Import, Export: r.Export, Power: r.Power, Voltage: r.Voltage})}
	if aligned {
		step := d.imp.step()
		row := d.imp.find(cim.DayOf(r.Time - 1))
		if i, ok := cellIn(row, r.Time); ok && row.step() == step {
			it := row.reading(i)
			if d.exp != nil {
				if j, ok := cellIn(d.exp.find(row.day), r.Time); ok {
					it.Export = wattHours(d.exp.find(row.day).cells[j].wh)
				}
			}
			ev.Interval = &it
		}
	}
	o.add(d, api.EventReading, o.clock.Now(), ev)
}

func cellIn(r *dayRow, t uint32) (int, bool) {
	if r == nil {
		return 0, false
	}
	return r.cellEnding(t)
}

// tellStates makes the events of devices whose facts changed.
func (m *MDMS) tellStates() {
	states := m.outbox.states
	m.outbox.states = states[:0]
	if len(states) == 0 || len(states) > 100 && !m.outbox.wanted[api.EventState] && !m.outbox.ofStates.Somebody() {
		return // nobody listens: not worth the work
	}
	seen := map[*device]bool{}
	for _, d := range states {
		if !seen[d] {
			seen[d] = true
			m.outbox.add(d, api.EventState, m.o.Clock.Now(), m.view(d))
		}
	}
}

// publish sends events; they go to those who listen at this moment, so an error is theirs to notice.
func (m *MDMS) publish(evs []api.Event) {
	for i := range evs {
		kind, id := origin(evs[i].Source)
		name := strings.TrimSuffix(strings.TrimPrefix(evs[i].Type, "wattbus."), ".v1")
		if err := m.o.Bus.PublishEvent(kind, name, id, evs[i]); err != nil {
			m.log.Warn("event not published", "name", name, "device", id, "error", err)
			return
		}
	}
}

// origin takes the last two parts of an event's source: /<path>/<kind>/<id>.
func origin(source string) (kind, id string) {
	rest, id := topic.Parent(source)
	_, kind = topic.Parent(rest)
	return kind, id
}
