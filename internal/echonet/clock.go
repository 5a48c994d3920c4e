package echonet

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/format"
)

// Clock is 0x97, the meter's time of day.
type Clock struct {
	Hour   uint8 `json:"hour"`
	Minute uint8 `json:"minute"`
}

func readClock(p Property, v *Clock) error {
	if err := p.size(2); err != nil {
		return err
	}
	if *v = (Clock{p.EDT[0], p.EDT[1]}); v.Hour > 23 || v.Minute > 59 {
		return p.bad(0, format.ErrValue, "%d:%d is no time of day", v.Hour, v.Minute)
	}
	return nil
}

func (v *Clock) append(dst []byte) ([]byte, error) { return append(dst, v.Hour, v.Minute), nil }

// Date is 0x98, the meter's date.
type Date struct{ DateTime }

func readDate(p Property, v *Date) error {
	if err := p.size(4); err != nil {
		return err
	}
	v.DateTime = DateTime{Year: binary.BigEndian.Uint16(p.EDT), Month: p.EDT[2], Day: p.EDT[3]}
	if !v.exists() {
		return p.bad(0, format.ErrValue, "%04d-%02d-%02d is no date", v.Year, v.Month, v.Day)
	}
	return nil
}

func (v *Date) append(dst []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint16(dst, v.Year), v.Month, v.Day), nil
}

// MarshalJSON writes the date.
func (v *Date) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `"%04d-%02d-%02d"`, v.Year, v.Month, v.Day), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Date) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return fmt.Errorf("date %.40q, want %s: %w", s, time.DateOnly, format.ErrValue)
	}
	v.DateTime = DateTime{Year: uint16(t.Year()), Month: uint8(t.Month()), Day: uint8(t.Day())}
	return nil
}
