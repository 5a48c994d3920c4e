package dsmr

import (
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

// Read adds what a telegram says of the electricity meter to r: registers, power, voltage of the first phase and the breaker,
// at the telegram's time. A register is 1.8.0, or the sum of its rates where the meter does not tell that. It adds the values of
// the devices on the M-Bus as well, each at its own time.
func (t *Telegram) Read(r *cim.MeterReading) error {
	moment := uint32(0) // DSMR 2 tells no time
	if o := t.Find("0-0:1.0.0"); o != nil {
		var err error
		if moment, err = o.moment(0); err != nil {
			return err
		}
	}
	m := cim.Measurement{Time: moment}
	var power [2]int64
	var total, rates [2]uint64
	var hasTotal, hasRates [2]bool
	for i := range t.Objects {
		o := &t.Objects[i]
		if len(o.Code) < 9 || o.Code[:4] != "1-0:" {
			if err := t.other(o, &m); err != nil {
				return err
			}
			continue
		}
		var ch int
		switch code := o.Code[4:]; code {
		case "1.8.0", "1.8.1", "1.8.2", "1.8.3", "1.8.4", "2.8.0", "2.8.1", "2.8.2", "2.8.3", "2.8.4":
			ch = int(code[0] - '1')
			wh, err := o.milli(0, "Wh", "kWh")
			if err != nil {
				return err
			}
			if code[4] == '0' {
				total[ch], hasTotal[ch] = uint64(wh), true
			} else {
				rates[ch], hasRates[ch] = rates[ch]+uint64(wh), true
			}
		case "1.7.0", "2.7.0":
			w, err := o.milli(0, "W", "kW")
			if err != nil {
				return err
			}
			if w > 1<<31-1 {
				return o.bad(0, format.ErrValue, "%d W", w)
			}
			power[code[0]-'1'] = w
			m.Set(cim.HasPower)
		case "32.7.0":
			mv, err := o.milli(0, "V")
			if err != nil {
				return err
			}
			if mv/100 > 1<<16-1 {
				return o.bad(0, format.ErrValue, "%d mV", mv)
			}
			m.Voltage = uint16(mv / 100)
			m.Set(cim.HasVoltage)
		}
	}
	for ch, v := range [...]*uint64{&m.Import, &m.Export} {
		switch {
		case hasTotal[ch]:
			*v = total[ch]
		case hasRates[ch]:
			*v = rates[ch]
		default:
			continue
		}
		m.Set(cim.HasImport << ch)
	}
	m.Power = int32(power[0] - power[1])
	channels, err := t.Channels()
	if err != nil {
		return err
	}
	for i := range channels {
		sub, told, err := channels[i].reading()
		if err != nil {
			return err
		}
		if told {
			r.Subs = append(r.Subs, sub)
		}
	}
	if m.Has != 0 {
		r.Measurements = append(r.Measurements, m)
	}
	return nil
}

// other reads the objects that are not of electricity: the breaker.
func (t *Telegram) other(o *Object, m *cim.Measurement) error {
	if o.Code != "0-0:96.3.10" || len(o.Values) == 0 {
		return nil
	}
	switch o.Values[0] {
	case "0":
		m.Breaker = cim.BreakerOpen
		m.Flags |= cim.FlagBreakerOpen
	case "1":
		m.Breaker = cim.BreakerClosed
	case "2":
		m.Breaker = cim.BreakerReady
		m.Flags |= cim.FlagBreakerOpen
	default:
		return o.bad(0, format.ErrValue, "%.20q, want 0, 1 or 2", o.Values[0])
	}
	m.Set(cim.HasBreaker)
	return nil
}
