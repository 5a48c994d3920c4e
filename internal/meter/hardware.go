package meter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/record"
)

// Hardware is a real meter below the agent: what measures and switches in the place of a load curve. Read is needed; what else is
// nil the meter does not have. The functions are called one at a time, on the agent's goroutine. They may take their time, but
// return when ctx ends: after HardwareTimeout, or at once when the power is lost.
type Hardware struct {
	// Read measures now.
	Read func(ctx context.Context) (Sample, error)
	// Register is a channel's register at an earlier end of an interval, Wh, from a profile memory of the hardware's own; false
	// where that does not hold it. It is asked for what the agent has not measured itself.
	Register func(ctx context.Context, c record.Channel, at time.Time) (uint64, bool, error)
	// Oldest is from when on Register knows something.
	Oldest func(ctx context.Context) (time.Time, error)
	// Switch moves the breaker, or returns ErrUnsupported for a position that it does not have; Position tells where it is, and is
	// asked after Switch, when the power comes and with each reading.
	Switch   func(ctx context.Context, to record.Breaker) error
	Position func(ctx context.Context) (record.Breaker, error)
	// Samples keeps what was measured over restarts; nil: in memory only.
	Samples *Samples
}

// Sample is what a meter measured at one moment.
type Sample struct {
	Import, Export uint64 // registers, Wh
	Power          int32  // W; below 0 it feeds into the grid
	Voltage        uint16 // 0.1 V
	Flags          record.Flags
}

// HardwareTimeout bounds one call of Hardware.
const HardwareTimeout = 30 * time.Second

// Times of measuring.
const (
	// tooLate is how long after an interval's end a measurement may still stand for its register, s.
	tooLate = 30.0
	// measureAgain is when to try again after the hardware failed.
	measureAgain = 5 * time.Second
)

// ErrUnsupported is what hardware returns for what it cannot do at all: the centre hears that, and not that it failed.
var ErrUnsupported = errors.New("the hardware cannot do that")

// errPosition is returned for a breaker that is not where it was moved to.
var errPosition = errors.New("the breaker did not move")

// task is what the hardware has to do before a command is finished.
type task struct {
	e  Executed
	to record.Breaker // of a switch
	at []uint32       // of a profile: the ends of intervals that are not in the memory
}

func (h *Hardware) complete(id string, caps record.Capabilities) error {
	switch {
	case h.Read == nil:
		return fmt.Errorf("meter %s: hardware that measures nothing: %w", id, errNone)
	case (h.Switch == nil) != (h.Position == nil):
		return fmt.Errorf("meter %s: hardware that switches but does not tell where the breaker is, or the other way", id)
	case (h.Switch != nil) != (caps&record.CapBreaker != 0):
		return fmt.Errorf("meter %s: a breaker among the capabilities and none in the hardware, or the other way", id)
	}
	if h.Samples == nil {
		h.Samples = &Samples{}
	}
	return nil
}

// withHardware calls the hardware, without mu. PowerLost ends the call.
func (a *Agent) withHardware(ctx context.Context, what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, HardwareTimeout)
	defer cancel()
	a.mu.Lock()
	a.interrupt = cancel
	if a.gasp != nil {
		cancel()
	}
	a.mu.Unlock()
	err := f(ctx)
	a.mu.Lock()
	a.interrupt = nil
	a.mu.Unlock()
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrUnsupported) {
		a.count.hardware.Add(1)
		if now := time.Now(); a.hardwareTold.IsZero() || now.Sub(a.hardwareTold) > time.Minute {
			a.hardwareTold = now
			a.o.Logger.Warn("the meter's driver failed", "meter", a.o.ID, "what", what, "error", err)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// oldest asks the hardware from when on its own memory holds something, seconds of the meter's clock; 0: nothing.
func (a *Agent) oldest(ctx context.Context) uint32 {
	h := a.o.Hardware
	if h == nil || h.Oldest == nil {
		return 0
	}
	var t time.Time
	err := a.withHardware(ctx, "asking for the oldest interval", func(ctx context.Context) (err error) {
		t, err = h.Oldest(ctx)
		return err
	})
	if err != nil || t.Unix() <= 0 || t.Unix() > endTime {
		return 0
	}
	return uint32(t.Unix())
}

// settle learns where the breaker is when the power comes, and what became of a switch that was under way when it went.
func (a *Agent) settle(ctx context.Context) {
	if h := a.o.Hardware; h == nil || h.Position == nil {
		return
	}
	if p, err := a.position(ctx); err == nil {
		a.mu.Lock()
		a.core.resume(p)
		_ = a.save() // the loop sees the error
		a.mu.Unlock()
	}
}

func (a *Agent) position(ctx context.Context) (p record.Breaker, err error) {
	err = a.withHardware(ctx, "asking for the breaker's position", func(ctx context.Context) (err error) {
		if p, err = a.o.Hardware.Position(ctx); err == nil && p > record.BreakerReady {
			err = fmt.Errorf("position %d: want open, closed or ready", p)
		}
		return err
	})
	return p, err
}

// measure reads the hardware for the interval that has ended, unless that was done, and sets the alarm for what comes next.
func (a *Agent) measure(ctx context.Context) {
	h := a.o.Hardware
	if h == nil {
		return
	}
	a.mu.Lock()
	end, now, wanted := a.core.wanted(a.o.Clock.Unix())
	a.mu.Unlock()
	switch {
	case !wanted:
		return
	case now-end <= uint32(tooLate*max(a.o.Clock.Speed(), 1)):
		if time.Since(a.measured) < measureAgain*3/4 {
			return
		}
		var s Sample
		if err := a.withHardware(ctx, "measuring", func(ctx context.Context) (err error) {
			s, err = h.Read(ctx)
			return err
		}); err != nil {
			a.measured = time.Now()
			again := a.o.Clock.Now().Add(time.Duration(float64(measureAgain) * a.o.Clock.Speed()))
			a.mu.Lock()
			a.dueAt = again
			a.mu.Unlock()
			return
		}
		a.measured = time.Time{}
		a.keep(end, s)
	case h.Register == nil:
		return
	default: // it slept, or was not there: the hardware may know
		_ = a.recall(ctx, []uint32{end})
	}
	a.look(ctx)
}

// keep takes a measurement into the memory. A memory that cannot be written ends the agent, like a state that cannot.
func (a *Agent) keep(at uint32, s Sample) {
	err := a.o.Hardware.Samples.put(at, s)
	if err != nil {
		a.mu.Lock()
		if a.err == nil {
			a.err = fmt.Errorf("meter %s: keeping a measurement: %w", a.o.ID, err)
		}
		a.mu.Unlock()
		a.nudge()
	}
}

// recall fills the memory from that of the hardware.
func (a *Agent) recall(ctx context.Context, at []uint32) error {
	h := a.o.Hardware
	found := 0
	for _, t := range at {
		var s Sample
		held := false
		err := a.withHardware(ctx, "asking the load profile", func(ctx context.Context) (err error) {
			if s.Import, held, err = h.Register(ctx, record.ChannelImport, time.Unix(int64(t), 0).UTC()); err != nil || !held {
				return err
			}
			if a.o.Capabilities&record.CapExport != 0 {
				s.Export, held, err = h.Register(ctx, record.ChannelExport, time.Unix(int64(t), 0).UTC())
			}
			return err
		})
		if err != nil {
			return err
		}
		if held {
			found++
			a.keep(t, s)
		}
	}
	if found == 0 {
		return errors.New("it holds none of these")
	}
	return nil
}

// look asks where the breaker is, since people and the meter itself may move it.
func (a *Agent) look(ctx context.Context) {
	if h := a.o.Hardware; h == nil || h.Position == nil {
		return
	}
	p, err := a.position(ctx)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.core.moved(a.o.Clock.Unix(), p) {
		a.push(m)
	}
	_ = a.save() // the loop sees the error
}

// do lets the hardware do what a command asks for, and finishes the command.
func (a *Agent) do(ctx context.Context, t *task) (effects, error) {
	h := a.o.Hardware
	var err error
	var s Sample
	position := record.BreakerNone
	switch t.e.Opcode {
	case record.OpRead:
		err = a.withHardware(ctx, "measuring on demand", func(ctx context.Context) (err error) {
			s, err = h.Read(ctx)
			return err
		})
	case record.OpProfile:
		_ = a.recall(ctx, t.at) // what it does not hold has no value
	default:
		err = a.withHardware(ctx, "moving the breaker to "+t.to.String(), func(ctx context.Context) error { return h.Switch(ctx, t.to) })
		p, perr := a.position(ctx) // also after an error: it may have moved
		if perr == nil {
			position = p
			if err == nil && p != t.to {
				err = errPosition
				a.o.Logger.Warn("the breaker did not move", "meter", a.o.ID, "command", t.e.ID, "wanted", t.to.String(), "is", p.String())
			} else if p == t.to {
				err = nil
			}
		} else if err == nil {
			err = perr
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gasp != nil { // the power went: what became of it is looked at when it comes back
		return effects{}, nil
	}
	at := a.core.tell(a.o.Clock.Unix())
	if t.e.Opcode == record.OpRead && err == nil {
		if err := h.Samples.put(at, s); err != nil {
			return effects{}, fmt.Errorf("meter %s: keeping a measurement: %w", a.o.ID, err)
		}
	}
	fx := a.core.done(t, err, position)
	return fx, a.save()
}
