package dsmr

import (
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
	n, places, err := o.number(i, s)
	if err != nil {
		return 0, err
	}
	for range 3 - places {
		n *= 10
	}
	if scale == 1 && len(units) > 1 {
		if n%1000 != 0 {
			return 0, o.bad(i, format.ErrValue, "%.40q is no whole number of %s", s, unit)
		}
		n /= 1000
	}
	return n, nil
}

// number reads digits with up to three decimals: 00246.138 is 246138 with three places.
func (o *Object) number(i int, s string) (n int64, places int, err error) {
	whole, part, _ := strings.Cut(s, ".")
	if len(part) > 3 {
		return 0, 0, o.bad(i, format.ErrValue, "%.40q has more than three decimals", s)
	}
	digits := whole + part
	if whole == "" || len(whole) > 12 || strings.Trim(digits, "0123456789") != "" {
		return 0, 0, o.bad(i, format.ErrValue, "%.40q is no number", s)
	}
	if n, err = strconv.ParseInt(digits, 10, 64); err != nil {
		return 0, 0, o.bad(i, format.ErrValue, "%.40q is no number", s)
	}
	return n, len(part), nil
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
