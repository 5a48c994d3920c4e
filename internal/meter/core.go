package meter

import (
	"fmt"
	"math"

	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
)

// Memory of the load profile, in seconds (contract, section 2, Readings).
const (
	Memory45Days = 45 * 86400
	// cutMemory is how long cuts are remembered: longer, so that every interval of the memory is exact.
	cutMemory = Memory45Days + 86400
)

// The times that a meter's clock can show: 2000 to 2100 when it is set, and in any case some days less than 32 bits, so that
// sums of a time and an interval fit.
const (
	minClock = 946_684_800
	maxClock = 4_102_444_800
	endTime  = math.MaxUint32 - 30*86400
)

func validClock(t uint32) bool { return t >= minClock && t <= maxClock }

// backlog is how many readings of past intervals are sent at most when the meter's clock jumps forward; the centre fetches
// the others as a load profile.
const backlog = 48

// message is an outgoing message; its topic is up/<kind>/<id>/<event>.
type message struct {
	event   string
	payload []byte
	qos     byte
}

func msg(t record.Type, payload []byte) message {
	m := message{event: t.Event(), payload: payload, qos: 1}
	if t == record.TypeLocation {
		m.qos = 0
	}
	return m
}

// core is a meter without I/O. Its methods take the business time in seconds since the epoch; what they return is to be sent
// once save's bytes are in the store. It is not safe for concurrent use.
type core struct {
	firmware uint32
	caps     record.Capabilities
	mode     ControlMode
	voltage  uint64 // seed of the voltage's small variations

	st      State
	curve   curve
	samples *Samples // of a meter with hardware, in the place of the curve; nil: there is none
	asks    bool     // the hardware has a profile memory of its own
	now     uint32   // the meter's clock at the last call

	err   error  // nothing more may be done: the profile memory cannot be written, or there are no counters left
	acked bool   // the centre has acknowledged the registration of this connection
	next  uint32 // end of the interval whose reading is sent next, meter's clock

	seal   sealing
	images images

	// What has not been saved yet.
	dirty    bool
	since    record.Header // when the present connection was made
	newCuts  bool
	newImage bool
	executed int // commands at the end of st.Executed
}

// config is what a core is made from.
type config struct {
	id, kind       string
	ring           *seal.Ring
	firmware       uint32
	caps           record.Capabilities
	mode           ControlMode
	sources        [2]Source
	interval       uint16
	history        uint32 // seconds of the past that the profile holds at the very first start
	unsynchronised bool
	update         *Update

	hardware *Hardware
	oldest   uint32 // start of what the hardware's own memory holds; 0: nothing
}

// newCore starts a meter at a business time: anew, or where it stopped.
func newCore(c config, st State, kept bool, at uint32) *core {
	m := &core{firmware: c.firmware, caps: c.caps, mode: c.mode, curve: curve{source: c.sources}, st: st}
	m.seal = sealing{id: c.id, kind: c.kind, ring: c.ring, next: st.Counter}
	for i := range len(c.id) {
		m.voltage = (m.voltage ^ uint64(c.id[i])) * 1099511628211
	}
	if c.sources[1] != nil {
		m.caps |= record.CapExport
	}
	if c.hardware != nil {
		m.samples, m.asks = c.hardware.Samples, c.hardware.Register != nil
	}
	if !kept {
		m.st = State{Interval: c.interval, Unsynchronised: c.unsynchronised, Breaker: record.BreakerClosed}
		if c.caps&record.CapBreaker == 0 {
			m.st.Breaker = record.BreakerNone
		}
		m.st.First = alignDown(at-min(at, min(c.history, Memory45Days)), m.slot())
		if m.samples != nil { // the first interval of which it will know the beginning
			m.st.First = alignUp(at, m.slot())
			if c.oldest != 0 && c.oldest < at {
				m.st.First = alignUp(max(c.oldest, at-min(at, Memory45Days)), m.slot())
			}
		}
		m.dirty = true
	}
	if has := m.st.Breaker != record.BreakerNone; has != (c.caps&record.CapBreaker != 0) { // it was rebuilt
		m.st.Breaker = record.BreakerNone
		if !has {
			m.st.Breaker = record.BreakerClosed
		}
		m.dirty = true
	}
	m.curve.load(m.st.Base, m.st.Cuts)
	m.tell(at)
	m.setLoad()
	m.restart()
	m.startImages(c.update)
	return m
}

// resume takes over where the hardware's breaker is. A switch that was under way when the meter died is done if the breaker is where
// it was to go; else it stays failed. It is not carried out again.
func (m *core) resume(p record.Breaker) {
	for i := len(m.st.Executed) - 1; i >= 0; i-- {
		e := m.st.Executed[i]
		if !switches(e.Opcode) || e.Outcome == record.Refused || e.Outcome == record.Expired || e.Outcome == record.NotSupported {
			continue // it moved nothing
		}
		if e.Outcome == record.Failed && e.Detail == record.DetailUnfinished && (e.Opcode == record.OpDisconnect) == (p == record.BreakerOpen) {
			e.Outcome, e.Detail, e.Breaker = record.Done, 0, p
			m.st.remember(e)
			m.executed++
			m.dirty = true
		}
		break // earlier ones moved it before that
	}
	if m.st.Breaker != p {
		m.st.Breaker = p
		m.dirty = true
	}
}

// moved takes over a position of the breaker that no command brought about.
func (m *core) moved(at uint32, p record.Breaker) []message {
	if p == m.st.Breaker {
		return nil
	}
	if m.st.Breaker == record.BreakerReady && p == record.BreakerClosed {
		if e, ok := m.closeBreaker(at); ok {
			return []message{e}
		}
	}
	m.tell(at)
	m.setBreaker(p)
	return nil
}

// wanted says of which end of an interval the hardware is to be asked for the registers, if of any, and the meter's time.
func (m *core) wanted(at uint32) (end, now uint32, ok bool) {
	now = m.tell(at)
	if end = alignDown(now, m.slot()); m.next > now {
		return end, now, false
	}
	_, have := m.samples.at(end)
	return end, now, !have
}

// tell sets the meter's clock from the business time.
func (m *core) tell(at uint32) uint32 {
	m.now = uint32(min(max(int64(at)+m.st.Offset, 0), endTime))
	return m.now
}

// slot is the reading interval in seconds.
func (m *core) slot() uint32 { return uint32(m.st.Interval) * 60 }

// restart makes the interval that runs now the first one to send a reading of.
func (m *core) restart() { m.next = alignDown(m.now, m.slot()) + m.slot() }

// oldest is the start of the oldest interval in the profile at a time.
func (m *core) oldest(now, slot uint32) uint32 {
	first := alignDown(now, slot)
	return max(alignUp(m.st.First, slot), first-min(first, Memory45Days))
}

func (m *core) flags() record.Flags {
	var f record.Flags
	if m.st.Unsynchronised {
		f |= record.FlagClockUnsynchronised
	}
	if m.st.PowerLost != 0 {
		f |= record.FlagBattery
	}
	if m.open() {
		f |= record.FlagBreakerOpen
	}
	return f
}

// open reports whether the breaker is open; one that is ready to be closed is.
func (m *core) open() bool {
	return m.st.Breaker == record.BreakerOpen || m.st.Breaker == record.BreakerReady
}

func (m *core) header() record.Header { return record.Header{Flags: m.flags(), Time: m.now} }

// attempt begins an attempt to connect: the registration sequence grows by one, up to the greatest there is, where it stays: the
// centre takes the newest word of a sequence that it has. It returns the will.
func (m *core) attempt(at uint32) message {
	m.tell(at)
	if m.st.Sequence < math.MaxUint32 {
		m.st.Sequence++
	}
	m.acked = false
	m.dirty = true
	m.since = m.header()
	return m.lost()
}

// lost says that the present connection is over: its will, and the farewell of a meter that is stopped.
func (m *core) lost() message {
	return msg(record.TypeLost, record.Lost{Header: m.since, Sequence: m.st.Sequence}.Append(nil))
}

// location is the registration of the present connection.
func (m *core) location(at uint32) message {
	m.tell(at)
	return msg(record.TypeLocation, record.Location{Header: m.header(), Sequence: m.st.Sequence, Firmware: uint32(m.running()),
		Interval: m.st.Interval, Capabilities: m.caps, Oldest: m.oldest(m.now, m.slot())}.Append(nil))
}

// effects are what a message brought about, beside the change of the state.
type effects struct {
	task       *task      // for the hardware, before there is an answer
	image      *imageTask // for the memory of images, before there is a state to tell
	state      *message   // how far it is with an image, to be told
	answer     *Executed  // to be answered, for the first time or again
	again      bool       // the command had been executed before
	groups     bool       // the membership may have changed: subscribe accordingly
	registered bool       // the registration was acknowledged
	reconnect  bool       // connect anew: the centre has a higher sequence
	timing     bool       // the clock or the interval changed: readings are due at other times
}

// locationAck handles the centre's answer to a registration.
func (m *core) locationAck(at uint32, a record.LocationAck) (e effects) {
	m.tell(at)
	switch {
	case a.Sequence > m.st.Sequence:
		// The centre knows a later life of this device, which was wiped since. The next attempt adds one.
		m.st.Sequence = a.Sequence
		m.dirty = true
		e.reconnect = true
		return e
	case a.Sequence < m.st.Sequence:
		return e // the late answer to an earlier connection
	}
	m.acked = true
	e.registered = true
	if a.Interval != 0 && a.Interval != m.st.Interval && validInterval(uint32(a.Interval)) {
		m.setInterval(a.Interval)
		e.timing = true
	}
	if m.st.Unsynchronised && validClock(a.Time) {
		m.setClock(a.Time)
		e.timing = true
	}
	return e
}

func validInterval(minutes uint32) bool { return minutes > 0 && minutes <= 1440 && 1440%minutes == 0 }

func (m *core) setInterval(minutes uint16) {
	m.st.Interval = minutes
	m.dirty = true
	m.restart()
}

// setClock sets the meter's clock. Set back, it lives through a part of its load curve again with the same values, and what is
// cut off from now on begins no earlier than where it had been: no interval that was told changes.
func (m *core) setClock(to uint32) {
	if to < m.now {
		m.st.Floor = max(m.st.Floor, m.now)
	}
	if m.samples != nil && to < m.now {
		if err := m.samples.cut(to); err != nil {
			m.err = fmt.Errorf("keeping its load profile: %w", err)
		}
	}
	m.st.Offset += int64(to) - int64(m.now)
	m.st.Unsynchronised = false
	m.now = to
	m.dirty = true
	m.restart()
}

// setLoad begins or ends a cut as breaker and power demand.
func (m *core) setLoad() {
	if m.samples != nil { // hardware knows itself what it consumed
		return
	}
	off := m.open() || m.st.PowerLost != 0
	switch {
	case off == m.curve.running():
		return
	case off:
		m.curve.begin(max(m.now, m.st.Floor, m.curve.edge()))
	default:
		m.curve.end(m.now)
	}
	if folded := m.curve.forget(m.now-min(m.now, cutMemory), MaxCuts); len(m.curve.cuts) >= MaxCuts {
		m.st.First = max(m.st.First, folded) // what lies before is no longer known
	}
	m.st.Base, m.st.Cuts = m.curve.base, m.curve.cuts
	m.dirty, m.newCuts = true, true
}

// due returns the readings of the intervals that have ended, oldest first.
func (m *core) due(at uint32) (out []message) {
	now := m.tell(at)
	if m.next > now {
		return nil
	}
	if last := alignDown(now, m.slot()); last-m.next > (backlog-1)*m.slot() {
		m.next = last - (backlog-1)*m.slot()
	}
	for ; m.next <= now; m.next += m.slot() {
		if m.open() || m.st.PowerLost != 0 { // contract, section 2, Intervals
			continue
		}
		if m.samples != nil {
			if _, ok := m.samples.at(m.next); !ok {
				continue
			}
		}
		m.st.ReadingSeq++
		out = append(out, msg(record.TypeReading, m.reading(m.next, m.flags(), m.st.ReadingSeq)))
	}
	return out
}

// nextDue is the business time of the next periodic reading.
func (m *core) nextDue() int64 { return int64(m.next) - m.st.Offset }

// reading is the state of the registers at t.
func (m *core) reading(t uint32, flags record.Flags, seq uint16) []byte {
	if m.samples != nil {
		s, _ := m.samples.at(t)
		return record.Reading{Header: record.Header{Flags: flags | s.Flags, Time: t}, Import: s.Import, Export: s.Export, Power: s.Power,
			Voltage: s.Voltage, Sequence: seq}.Append(nil)
	}
	r := record.Reading{Header: record.Header{Flags: flags, Time: t}, Import: m.curve.register(0, t), Export: m.curve.register(1, t),
		Sequence: seq}
	if flags&record.FlagBreakerOpen == 0 {
		r.Power = m.power(t)
		r.Voltage = m.volts(t)
	}
	return r.Append(nil)
}

// power is the mean active power of the load curve over the half hour that ends at or behind t, W.
func (m *core) power(t uint32) int32 {
	const half = 1800
	start := alignDown(t-min(t, 1), half)
	w := (int64(m.curve.energy(0, start, start+half)) - int64(m.curve.energy(1, start, start+half))) * 2
	return int32(min(max(w, math.MinInt32), math.MaxInt32))
}

// volts is 230 V and a little more or less, always the same for one meter and minute, 0.1 V.
func (m *core) volts(t uint32) uint16 {
	h := (m.voltage ^ uint64(t/60)) * 0x9E3779B97F4A7C15
	return uint16(2270 + (h>>40)%61)
}

// powerLost is the last gasp.
func (m *core) powerLost(at uint32) message {
	m.tell(at)
	m.st.PowerLost = max(m.now, 1)
	m.st.PowerSeq++
	m.setLoad()
	m.dirty = true
	return msg(record.TypePower, record.Power{Header: m.header(), Kind: record.PowerLost, Sequence: m.st.PowerSeq}.Append(nil))
}

// powerRestored ends a loss of power; nothing is to be sent if there was none.
func (m *core) powerRestored(at uint32) (message, bool) {
	m.tell(at)
	if m.st.PowerLost == 0 {
		return message{}, false
	}
	seconds := m.now - min(m.now, m.st.PowerLost)
	m.st.PowerLost = 0
	m.st.PowerSeq++
	m.setLoad()
	m.dirty = true
	m.restart()
	return msg(record.TypePower, record.Power{Header: m.header(), Kind: record.PowerRestored, Sequence: m.st.PowerSeq,
		OnBattery: seconds}.Append(nil)), true
}

// closeBreaker is a person at the meter who closes an armed breaker; nothing happens to one that is not armed.
func (m *core) closeBreaker(at uint32) (message, bool) {
	m.tell(at)
	if _, ok := m.mode.next(m.st.Breaker, ManualReconnect); !ok {
		return message{}, false
	}
	m.setBreaker(record.BreakerClosed)
	return msg(record.TypeEvent, record.Event{Header: m.header(), Code: record.EventClosedAtMeter}.Append(nil)), true
}

// atMeter moves the breaker by what happens at the meter: a person's button, its limiter.
func (m *core) atMeter(at uint32, t Trigger) bool {
	m.tell(at)
	to, ok := m.mode.next(m.st.Breaker, t)
	if !ok || m.caps&record.CapBreaker == 0 {
		return false
	}
	m.setBreaker(to)
	return true
}

func (m *core) setBreaker(b record.Breaker) {
	wasOpen := m.open()
	m.st.Breaker = b
	m.dirty = true
	was := m.curve.running() || m.samples != nil && wasOpen
	m.setLoad()
	if was && !m.curve.running() && !m.open() {
		m.restart() // the reading of an interval that ended with the breaker open is not made up for
	}
}

// save returns the change since the last call, nil if there is none. saved tells the core that it is kept.
func (m *core) save() []byte {
	if !m.dirty {
		return nil
	}
	return m.st.append(nil, min(m.executed, len(m.st.Executed)), m.seal.changed, m.newCuts, m.newImage)
}

func (m *core) saved() {
	m.dirty, m.newCuts, m.newImage, m.executed, m.seal.changed = false, false, false, 0, nil
}

func alignDown(t, slot uint32) uint32 { return t - t%slot }

func alignUp(t, slot uint32) uint32 { return alignDown(t+slot-1, slot) }
