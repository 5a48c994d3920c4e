package dsmr

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/format"
)

// Find returns the object with a code; nil if there is none.
func (t *Telegram) Find(code string) *Object {
	for i := range t.Objects {
		if t.Objects[i].Code == code {
			return &t.Objects[i]
		}
	}
	return nil
}

// bad makes an error of the object's value i.
func (o *Object) bad(i int, reason error, what string, args ...any) error {
	off := o.at
	if i < len(o.offs) {
		off = o.offs[i]
	}
	return at(o.Code, o.line, off, reason, what, args...)
}

// milli reads value i, a decimal number with a unit, in thousandths of that: kWh gives Wh, V gives mV.
func (o *Object) milli(i int, units ...string) (int64, error) {
	if i >= len(o.Values) {
		return 0, o.bad(i, format.ErrLength, "%d values, want %d", len(o.Values), i+1)
	}
	s, unit, _ := strings.Cut(o.Values[i], "*")
	scale := int64(0)
	for k, u := range units {
		if unit == u {
			scale = 1
			if k > 0 {
				scale = 1000 // the first unit is the small one: Wh before kWh
			}
		}
	}
	if scale == 0 {
		return 0, o.bad(i, format.ErrValue, "unit %.20q, want %s", unit, strings.Join(units, " or "))
	}
	whole, part, _ := strings.Cut(s, ".")
	if len(part) > 3 {
		return 0, o.bad(i, format.ErrValue, "%.40q has more than three decimals", s)
	}
	if scale == 1 && len(units) > 1 && strings.Trim(part, "0") != "" {
		return 0, o.bad(i, format.ErrValue, "%.40q is no whole number of %s", s, unit)
	}
	digits := whole + part + "000"[:3-len(part)]
	if whole == "" || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return 0, o.bad(i, format.ErrValue, "%.40q is no number", s)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, o.bad(i, format.ErrValue, "%.40q is no number", s)
	}
	if scale == 1 && len(units) > 1 {
		n /= 1000
	}
	return n, nil
}

// ParseTime reads a time stamp, YYMMDDhhmmss and S for summer time or W for winter time. Without that letter, as DSMR 2 has
// it, the hour that the change to winter time repeats is taken for its first pass, and ok is false where the letter is wrong or
// there is no such moment.
func ParseTime(s string) (unix uint32, ok bool) {
	if len(s) != 12 && len(s) != 13 {
		return 0, false
	}
	var v [6]int
	for i := range v {
		a, b := s[2*i], s[2*i+1]
		if a < '0' || a > '9' || b < '0' || b > '9' {
			return 0, false
		}
		v[i] = int(a-'0')*10 + int(b-'0')
	}
	t := time.Date(2000+v[0], time.Month(v[1]), v[2], v[3], v[4], v[5], 0, time.UTC)
	if t.Month() != time.Month(v[1]) || t.Day() != v[2] || t.Hour() != v[3] || t.Minute() != v[4] || t.Second() != v[5] {
		return 0, false // time.Date carries over what is too large
	}
	ahead := int64(3600)
	switch {
	case len(s) == 13 && s[12] == 'S':
		ahead = 7200
	case len(s) == 13 && s[12] != 'W':
		return 0, false
	case len(s) == 12 && summer(t.Unix()-7200):
		ahead = 7200
	}
	return uint32(t.Unix() - ahead), true
}

// FormatTime writes a time stamp with its letter.
func FormatTime(unix uint32) string {
	ahead, letter := int64(3600), "W"
	if summer(int64(unix)) {
		ahead, letter = 7200, "S"
	}
	return time.Unix(int64(unix)+ahead, 0).UTC().Format("060102150405") + letter
}

// summer reports whether central European summer time holds: from the last Sunday of March to that of October, 01:00 UTC.
func summer(unix int64) bool {
	t := time.Unix(unix, 0).UTC()
	change := func(m time.Month) int64 {
		d := time.Date(t.Year(), m, 31, 1, 0, 0, 0, time.UTC)
		return d.AddDate(0, 0, -int(d.Weekday())).Unix()
	}
	return unix >= change(time.March) && unix < change(time.October)
}

// moment reads value i, a time stamp.
func (o *Object) moment(i int) (uint32, error) {
	if i >= len(o.Values) {
		return 0, o.bad(i, format.ErrLength, "%d values, want %d", len(o.Values), i+1)
	}
	u, ok := ParseTime(o.Values[i])
	if !ok {
		return 0, o.bad(i, format.ErrValue, "%.20q is no time, want YYMMDDhhmmss and S or W", o.Values[i])
	}
	return u, nil
}

// Channel is what a telegram says of a device on the M-Bus: a gas, water or heat meter, or another electricity meter.
type Channel struct {
	Number int    `json:"channel"`      // 1 to 4
	Type   int    `json:"type"`         // 3 gas, 7 water, 2 electricity, 4 heat
	ID     string `json:"id,omitempty"` // of the device
	Time   uint32 `json:"time"`         // of the value, seconds since the epoch; 0: no value yet
	Milli  int64  `json:"milli"`        // thousandths of the unit
	Unit   string `json:"unit,omitempty"`
}

// Channels lists the devices on the M-Bus.
func (t *Telegram) Channels() ([]Channel, error) {
	var out []Channel
	for n := 1; n <= 4; n++ {
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

func (c *Channel) value(o *Object, i, j int) (err error) {
	if len(o.Values) <= j || !strings.Contains(o.Values[j], "*") {
		return nil // connected, and it never told a value
	}
	if c.Time, err = o.moment(i); err != nil {
		return err
	}
	_, c.Unit, _ = strings.Cut(o.Values[j], "*")
	c.Milli, err = o.milli(j, c.Unit)
	return err
}

func (c *Channel) old(o *Object) (err error) {
	if len(o.Values) < 7 {
		return o.bad(len(o.Values), format.ErrLength, "%d values, want 7", len(o.Values))
	}
	if c.Time, err = o.moment(0); err != nil {
		return err
	}
	c.Unit = o.Values[5]
	c.Milli, err = o.milli(6, "")
	return err
}

// Text is what hexadecimal digits spell, if they spell printable characters; else the digits.
func Text(hex string) string {
	b := make([]byte, 0, len(hex)/2)
	for i := 0; i+1 < len(hex); i += 2 {
		n, err := strconv.ParseUint(hex[i:i+2], 16, 8)
		if err != nil || n < ' ' || n > '~' {
			return hex
		}
		b = append(b, byte(n))
	}
	if len(hex)%2 != 0 {
		return hex
	}
	return string(b)
}
