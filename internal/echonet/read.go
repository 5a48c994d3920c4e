package echonet

import (
	"encoding/binary"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

const (
	halfHour = 30 * 60
	dayTime  = 24 * 3600
	jstAhead = 9 * 3600
)

// Read adds what a frame says to r. Energy needs the meter's scale: what the frame tells of it (D3, E1, D7) is put into s
// first; an energy without a unit is an error that wraps format.ErrUnit. now is when the frame came, seconds since the epoch:
// days of histories count back from then, or from the date in the frame (98). A frame of another object, a request and an
// acknowledgement say nothing.
func (f *Frame) Read(r *cim.MeterReading, s *Scale, now uint32) error {
	if !f.ESV.tells() || !f.SEOJ.IsMeter() {
		return nil
	}
	ps := f.Properties
	if f.ESV.both() {
		ps = f.Get
	}
	today := now
	for _, p := range ps {
		if len(p.EDT) == 0 {
			continue
		}
		switch p.EPC {
		case 0x98:
			var d Date
			if err := readDate(p, &d); err != nil {
				return err
			}
			if u, ok := d.Unix(); ok {
				today = u
			}
		case 0xD3:
			var v Coefficient
			if err := readCoefficient(p, &v); err != nil {
				return err
			}
			s.Coefficient = uint32(v)
		case 0xD7:
			var v Digits
			if err := readDigits(p, &v); err != nil {
				return err
			}
			s.Digits = uint8(v)
		case 0xE1:
			if err := readUnit(p, &s.Unit); err != nil {
				return err
			}
			s.HasUnit = true
		}
	}
	for _, p := range ps {
		if len(p.EDT) == 0 {
			continue
		}
		var err error
		switch p.EPC {
		case 0xD0:
			var v OneMinute
			if err = readOneMinute(p, &v); err == nil {
				if err = s.timed(p, r, v.Time, v.Forward, cim.Import, 0); err == nil {
					err = s.timed(p, r, v.Time, v.Reverse, cim.Export, 0)
				}
			}
		case 0xE0, 0xE3:
			var v Count
			if err = readRegister(p, &v); err == nil {
				err = s.register(p, r, 0, 0, v, channelOf(p.EPC == 0xE3))
			}
		case 0xE2, 0xE4:
			err = s.day(p, r, today)
		case 0xE7:
			var v Power
			if err = readPower(p, &v); err == nil && v.Valid() {
				m := r.At(0)
				m.Power = int32(v)
				m.Set(cim.HasPower)
			}
		case 0xEA, 0xEB:
			var v Timed
			if err = readTimed(p, &v); err == nil {
				err = s.timed(p, r, v.Time, v.Count, channelOf(p.EPC == 0xEB), 30)
			}
		case 0xEC:
			err = s.segments(p, r, 30, 12)
		case 0xEE:
			err = s.segments(p, r, 1, 10)
		default:
			// What the centre does not keep has to be well-formed all the same.
			_, err = p.Value()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func channelOf(reverse bool) cim.Channel {
	if reverse {
		return cim.Export
	}
	return cim.Import
}

// wattHours is a count in Wh. Tenths are cut off the register, so differences of registers lose none.
func (s *Scale) wattHours(p Property, c Count) (uint64, error) {
	if !s.HasUnit {
		return 0, p.bad(0, format.ErrUnit, "%d counts, and the meter never told E1", uint32(c))
	}
	e, ok := s.Tenths(c)
	if !ok {
		return 0, p.bad(0, format.ErrValue, "%d counts × %d × %v kWh", uint32(c), max(s.Coefficient, 1), s.Unit)
	}
	return e / 10, nil
}

func (s *Scale) register(p Property, r *cim.MeterReading, at uint32, interval uint16, c Count, ch cim.Channel) error {
	if !c.Valid() {
		return nil
	}
	wh, err := s.wattHours(p, c)
	if err != nil {
		return err
	}
	m := r.At(at)
	m.Interval = interval
	if ch == cim.Export {
		m.Export = wh
		m.Set(cim.HasExport)
	} else {
		m.Import = wh
		m.Set(cim.HasImport)
	}
	return nil
}

func (s *Scale) timed(p Property, r *cim.MeterReading, d DateTime, c Count, ch cim.Channel, interval uint16) error {
	t, ok := d.Unix()
	if !ok || !c.Valid() {
		return nil
	}
	return s.register(p, r, t, interval, c, ch)
}

// day makes blocks of a day's registers. The last half-hour has no value: it ends in the next day.
func (s *Scale) day(p Property, r *cim.MeterReading, today uint32) error {
	var v Day
	if err := readDay(p, &v); err != nil {
		return err
	}
	if v.Day == NoDay {
		return nil
	}
	start := (today+jstAhead)/dayTime*dayTime - jstAhead - uint32(v.Day)*dayTime
	ch := channelOf(p.EPC == 0xE4)
	if err := s.block(p, r, ch, start, halfHour, dayCounts, func(i int) Count { return v.Counts[i] }); err != nil {
		return err
	}
	// The newest register is a reading of its own: with the first one of the next day it gives the last half-hour.
	for i := dayCounts - 1; i >= 0; i-- {
		if v.Counts[i].Valid() {
			return s.register(p, r, start+uint32(i)*halfHour, 30, v.Counts[i], ch)
		}
	}
	return nil
}

// block adds the differences of consecutive registers, of which the first is at start, as blocks that begin at one.
func (s *Scale) block(p Property, r *cim.MeterReading, ch cim.Channel, start, step uint32, n int, at func(i int) Count) error {
	for i := 0; i < n-1; {
		if !at(i).Valid() || !at(i+1).Valid() {
			i++
			continue
		}
		last := i + 1
		for last+1 < n && at(last+1).Valid() {
			last++
		}
		base, err := s.wattHours(p, at(i))
		if err != nil {
			return err
		}
		b := r.Block(ch, start+uint32(i)*step, uint16(step/60), base, last-i)
		for k := range b.Values {
			from, to := at(i+k), at(i+k+1)
			n, ok := s.Difference(from, to)
			if !ok {
				continue // the meter was exchanged or set back: nobody knows what passed
			}
			// Of the registers in Wh, so that the sum over any span is their difference.
			a, ok := s.Tenths(from)
			d, ok2 := s.Tenths(n)
			if !ok || !ok2 || (a%10+d)/10 >= uint64(cim.NoValue) {
				return p.bad(0, format.ErrValue, "%d counts within %d minutes", uint32(n), step/60)
			}
			b.Values[k] = uint32((a%10 + d) / 10)
		}
		i = last + 1
	}
	return nil
}

// segments makes blocks of EC and EE. Each segment is earlier than the one before it; a meter that sends them the other way
// round would show registers that grow, and is refused.
func (s *Scale) segments(p Property, r *cim.MeterReading, minutes, most int) error {
	n, err := segments(p, minutes, most)
	if err != nil {
		return err
	}
	d, err := p.dateTime(0, 6)
	if err != nil {
		return err
	}
	newest, ok := d.Unix()
	for i := range 2 * n { // all of them are checked
		if _, err := p.count(7 + 4*i); err != nil {
			return err
		}
	}
	if !ok {
		return nil
	}
	step := uint32(minutes) * 60
	start := newest - uint32(n-1)*step
	for ch, off := range [...]int{cim.Import: 7, cim.Export: 11} {
		at := func(i int) Count { return Count(binary.BigEndian.Uint32(p.EDT[off+8*(n-1-i):])) }
		if n > 1 {
			first, last := at(0), at(n-1)
			if _, ok := s.Difference(first, last); first.Valid() && last.Valid() && !ok {
				return p.bad(off, format.ErrValue, "register %d at the newest segment and %d at the oldest", uint32(last), uint32(first))
			}
		}
		if err := s.block(p, r, cim.Channel(ch), start, step, n, at); err != nil {
			return err
		}
		// The newest register is a reading of its own, also where it is the only one.
		if c := at(n - 1); c.Valid() {
			interval := uint16(0)
			if minutes == 30 {
				interval = 30
			}
			if err := s.timed(p, r, d, c, cim.Channel(ch), interval); err != nil {
				return err
			}
		}
	}
	return nil
}
