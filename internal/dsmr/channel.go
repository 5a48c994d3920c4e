package dsmr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

// channels is how many devices a meter hears on its M-Bus.
const channels = 4

// Channel is what a telegram says of a device on the M-Bus: a gas, water or heat meter, or another electricity meter.
type Channel struct {
	Number int    `json:"channel"`      // 1 to 4
	Type   int    `json:"type"`         // of the M-Bus: 3 gas, 7 water, 2 electricity, 4 heat
	ID     string `json:"id,omitempty"` // of the device
	Time   uint32 `json:"time"`         // of the value, seconds since the epoch; 0: no value yet
	Digits int64  `json:"digits"`       // the value without its point
	Places int    `json:"places"`       // how many of the digits stand behind it
	Unit   string `json:"unit,omitempty"`

	from *Object // that told the value
}

// Channels lists the devices on the M-Bus.
func (t *Telegram) Channels() ([]Channel, error) {
	var out []Channel
	for n := 1; n <= channels; n++ {
		prefix := fmt.Sprintf("0-%d:", n)
		typ := t.Find(prefix + "24.1.0")
		if typ == nil {
			continue
		}
		c := Channel{Number: n}
		if len(typ.Values) > 0 {
			var err error
			if c.Type, err = strconv.Atoi(typ.Values[0]); err != nil || c.Type < 0 || c.Type > 255 {
				return nil, typ.bad(0, format.ErrValue, "%.20q is no type of device", typ.Values[0])
			}
		}
		for _, code := range []string{"96.1.0", "96.1.1", "96.1.2"} { // the others are Belgium's
			if o := t.Find(prefix + code); o != nil && len(o.Values) > 0 && c.ID == "" {
				c.ID = Text(o.Values[0])
			}
		}
		for _, code := range []string{"24.2.1", "24.2.3"} { // Belgium's gas meters tell what is not temperature-corrected
			if o := t.Find(prefix + code); o != nil {
				if err := c.value(o, 0, 1); err != nil {
					return nil, err
				}
			}
		}
		if o := t.Find(prefix + "24.3.0"); o != nil { // DSMR 2: (time)(…)(…)(…)(code)(unit), and the value on the next line
			if err := c.old(o); err != nil {
				return nil, err
			}
		}
		out = append(out, c)
	}
	return out, nil
}

func (c *Channel) value(o *Object, i, j int) error {
	if len(o.Values) <= j || !strings.Contains(o.Values[j], "*") {
		return nil // connected, and it never told a value
	}
	digits, unit, _ := strings.Cut(o.Values[j], "*")
	return c.set(o, i, j, digits, unit)
}

func (c *Channel) old(o *Object) error {
	if len(o.Values) < 7 {
		return o.bad(len(o.Values), format.ErrLength, "%d values, want 7", len(o.Values))
	}
	return c.set(o, 0, 6, o.Values[6], o.Values[5])
}

// set takes the value j of the moment i.
func (c *Channel) set(o *Object, i, j int, digits, unit string) error {
	n, places, err := o.number(j, digits)
	if err != nil {
		return err
	}
	at, err := o.moment(i)
	if err != nil {
		if n == 0 { // (632525252525S)(00000.000*m3): some meters tell of a device that is not there
			return nil
		}
		return err
	}
	c.Time, c.Digits, c.Places, c.Unit, c.from = at, n, places, unit, o
	return nil
}

// units are those of sub-meters' registers, by what is one of cim's times a power of ten.
var units = map[string]struct {
	unit cim.Unit
	ten  int
}{
	"m3": {cim.UnitCubicMetre, 0}, "dm3": {cim.UnitCubicMetre, -3},
	"Wh": {cim.UnitWh, 0}, "kWh": {cim.UnitWh, 3}, "MWh": {cim.UnitWh, 6},
	"J": {cim.UnitJoule, 0}, "MJ": {cim.UnitJoule, 6}, "GJ": {cim.UnitJoule, 9},
}

// reading is the channel's value as the centre keeps it; false for one that told none.
func (c *Channel) reading() (r cim.SubReading, told bool, err error) {
	if c.from == nil {
		return r, false, nil
	}
	u, ok := units[c.Unit]
	if !ok {
		return r, false, c.from.bad(len(c.from.Values)-1, format.ErrValue, "unit %.20q, want m3, dm3, Wh, kWh, MWh, J, MJ or GJ", c.Unit)
	}
	r = cim.SubReading{ID: c.ID, Channel: uint8(c.Number), Medium: cim.Medium(c.Type), Unit: u.unit, Scale: int8(u.ten - c.Places), Time: c.Time, Value: uint64(c.Digits)}
	if strings.Trim(r.ID, "0") == "" { // (000000000000): it has none
		r.ID = ""
	}
	if r.ID != "" && cim.CheckSubID(r.ID) != nil { // characters that no path of the API takes: the digits say as much
		r.ID = fmt.Sprintf("%X", r.ID)
	}
	if r.ID != "" {
		if err := cim.CheckSubID(r.ID); err != nil {
			return r, false, c.from.bad(0, format.ErrValue, "channel %d: %v", c.Number, err)
		}
	}
	return r, true, nil
}
