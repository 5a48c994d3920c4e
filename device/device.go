package device

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/topic"
)

// Device is a meter. Its methods are safe for concurrent use.
type Device struct {
	o Options

	mu    sync.Mutex
	agent *meter.Agent // nil while Run does not run
	last  Status
	stats Stats // of the last Run
}

// ErrRunning is returned by a second Run.
var ErrRunning = errors.New("the device is running already")

// New checks the options and makes a device; it starts and opens nothing.
func New(o Options) (*Device, error) {
	m, err := o.agent()
	if err != nil {
		return nil, err
	}
	probe, err := meter.New(m)
	if err != nil {
		return nil, err
	}
	d := &Device{o: o, last: status(probe.Status())}
	d.last.Breaker = None // nobody has looked yet
	return d, nil
}

// ErrRestart is returned by Run when new firmware was activated, which has to start now; see [Updater].
var ErrRestart = meter.ErrRestart

// Run is the meter's life until ctx ends: then it leaves its concentrator in order, and everything it started has ended when Run
// returns. The error is nil, ErrRestart, or says that what has to be remembered (Options.Data) cannot be: without that a meter must do nothing.
// That a concentrator is away is no error: Run tries on, and tells OnDisconnect. After it has returned Run may be called again.
func (d *Device) Run(ctx context.Context) (err error) {
	d.mu.Lock()
	m, err := d.o.agent()
	if err != nil {
		d.mu.Unlock()
		return err
	}
	if d.agent != nil {
		d.mu.Unlock()
		return ErrRunning
	}
	if d.o.Data != "" { // under mu: a second Run must not find the files open
		if m.Store, m.Hardware.Samples, err = open(d.o); err != nil {
			d.mu.Unlock()
			return fmt.Errorf("device %s: %w", d.o.ID, err)
		}
	}
	defer func() {
		if l, ok := m.Store.(*meter.Log); ok {
			err = errors.Join(err, l.Close(), m.Hardware.Samples.Close())
		}
	}()
	a, err := meter.New(m)
	if err != nil {
		d.mu.Unlock()
		return err
	}
	d.agent = a
	d.mu.Unlock()
	err = a.Run(ctx)
	d.mu.Lock()
	d.agent, d.last, d.stats = nil, status(a.Status()), stats(a.Stats())
	d.last.Connected, d.last.Registered, d.last.Sleeping = false, false, false
	d.mu.Unlock()
	return err
}

func open(o Options) (meter.Store, *meter.Samples, error) {
	l, err := meter.OpenLog(o.Data, o.Logger)
	if err != nil {
		return nil, nil, err
	}
	s, err := meter.OpenSamples(o.Data)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, s, nil
}

// with calls f with the agent; false if there is none.
func (d *Device) with(f func(*meter.Agent)) bool {
	d.mu.Lock()
	a := d.agent
	d.mu.Unlock()
	if a == nil {
		return false
	}
	f(a)
	return true
}

// PowerLost says that the power is gone: the meter sends its last gasp with what its capacitor holds (Options.HoldUp) and goes dark
// until PowerRestored. It returns at once.
func (d *Device) PowerLost() { d.with((*meter.Agent).PowerLost) }

// PowerRestored gives the power back: the meter connects, registers, and tells how long it was without. A meter that is started has
// power.
func (d *Device) PowerRestored() { d.with((*meter.Agent).PowerRestored) }

// BreakerMoved says that the breaker was moved, but not by a command: by a person who closed one that was [Ready], or by the meter
// itself. The driver is asked for its position.
func (d *Device) BreakerMoved() { d.with((*meter.Agent).LookAtBreaker) }

// Send sends a message of another format than wattbus's own, under up/<kind>/<ID>/<event>: el for an ECHONET Lite frame, p1 for a DSMR
// telegram, json, or x-<name> for a layout that the utility has declared (docs/formats.md). It goes at QoS 1, over reconnections. An
// error says what is wrong with event, or that there is no room, no power, or Run does not run.
func (d *Device) Send(event string, payload []byte) error {
	kind := d.o.Kind
	if kind == "" {
		kind = topic.Meter
	}
	t, err := topic.Parse("up/" + kind + "/" + d.o.ID + "/" + event)
	if err != nil {
		return fmt.Errorf("device %s: event %q: %w", d.o.ID, event, err)
	}
	if t.Event != event {
		return fmt.Errorf("device %s: event %q: want 1 to 32 of a-z 0-9 -", d.o.ID, event)
	}
	sent := false
	if d.with(func(a *meter.Agent) { sent = a.Send(event, payload) }) && sent {
		return nil
	}
	return fmt.Errorf("device %s: event %s: %w", d.o.ID, event, ErrNoRoom)
}

// ErrNoRoom is returned by Send for a message that was not taken: too many wait, or the device does not run or has no power.
var ErrNoRoom = errors.New("no room, no power, or not running")

// Status is what a meter is doing.
type Status struct {
	ID           string
	Concentrator string // its URL, without a password
	Connected    bool
	Registered   bool // the centre has acknowledged this connection
	Sleeping     bool // over MQTT-SN: until it wakes nothing reaches it
	Powered      bool
	Breaker      Breaker // None where there is none, and before Run has asked for the first time
	Interval     int     // between readings, minutes
	Groups       []uint32
	Registration uint32 // its number, which grows with each attempt to connect
	Firmware     uint32 // that runs
}

func status(s meter.Status) Status {
	at := s.URL
	if u, err := url.Parse(at); err == nil {
		at = u.Redacted()
	}
	return Status{ID: s.ID, Concentrator: at, Connected: s.Connected, Registered: s.Registered, Sleeping: s.Sleeping, Powered: s.Powered, Breaker: Breaker(s.Breaker),
		Interval: int(s.Interval), Groups: s.Groups, Registration: s.Sequence, Firmware: uint32(s.Firmware)}
}

// Status is what the meter is doing; while Run does not run, what it did last.
func (d *Device) Status() (s Status) {
	if !d.with(func(a *meter.Agent) { s = status(a.Status()) }) {
		d.mu.Lock()
		s = d.last
		d.mu.Unlock()
	}
	return s
}

// Stats count what a meter did since Run was called last.
type Stats struct {
	Readings       uint64 // sent, those on demand too
	Acknowledged   uint64 // of these, by the concentrator
	Commands       uint64 // answered with a result of their own
	Refused        uint64 // of Commands, refused or not supported
	Expired        uint64 // of Commands, behind their expiry
	Repeats        uint64 // commands that were answered again
	Rejected       uint64 // messages that could not be understood, were not sealed as they should be, or had been let through before
	Unsealed       uint64 // of Rejected, not sealed as they should be
	Replayed       uint64 // of Rejected, let through before
	Dropped        uint64 // messages that were dropped at a bound, in or out: the centre asks again, or fetches them
	Registrations  uint64 // sent
	DriverFailures uint64
}

func stats(n meter.Stats) Stats {
	return Stats{n.Readings, n.Acked, n.Commands, n.Refused, n.Expired, n.Repeats, n.Rejected, n.Unsealed, n.Replayed, n.Dropped, n.Locations, n.Hardware}
}

// Stats gives the counts.
func (d *Device) Stats() (s Stats) {
	if !d.with(func(a *meter.Agent) { s = stats(a.Stats()) }) {
		d.mu.Lock()
		s = d.stats
		d.mu.Unlock()
	}
	return s
}
