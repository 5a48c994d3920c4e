package echonet

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/format"
)

// Count is a register as the meter counts: 0 to 99,999,999, or NoCount.
type Count uint32

// The sentinels of the class.
const (
	NoCount  Count = 0xFFFFFFFE
	maxCount Count = 99_999_999
)

// Valid reports whether there is a value.
func (c Count) Valid() bool { return c != NoCount }

// MarshalJSON writes null for no value.
func (c Count) MarshalJSON() ([]byte, error) {
	if !c.Valid() {
		return []byte("null"), nil
	}
	return json.Marshal(uint32(c))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Count) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*c = NoCount
		return nil
	}
	var v uint32
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*c = Count(v)
	return nil
}

func (c Count) check() error {
	if c > maxCount && c != NoCount {
		return fmt.Errorf("%d counts, want at most %d: %w", uint32(c), uint32(maxCount), format.ErrValue)
	}
	return nil
}

// count reads the count at an index of a property's data, which is long enough.
func (p Property) count(at int) (Count, error) {
	c := Count(binary.BigEndian.Uint32(p.EDT[at:]))
	if c > maxCount && c != NoCount {
		return c, p.bad(at, format.ErrValue, "%d counts, want at most %d", uint32(c), uint32(maxCount))
	}
	return c, nil
}

// bad makes an error of the octet at an index of the property's data.
func (p Property) bad(at int, reason error, what string, args ...any) error {
	return format.At(name(p.EPC), p.Offset()+at, reason, what, args...)
}

func (p Property) size(want int) error {
	if len(p.EDT) != want {
		return p.bad(-1, format.ErrLength, "%d octets, want %d", len(p.EDT), want)
	}
	return nil
}

// DateTime is a moment on the meter's clock, Japan Standard Time. The zero value is a moment that is not set.
type DateTime struct {
	Year                     uint16
	Month, Day, Hour, Minute uint8
	Second                   uint8
}

var jst = time.FixedZone("JST", 9*3600)

// IsSet reports whether the meter has set it.
func (d DateTime) IsSet() bool { return d.Year != 0 }

// Unix is the moment in seconds since the epoch. ok is false where there is no such moment in 32 bits.
func (d DateTime) Unix() (uint32, bool) {
	if !d.IsSet() {
		return 0, false
	}
	u := time.Date(int(d.Year), time.Month(d.Month), int(d.Day), int(d.Hour), int(d.Minute), int(d.Second), 0, jst).Unix()
	return uint32(u), u > 0 && u <= 1<<32-1
}

// DateTimeOf is a moment on the meter's clock.
func DateTimeOf(unix uint32) DateTime {
	t := time.Unix(int64(unix), 0).In(jst)
	return DateTime{uint16(t.Year()), uint8(t.Month()), uint8(t.Day()), uint8(t.Hour()), uint8(t.Minute()), uint8(t.Second())}
}

const dateTimeLayout = "2006-01-02T15:04:05"

// MarshalJSON writes the local time, null where it is not set.
func (d DateTime) MarshalJSON() ([]byte, error) {
	if !d.IsSet() {
		return []byte("null"), nil
	}
	return fmt.Appendf(nil, `"%04d-%02d-%02dT%02d:%02d:%02d"`, d.Year, d.Month, d.Day, d.Hour, d.Minute, d.Second), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *DateTime) UnmarshalJSON(b []byte) error {
	*d = DateTime{}
	if string(b) == "null" {
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	t, err := time.ParseInLocation(dateTimeLayout, s, jst)
	if err != nil {
		return fmt.Errorf("time %.40q, want %s: %w", s, dateTimeLayout, format.ErrValue)
	}
	*d = DateTime{uint16(t.Year()), uint8(t.Month()), uint8(t.Day()), uint8(t.Hour()), uint8(t.Minute()), uint8(t.Second())}
	return nil
}

// dateTime reads n octets at an index: 7, or 6 without the second.
func (p Property) dateTime(at, n int) (d DateTime, err error) {
	b := p.EDT[at : at+n]
	unset := true
	for _, v := range b {
		unset = unset && v == 0xFF
	}
	if unset {
		return d, nil
	}
	d = DateTime{binary.BigEndian.Uint16(b), b[2], b[3], b[4], b[5], 0}
	if n == 7 {
		d.Second = b[6]
	}
	if !d.exists() {
		return d, p.bad(at, format.ErrValue, "%04d-%02d-%02d %02d:%02d:%02d is no date and time", d.Year, d.Month, d.Day, d.Hour, d.Minute, d.Second)
	}
	return d, nil
}

func (d DateTime) exists() bool {
	if d.Year < 1970 || d.Year > 9999 || d.Month < 1 || d.Month > 12 || d.Day < 1 || d.Hour > 23 || d.Minute > 59 || d.Second > 59 {
		return false
	}
	last := time.Date(int(d.Year), time.Month(d.Month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return int(d.Day) <= last
}

// append encodes n octets: 7, or 6 without the second.
func (d DateTime) append(dst []byte, n int) ([]byte, error) {
	if !d.IsSet() {
		for range n {
			dst = append(dst, 0xFF)
		}
		return dst, nil
	}
	if !d.exists() || n == 6 && d.Second != 0 {
		return dst, fmt.Errorf("%04d-%02d-%02d %02d:%02d:%02d is no date and time in %d octets: %w", d.Year, d.Month, d.Day, d.Hour, d.Minute, d.Second, n, format.ErrValue)
	}
	dst = append(binary.BigEndian.AppendUint16(dst, d.Year), d.Month, d.Day, d.Hour, d.Minute)
	if n == 7 {
		dst = append(dst, d.Second)
	}
	return dst, nil
}
