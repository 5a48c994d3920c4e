package firmware

import (
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// activating is how long a meter has for its restart before it is asked whether it is through.
const activating = 2 * time.Minute

// OnState takes what a device tells of an image.
func (e *Engine) OnState(dev *cim.EndDevice, s *record.FirmwareState) {
	e.stats.States++
	if len(e.of[dev]) == 0 {
		e.stats.Forgotten++
		return
	}
	now := e.o.Wall()
	for _, m := range append([]*member(nil), e.of[dev]...) {
		if m.r.doc.State == api.RollOutPending || !m.r.open() {
			continue
		}
		e.place(m)
		m.asked = false
		e.told(m, s, now)
		e.settle(m.r, now)
	}
}

func (e *Engine) told(m *member, s *record.FirmwareState, now time.Time) {
	r := m.r
	v, err := record.ParseFirmwareVersion(r.doc.Version)
	if err == nil && s.Running == v {
		e.arrived(m)
		return
	}
	if id, err := record.ParseImageID(r.doc.Image); err != nil || s.Image != id {
		if m.state == receiving || m.state == verified { // it has lost it, or dropped it
			e.again(m, record.ImageMemory, now)
		}
		return
	}
	switch s.State {
	case record.ImageActive:
		e.arrived(m)
	case record.ImageRefused:
		e.end(m, refused, s.Reason)
	case record.ImageFailed:
		switch s.Reason {
		case record.ImageDidNotStart, record.ImageNotActivated:
			e.end(m, failed, s.Reason)
		default:
			e.again(m, s.Reason, now)
		}
	case record.ImageNone:
		e.again(m, record.ImageMemory, now)
	case record.ImageReceiving, record.ImageWhole, record.ImageActivating:
		if s.RollOut < r.id { // it has it by an earlier offer, and not its activation time
			if m.now {
				m.tries = 0
				e.set(m, offered, record.ImageFine)
				e.plan(m, now)
			}
			return
		}
		e.progress(m, s, now)
	}
}

// progress takes how much a meter has.
func (e *Engine) progress(m *member, s *record.FirmwareState, now time.Time) {
	m.now, m.tries = true, 0
	m.first, m.window = s.First, [resendWindow / 64]uint64{}
	for i, there := range s.Window {
		if there {
			m.window[i/64] |= 1 << (i % 64)
		}
	}
	m.r.recount(m)
	e.touch(m.r)
	if s.State == record.ImageReceiving {
		m.known, m.due = true, never
		m.lane.look, m.lane.idle = true, 0
		e.set(m, receiving, record.ImageFine)
		if sleeps(m.dev) && m.r.loaded && m.r.doc.State == api.RollOutRunning {
			e.nap(m, now)
		}
		return
	}
	e.set(m, verified, record.ImageFine)
	switch r := m.r; {
	case r.activate == record.ActivateNever:
		m.due = never
	case r.activate == record.ActivateNow || s.State == record.ImageActivating:
		e.plan(m, now.Add(activating))
	default:
		wait := time.Unix(int64(r.activate), 0).Sub(e.o.Clock.Now()) // of business time, which may run faster: then it is asked late
		e.plan(m, now.Add(max(wait, 0)+activating))
	}
}

// arrived notes that a meter runs the new firmware.
func (e *Engine) arrived(m *member) {
	e.stats.Activated++
	e.end(m, activated, record.ImageFine)
}

// again offers the image anew to a meter that could not make use of what it got, up to a bound.
func (e *Engine) again(m *member, why record.ImageReason, now time.Time) {
	if m.fails++; m.fails >= maxTries {
		e.end(m, failed, why)
		return
	}
	m.known, m.tries = false, 0
	e.set(m, offered, record.ImageFine)
	e.plan(m, now.Add(firstRepeat))
}

// OnLocation takes a registration, of which the device already has path and firmware.
func (e *Engine) OnLocation(dev *cim.EndDevice) {
	if len(e.of[dev]) == 0 {
		return
	}
	now := e.o.Wall()
	for _, m := range append([]*member(nil), e.of[dev]...) {
		if !m.r.open() {
			continue
		}
		e.place(m)
		if v, err := record.ParseFirmwareVersion(m.r.doc.Version); err == nil && dev.Firmware == uint32(v) {
			e.arrived(m)
			e.settle(m.r, now)
			continue
		}
		// It was away, or elsewhere: what waits for its next repeat goes at once. One that receives tells so itself.
		if at := e.ns(now.Add(firstRepeat)); m.now && m.due != never && m.due > at && m.state != verified {
			m.tries = 0
			e.plan(m, e.wall(at))
		}
	}
}

// OnResult takes the result of a question: a device that does not know it takes no firmware.
func (e *Engine) OnResult(dev *cim.EndDevice, r *record.Result) {
	if r.Opcode != record.OpFirmwareStatus || r.Outcome != record.NotSupported {
		return
	}
	now := e.o.Wall()
	for _, m := range append([]*member(nil), e.of[dev]...) {
		if m.state == offered && m.r.open() {
			e.end(m, refused, record.ImageUnsupported)
			e.settle(m.r, now)
		}
	}
}
