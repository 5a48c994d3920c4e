package device

import (
	"context"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
)

// MaxRegister is the highest register, Wh: 2^53 - 1, what numbers in JSON hold exactly. The centre refuses what is above.
const MaxRegister = record.MaxRegister

// ErrUnsupported is what a driver returns for what its hardware cannot do at all.
var ErrUnsupported = meter.ErrUnsupported

// Driver is a meter's hardware. Its methods, those of [Switch] and [Profile] too, are called one at a time, on one goroutine. They
// may take their time, but have to return when ctx ends: 30 s after the call began, or at once when [Device.PowerLost] is called.
type Driver interface {
	// Read measures now. It is called right after the end of each interval, and when the centre asks. After an error it is called
	// again, every 5 s until 30 s behind the end of the interval; then that interval has no value. Each failure is counted and, once
	// a minute, logged.
	Read(ctx context.Context) (Reading, error)
}

// Reading is what a meter measures at one moment.
type Reading struct {
	Import  uint64 // register of what was consumed, Wh, which never falls; up to MaxRegister
	Export  uint64 // register of what was fed into the grid, Wh; see Options.Export
	Power   int32  // active power, W; below 0 it feeds into the grid
	Voltage uint16 // 0.1 V

	Tamper    bool // the meter noticed that somebody tampers with it
	Estimated bool // the registers are estimated
}

// Breaker is the position of the switch between grid and customer.
type Breaker uint8

// The positions.
const (
	Open   Breaker = iota // the customer is cut off
	Closed                // the customer is supplied
	Ready                 // open, and a person at the meter may close it
	None   Breaker = 255  // there is no breaker
)

// String is the position's name.
func (b Breaker) String() string { return record.Breaker(b).String() }

// Switch is a [Driver] with a breaker.
type Switch interface {
	Driver
	// SetBreaker moves the breaker and returns when it has moved, or [ErrUnsupported], wrapped or not, for a position that it does not
	// have, such as Ready: the centre then hears that the device does not support the command. It is called at most once for a command,
	// whatever is repeated or restarted.
	SetBreaker(ctx context.Context, to Breaker) error
	// Breaker tells where the breaker is: as the contacts are, not as they were told to be. The centre hears that a command was carried
	// out only if this says so. It is asked after SetBreaker, at the start, with each reading and after [Device.BreakerMoved].
	Breaker(ctx context.Context) (Breaker, error)
}

// Profile is a [Driver] with a load profile of its own: it measures also while this program does not run. Without it intervals have
// values only if their registers were read by Read, at both ends. Times are those of the meter's clock.
type Profile interface {
	Driver
	// Oldest is from when on Register knows something.
	Oldest(ctx context.Context) (time.Time, error)
	// Register is a register at an end of an interval, Wh; false where it is not known. It is asked only for what is not in
	// Options.Data.
	Register(ctx context.Context, c Channel, at time.Time) (wh uint64, known bool, err error)
}

// Updater is a [Driver] whose firmware is replaced over the bus (docs/firmware.md): it keeps the parts of an image, in a flash memory
// or a file, and makes the image the one that starts. What the device takes is signed with one of Options.FirmwareKeys, for its Model,
// and verified as a whole before it is activated. A loss of power at any moment costs a few blocks, which are sent again.
type Updater interface {
	Driver
	// Model is what images have to be for: 1 to 20 characters without spaces. It is asked for once, by New.
	Model() string
	// Room is the size of the largest image, bytes.
	Room() int64
	// Begin makes room for an image; what was there before is gone.
	Begin(ctx context.Context, size int64) error
	// WriteAt writes a part of the image, ReadAt reads it again. Parts come in any order, each once.
	WriteAt(p []byte, off int64) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	// Sync returns when what was written outlives a loss of power.
	Sync() error
	// Activate makes the image the one that starts, and may restart the machine. Once it returns nil [Device.Run] ends with
	// [ErrRestart], and the new firmware has to run the device, with its version in Options.Firmware. If the old one runs it
	// again, the centre hears that the new one did not start.
	Activate(ctx context.Context, version uint32) error
}

// Channel is one of a meter's two registers.
type Channel uint8

// The channels.
const (
	Import Channel = iota
	Export
)

// hardware makes a driver what the agent knows.
func hardware(d Driver) (h *meter.Hardware, caps record.Capabilities) {
	h = &meter.Hardware{Read: func(ctx context.Context) (meter.Sample, error) {
		r, err := d.Read(ctx)
		if err != nil {
			return meter.Sample{}, err
		}
		return r.sample()
	}}
	if s, ok := d.(Switch); ok {
		caps |= record.CapBreaker
		h.Switch = func(ctx context.Context, to record.Breaker) error { return s.SetBreaker(ctx, Breaker(to)) }
		h.Position = func(ctx context.Context) (record.Breaker, error) {
			b, err := s.Breaker(ctx)
			return record.Breaker(b), err
		}
	}
	if p, ok := d.(Profile); ok {
		h.Oldest = p.Oldest
		h.Register = func(ctx context.Context, c record.Channel, at time.Time) (uint64, bool, error) {
			wh, known, err := p.Register(ctx, Channel(c), at)
			if err == nil && known && wh > MaxRegister {
				err = fmt.Errorf("register of %d Wh, want up to %d", wh, uint64(MaxRegister))
			}
			return wh, known, err
		}
	}
	return h, caps
}

// sample checks a reading: what the centre would refuse is an error here, where it can be mended.
func (r Reading) sample() (meter.Sample, error) {
	if r.Import > MaxRegister || r.Export > MaxRegister {
		return meter.Sample{}, fmt.Errorf("reading: registers of %d and %d Wh, want up to %d", r.Import, r.Export, uint64(MaxRegister))
	}
	if r.Power > record.MaxPower || r.Power < -record.MaxPower {
		return meter.Sample{}, fmt.Errorf("reading: power of %d W, want %d at most in either direction", r.Power, int32(record.MaxPower))
	}
	s := meter.Sample{Import: r.Import, Export: r.Export, Power: r.Power, Voltage: r.Voltage}
	if r.Tamper {
		s.Flags |= record.FlagTamper
	}
	if r.Estimated {
		s.Flags |= record.FlagEstimated
	}
	return s, nil
}
