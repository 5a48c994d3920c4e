package mdms

import (
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// enter does the work in RAM.
func (m *MDMS) enter(w *work, now uint32) {
	if w.call != nil {
		w.call()
	}
	wall := time.Now()
	if len(w.batches) > 0 {
		m.judge.heard.Store(wall.UnixNano())
	}
	speed := m.o.Clock.Speed()
	if m.o.Clock.Paused() {
		speed = 0
	}
	listening := m.outbox.readings()
	ago := func(age time.Duration) uint32 { return now - min(uint32(min(age.Seconds()*speed, 1<<31)), now) }
	each := func(b *bus.Batch, f func(*entry)) {
		e := entry{wall: wall, now: now, listening: listening}
		for x := range b.All() {
			e.Entry, e.at = x, now
			if age := min(wall.UnixMilli()-x.Received, 1<<40); age > 1000 {
				// It waited on the bus: it was received then, not now.
				e.at = ago(time.Duration(age) * time.Millisecond)
			}
			f(&e)
		}
	}
	for i := range w.ahead {
		each(&w.ahead[i], m.enterAhead)
	}
	for i := range w.batches {
		b := &w.batches[i]
		if b.Sequence <= m.position[b.Stream] {
			continue // committed, but the acknowledgement got lost
		}
		age := max(wall.Sub(b.Time), 0)
		m.hearing.heard(time.Unix(int64(ago(age)), 0), age, b.Behind, wall)
		each(b, m.enterEntry)
		m.pending.Stream, m.pending.Sequence = b.Stream, b.Sequence
	}
}

// entry is a message with its times: now is the centre's business time, at that of its arrival.
type entry struct {
	bus.Entry
	wall      time.Time
	now, at   uint32
	listening bool
}

func (m *MDMS) ignore(reason string) { m.met.ignored.WithLabelValues(reason).Inc() }

func (m *MDMS) enterEntry(x *entry) {
	if x.Event == "status" {
		m.enterStatus(x)
		return
	}
	m.ledger.at = x.at
	typ, err := record.Check(x.Payload)
	if err != nil {
		m.ignore(record.Reason(err))
		return
	}
	d := m.device(x.Kind, x.ID)
	if d == nil {
		return
	}
	if d.retired {
		m.ignore("retired")
		return
	}
	x.Path = m.intern(d, x.Path)
	m.met.count(typ)
	switch typ {
	case record.TypeReading:
		err = m.enterReading(d, x)
	case record.TypeProfile:
		err = m.enterProfile(d, x)
	case record.TypeMeasurement:
		err = m.enterMeasurement(d, x)
	case record.TypeSubmeter:
		err = m.enterSubmeter(d, x)
	case record.TypeLocation:
		err = m.enterLocation(d, x)
	case record.TypeFirmwareState:
		err = m.enterFirmwareState(d, x)
	case record.TypeResult:
		err = m.enterResult(d, x)
	case record.TypePower:
		var p record.Power
		if p, err = record.DecodePower(x.Payload); err == nil {
			m.outages.OnPower(&d.EndDevice, x.Path, p, x.at)
		}
	case record.TypeLost:
		var l record.Lost
		if l, err = record.DecodeLost(x.Payload); err == nil {
			m.outages.OnLost(&d.EndDevice, x.Path, l, x.at)
		}
	case record.TypeEvent:
		var e record.Event
		if e, err = record.DecodeEvent(x.Payload); err == nil {
			m.outages.OnMessage(&d.EndDevice, x.Path, typ, e.Header, x.at)
			if e.Code == record.EventSleeps && d.meters() {
				m.outages.OnSleeps(&d.EndDevice, e, x.at)
			}
			if e.Code == record.EventRestarts && d.meters() {
				m.outages.OnRestarts(&d.EndDevice, e.Parameter, x.at)
			}
			m.outbox.deviceEvent(d, e)
		}
	default:
		m.ignore("direction")
	}
	if err != nil {
		m.log.Warn("message not entered", "device", x.ID, "event", x.Event, "error", err)
		m.ignore("error")
	}
	m.markStale(d)
}

// intern returns a path that does not hold on to the batch it came in.
func (m *MDMS) intern(d *device, path string) string {
	switch {
	case path == d.EndDevice.Path:
		return d.EndDevice.Path
	case path != d.parent:
		d.parent = strings.Clone(path)
	}
	return d.parent
}

func (m *MDMS) enterStatus(x *entry) {
	if x.Kind != topic.Concentrator {
		m.ignore("event")
		return
	}
	word := string(x.Payload)
	switch word { // what Mosquitto's notification_topic sends (docs/contract.md, section 1)
	case "1":
		word = "online"
	case "0":
		word = "lost"
	}
	d := m.device(x.Kind, x.ID)
	if d == nil {
		return
	}
	if !m.outages.OnConcentrator(&d.EndDevice, m.intern(d, x.Path), d.ID, word, x.at) {
		m.ignore("status")
	}
	m.markStale(d)
}

func (m *MDMS) enterReading(d *device, x *entry) error {
	r, err := record.DecodeReading(x.Payload)
	if err != nil {
		return err
	}
	m.outages.OnMessage(&d.EndDevice, x.Path, record.TypeReading, r.Header, x.at)
	if !m.believable(d, x, r) {
		return nil
	}
	m.commands.OnReading(&d.EndDevice, r)
	if r.Time >= d.Registers.Time && uint64(r.Time) <= uint64(x.now)+futureLimit {
		m.power += int64(r.Power) - int64(d.Registers.Power)
		d.Registers = cim.Registers{Time: r.Time, Import: r.Import, Export: r.Export, Power: r.Power, Voltage: r.Voltage}
	}
	m.guessLength(d, r.Time)
	if d.exp == nil && r.Export != 0 && !d.registered() {
		m.export(d) // its registration, which would say so, got lost or comes later
		if window(r.Time, x.now) {
			if err := m.beginTogether(d, r.Time); err != nil {
				return err
			}
		}
	}
	aligned, err := m.ledger.reading(&d.imp, r.Time, r.Import, x.now)
	if err != nil {
		return err
	}
	if d.exp != nil {
		if _, err := m.ledger.reading(d.exp, r.Time, r.Export, x.now); err != nil {
			return err
		}
	}
	m.noteExpected(d)
	if aligned && r.Flags&flagsOfInterest != 0 {
		m.noteFlags(d, r)
	}
	if x.listening {
		m.outbox.reading(d, r, aligned, x.Received)
	}
	return nil
}

// beginTogether has the export register expected since when the import register is, or both since at.
func (m *MDMS) beginTogether(d *device, at uint32) error {
	if d.imp.from == 0 {
		if err := m.ledger.expect(&d.imp, at); err != nil {
			return err
		}
		m.noteExpected(d)
	}
	return m.ledger.expect(d.exp, d.imp.from)
}

// noteExpected keeps since when something is expected of a device, if that has changed.
func (m *MDMS) noteExpected(d *device) {
	feeding := uint32(0)
	if d.exp != nil && d.exp.from != d.imp.from {
		feeding = d.exp.from
	}
	if d.Expected != d.imp.from || d.Feeding != feeding {
		d.Expected, d.Feeding = d.imp.from, feeding
		m.markDirty(d)
	}
}

func (m *MDMS) enterProfile(d *device, x *entry) error {
	p, err := record.DecodeProfile(x.Payload)
	if err != nil {
		return err
	}
	m.outages.OnMessage(&d.EndDevice, x.Path, record.TypeProfile, p.Header, x.at)
	if p.Command&requestBit == 0 {
		m.commands.OnProfile(&d.EndDevice, &p)
	}
	s := &d.imp
	if p.Channel == record.ChannelExport {
		fresh := d.exp == nil
		if s = m.export(d); fresh {
			if err := m.beginTogether(d, p.Time); err != nil {
				return err
			}
		}
	}
	if !d.registered() && p.Slot != d.imp.length && p.Slot > 0 && 1440%p.Slot == 0 { // its slots are the meter's own intervals
		d.Interval = p.Slot
		m.assumeLength(d)
	}
	filled, err := m.ledger.profile(s, &p, x.now)
	if err != nil {
		return err
	}
	m.noteExpected(d)
	if m.outbox.wanted[api.EventProfile] {
		m.outbox.profile(d, &p, x.Received)
	}
	if !m.planner.Part(p.Command, filled, x.wall) && filled > 0 {
		m.planner.Late(d.Ordinal, x.wall)
	}
	return nil
}

func (m *MDMS) enterLocation(d *device, x *entry) error {
	l, err := record.DecodeLocation(x.Payload)
	if err != nil {
		return err
	}
	before, first := d.Sequence, !d.registered()
	if !m.outages.OnLocation(&d.EndDevice, x.Path, l, x.at) {
		return nil
	}
	if !d.meters() {
		return nil
	}
	if d.exports() {
		m.export(d)
	}
	if first {
		m.assumeLength(d)
	} else {
		m.setLength(d, l.Time, x.now)
	}
	// The device's own statement counts, but no further back than it has to keep.
	from := max(l.Oldest, x.now-min(giveUpDays*dayLength, x.now))
	if l.Oldest == 0 || l.Oldest > x.now {
		from = x.now // it holds nothing yet
	}
	if first {
		m.firstWord(d, from)
	}
	for _, s := range []*series{&d.imp, d.exp} {
		if s == nil {
			continue
		}
		forgot := s.oldest
		s.oldest = l.Oldest
		m.judgeForgotten(d, s, forgot)
		if err := m.ledger.expect(s, from); err != nil {
			return err
		}
		s.guessed = false
	}
	m.noteExpected(d)
	m.commands.Wake(&d.EndDevice)
	m.firmware.OnLocation(&d.EndDevice)
	m.wake(d, x.now, l.Sequence != before)
	return nil
}

func (m *MDMS) enterResult(d *device, x *entry) error {
	r, err := record.DecodeResult(x.Payload)
	if err != nil {
		return err
	}
	answer := command.NotOurs
	if r.Command&requestBit != 0 {
		if r.Outcome != record.Delivered {
			m.planner.Result(r.Command, x.wall)
		}
		m.firmware.OnResult(&d.EndDevice, &r)
	} else {
		answer = m.commands.OnResult(&d.EndDevice, r)
	}
	if answer == command.Applied && r.Outcome < record.Delivered {
		m.met.results.WithLabelValues(r.Outcome.String(), command.Reason(&r)).Inc()
	}
	if answer == command.Applied && r.Opcode == record.OpSetInterval && r.Outcome == record.Done {
		if c, err := m.commands.Get(r.Command); err == nil && c.Params.Minutes > 0 {
			d.Interval = uint16(c.Params.Minutes)
			m.setLength(d, r.Time, x.now)
			m.markDirty(d)
		}
	}
	m.outages.OnResult(&d.EndDevice, x.Path, r, answer == command.Applied, x.at)
	return nil
}
