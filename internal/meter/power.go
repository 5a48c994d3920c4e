package meter

import (
	"math/rand/v2"
	"time"

	"github.com/wattbus/wattbus/internal/record"
)

// PowerLost takes the power away: the meter sends its last gasp with what its capacitor holds (Options.HoldUp), then the
// connection dies without a DISCONNECT. Nothing is consumed until PowerRestored. It returns at once; what was queued is lost
// as it would be in a meter. Without power, or before Run, it does nothing.
func (a *Agent) PowerLost() {
	a.mu.Lock()
	if a.core != nil && a.core.st.PowerLost == 0 {
		m := a.core.powerLost(a.o.Clock.Unix())
		if a.save() == nil {
			a.gasp = &m
		}
		if a.interrupt != nil {
			a.interrupt()
		}
		a.inbox, a.out, a.jobs = nil, nil, nil
		a.life++
	}
	a.mu.Unlock()
	a.nudge()
}

// PowerRestored gives the power back: the meter connects, registers and tells how long it was without. With power it does nothing.
func (a *Agent) PowerRestored() {
	a.mu.Lock()
	if a.core != nil {
		if m, ok := a.core.powerRestored(a.o.Clock.Unix()); ok && a.save() == nil {
			a.out = append(a.out, m)
		}
	}
	a.mu.Unlock()
	a.nudge()
}

// CloseBreaker is a person at the meter who closes the breaker after an armed reconnection; false if it is not armed.
func (a *Agent) CloseBreaker() bool {
	a.mu.Lock()
	defer a.nudge()
	defer a.mu.Unlock()
	if a.core == nil || a.o.Hardware != nil || a.core.st.PowerLost != 0 {
		return false
	}
	m, ok := a.core.closeBreaker(a.o.Clock.Unix())
	if !ok || a.save() != nil {
		return false
	}
	a.push(m)
	a.dueAt = time.Time{} // the next reading is another one now
	return true
}

// AtMeter moves the breaker as a person at the meter or the meter itself does: ManualDisconnect, LocalDisconnect or LocalReconnect.
// It is false where the control mode does not do that, and for a meter with hardware, which moves its breaker itself. The
// centre sees it by the flags of what the meter sends next.
func (a *Agent) AtMeter(t Trigger) bool {
	a.mu.Lock()
	defer a.nudge()
	defer a.mu.Unlock()
	if t < ManualDisconnect || a.core == nil || a.o.Hardware != nil || a.core.st.PowerLost != 0 {
		return false
	}
	if !a.core.atMeter(a.o.Clock.Unix(), t) || a.save() != nil {
		return false
	}
	a.push(a.core.location(a.o.Clock.Unix())) // of the same registration, with the new flags
	a.dueAt = time.Time{}                     // the next reading is another one now
	return true
}

// LookAtBreaker asks the hardware where its breaker is: a person, or the meter itself, has moved it.
func (a *Agent) LookAtBreaker() {
	a.mu.Lock()
	a.lookAt = true
	a.mu.Unlock()
	a.nudge()
}

// Send queues a message of the device's own under up/<kind>/<id>/<event>, at QoS 1; false if there is no room, no power, or the agent does
// not run. event has to be one of the contract's grammar.
func (a *Agent) Send(event string, payload []byte) bool {
	a.mu.Lock()
	defer a.nudge()
	defer a.mu.Unlock()
	if a.core == nil || a.core.st.PowerLost != 0 || len(a.out) >= maxOut {
		return false
	}
	a.out = append(a.out, message{event: event, payload: append([]byte(nil), payload...), qos: 1})
	return true
}

// Move carries the meter out of its concentrator's reach into that of another. The old connection is dropped without a
// DISCONNECT, so the old concentrator publishes the will.
func (a *Agent) Move(url string) {
	a.mu.Lock()
	a.url = url
	a.moved = true
	a.mu.Unlock()
	a.nudge()
}

// DropLink drops the connection without a DISCONNECT, as a fault on the way does; the meter connects anew and keeps its queue.
func (a *Agent) DropLink() {
	a.mu.Lock()
	a.cut = true
	a.mu.Unlock()
	a.nudge()
}

// Status is what a meter is doing.
type Status struct {
	ID         string
	URL        string // of the concentrator
	Connected  bool   // there is an MQTT connection
	Registered bool   // the centre has acknowledged its location
	Sleeping   bool   // over MQTT-SN: until it wakes nothing reaches it
	Powered    bool
	Breaker    record.Breaker
	Sequence   uint32 // of the registration
	Interval   uint16 // minutes
	Groups     []uint32
	Firmware   record.FirmwareVersion // that runs
	Image      record.ImageState      // of the firmware that it receives or has received
}

func (s Status) equal(t Status) bool {
	return s.URL == t.URL && s.Sleeping == t.Sleeping && s.Connected == t.Connected && s.Registered == t.Registered && s.Powered == t.Powered &&
		s.Breaker == t.Breaker && s.Firmware == t.Firmware && s.Image == t.Image && s.Sequence == t.Sequence && s.Interval == t.Interval && len(s.Groups) == len(t.Groups)
}

// Status returns what the meter is doing; before Run only ID and URL are set.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status()
}

func (a *Agent) status() Status {
	s := Status{ID: a.o.ID, URL: a.url}
	if c := a.core; c != nil {
		s.Sleeping = a.sleeping
		s.Connected, s.Registered = a.connected, a.connected && c.acked
		s.Powered, s.Breaker = c.st.PowerLost == 0, c.st.Breaker
		s.Firmware = c.running()
		if c.st.Image != nil {
			s.Image = c.st.Image.State
		}
		s.Sequence, s.Interval, s.Groups = c.st.Sequence, c.st.Interval, append([]uint32(nil), c.st.Groups...)
	}
	return s
}

// changed tells OnChange of a new status.
func (a *Agent) changed() {
	if a.o.OnChange == nil {
		return
	}
	a.mu.Lock()
	s := a.status()
	same := s.equal(a.told)
	a.told = s
	a.mu.Unlock()
	if !same {
		a.o.OnChange(s)
	}
}

// Register is the register of a channel at the meter's clock now, Wh; 0 before Run.
func (a *Agent) Register(c record.Channel) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.core == nil || c > record.ChannelExport {
		return 0
	}
	return a.core.curve.register(int(c), a.core.tell(a.o.Clock.Unix()))
}

// Stats count what a meter did since New.
type Stats struct {
	Readings  uint64 // handed to the connection, on demand ones too
	Acked     uint64 // of these, acknowledged by the concentrator
	Commands  uint64 // answered with a result of their own
	Refused   uint64 // of Commands, refused or not supported
	Expired   uint64 // of Commands, behind their expiry
	Repeats   uint64 // answered again
	Rejected  uint64 // messages that could not be understood, were not sealed as they should be, or had been let through before
	Unsealed  uint64 // of Rejected, not sealed as they should be: plain, altered, for another meter, under another key, with a counter long gone
	Replayed  uint64 // of Rejected, let through before
	Dropped   uint64 // messages dropped at a bound, in or out
	Locations uint64 // sent
	Hardware  uint64 // calls of the hardware that failed
}

// Stats returns the counts.
func (a *Agent) Stats() Stats {
	c := &a.count
	return Stats{Readings: c.readings.Load(), Acked: c.acked.Load(), Commands: c.commands.Load(), Refused: c.refused.Load(), Expired: c.expired.Load(), Repeats: c.repeats.Load(),
		Rejected: c.rejected.Load(), Unsealed: c.unsealed.Load(), Replayed: c.replayed.Load(), Dropped: c.dropped.Load(), Locations: c.locations.Load(), Hardware: c.hardware.Load()}
}

func randomDuration(d time.Duration) time.Duration { return rand.N(d) }
