package mdms

import (
	"math/bits"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// nearBoundary is how far apart two measurements may be, in seconds, for the register at the end of an interval between them to
// be reckoned: meters that send every 10 s do not send at the full half-hour.
const nearBoundary = 90

// told is a register of a measurement.
type told struct {
	time     uint32
	register uint64
}

// enterMeasurement enters what a meter that speaks another format told: some of the values of a reading.
func (m *MDMS) enterMeasurement(d *device, x *entry) error {
	p, err := record.DecodeMeasurement(x.Payload)
	if err != nil {
		return err
	}
	m.outages.OnMessage(&d.EndDevice, x.Path, record.TypeMeasurement, p.Header, x.at)
	if !d.meters() {
		return nil
	}
	if p.Interval != 0 && p.Interval != d.Interval && !d.registered() {
		d.Interval = p.Interval
		m.setLength(d, p.Time, x.now)
		m.markDirty(d)
	}
	// What it did not tell is as before.
	r := record.Reading{Header: p.Header, Import: d.Registers.Import, Export: d.Registers.Export, Power: d.Registers.Power, Voltage: d.Registers.Voltage}
	if p.Has&cim.HasImport != 0 {
		r.Import = p.Import
	}
	if p.Has&cim.HasExport != 0 {
		r.Export = p.Export
	}
	if p.Has&cim.HasPower != 0 {
		r.Power = p.Power
	}
	if p.Has&cim.HasVoltage != 0 {
		r.Voltage = p.Voltage
	}
	if !m.believable(d, x, r) {
		return nil
	}
	if r.Time >= d.Registers.Time && uint64(r.Time) <= uint64(x.now)+futureLimit {
		m.power += int64(r.Power) - int64(d.Registers.Power)
		at := d.Registers.Time
		if p.Has&(cim.HasImport|cim.HasExport) != 0 {
			at = r.Time
		}
		d.Registers = cim.Registers{Time: at, Import: r.Import, Export: r.Export, Power: r.Power, Voltage: r.Voltage}
	}
	aligned := false
	if p.Has&cim.HasImport != 0 {
		if aligned, err = m.enterRegister(d, &d.imp, r.Time, r.Import, x.now); err != nil {
			return err
		}
	}
	if p.Has&cim.HasExport != 0 {
		fresh := d.exp == nil
		s := m.export(d)
		if fresh && d.imp.from != 0 {
			if err := m.ledger.expect(s, d.imp.from); err != nil {
				return err
			}
		}
		if _, err := m.enterRegister(d, s, r.Time, r.Export, x.now); err != nil {
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

// enterRegister enters a register, and the one at the end of an interval between the one before it and this one.
func (m *MDMS) enterRegister(d *device, s *series, t uint32, register uint64, now uint32) (aligned bool, err error) {
	was := &d.told[min(s.channel, cim.Export)]
	end := t / s.step() * s.step()
	if was.time < end && end < t && t-was.time <= nearBoundary && register >= was.register {
		hi, lo := bits.Mul64(register-was.register, uint64(end-was.time))
		part, _ := bits.Div64(hi, lo, uint64(t-was.time)) // hi is smaller: end lies before t
		if _, err := m.ledger.reading(s, end, was.register+part, now); err != nil {
			return false, err
		}
	}
	if t > was.time {
		*was = told{t, register}
	}
	return m.ledger.reading(s, t, register, now)
}
