package echonet

import (
	"encoding/binary"
	"fmt"

	"github.com/wattbus/wattbus/internal/format"
)

const maxCoefficient = 999_999

func (c *Count) append(dst []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(*c)), c.check()
}

// readRegister reads E0 and E3.
func readRegister(p Property, v *Count) error {
	err := p.size(4)
	if err == nil {
		*v, err = p.count(0)
	}
	return err
}

// Coefficient is D3, by which all counts are multiplied.
type Coefficient uint32

func readCoefficient(p Property, v *Coefficient) error {
	if err := p.size(4); err != nil {
		return err
	}
	if *v = Coefficient(binary.BigEndian.Uint32(p.EDT)); *v > maxCoefficient {
		return p.bad(0, format.ErrValue, "%d, want at most %d", *v, maxCoefficient)
	}
	return nil
}

func (v *Coefficient) append(dst []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(*v)), nil
}

// Digits is D7: the register rolls over at 10 to this power.
type Digits uint8

func readDigits(p Property, v *Digits) error {
	if err := p.size(1); err != nil {
		return err
	}
	if *v = Digits(p.EDT[0]); *v < 1 || *v > 8 {
		return p.bad(0, format.ErrValue, "%d, want 1 to 8", *v)
	}
	return nil
}

func (v *Digits) append(dst []byte) ([]byte, error) { return append(dst, byte(*v)), nil }

func readUnit(p Property, v *Unit) error {
	if err := p.size(1); err != nil {
		return err
	}
	if *v = Unit(p.EDT[0]); v.tenths() == 0 {
		return p.bad(0, format.ErrValue, "0x%02x, want 00 to 04 or 0A to 0D", p.EDT[0])
	}
	return nil
}

func (u *Unit) append(dst []byte) ([]byte, error) { return append(dst, byte(*u)), nil }

// MarshalText writes the unit in kWh.
func (u Unit) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (u *Unit) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUnit(string(b))
	return err
}

// Timed is EA and EB: the register at the latest half-hour.
type Timed struct {
	Time  DateTime `json:"time"`
	Count Count    `json:"count"`
}

func readTimed(p Property, v *Timed) error {
	err := p.size(11)
	if err != nil {
		return err
	}
	if v.Time, err = p.dateTime(0, 7); err != nil {
		return err
	}
	v.Count, err = p.count(7)
	return err
}

func (v *Timed) append(dst []byte) ([]byte, error) {
	dst, err := v.Time.append(dst, 7)
	if err != nil {
		return dst, err
	}
	return v.Count.append(dst)
}

// OneMinute is D0 of release R: both registers at the latest minute.
type OneMinute struct {
	Time    DateTime `json:"time"`
	Forward Count    `json:"forward"`
	Reverse Count    `json:"reverse"`
}

func readOneMinute(p Property, v *OneMinute) error {
	err := p.size(15)
	if err != nil {
		return err
	}
	if v.Time, err = p.dateTime(0, 7); err != nil {
		return err
	}
	if v.Forward, err = p.count(7); err != nil {
		return err
	}
	v.Reverse, err = p.count(11)
	return err
}

func (v *OneMinute) append(dst []byte) ([]byte, error) {
	dst, err := v.Time.append(dst, 7)
	if err == nil {
		dst, err = v.Forward.append(dst)
	}
	if err == nil {
		dst, err = v.Reverse.append(dst)
	}
	return dst, err
}

// Power is E7, W: negative while energy is fed in.
type Power int32

// The sentinels of Power.
const (
	NoPower        Power = 0x7FFFFFFE
	PowerOverflow  Power = 0x7FFFFFFF
	PowerUnderflow Power = -0x80000000
)

// Valid reports whether there is a value.
func (v Power) Valid() bool { return v < NoPower && v != PowerUnderflow }

func readPower(p Property, v *Power) error {
	if err := p.size(4); err != nil {
		return err
	}
	*v = Power(int32(binary.BigEndian.Uint32(p.EDT)))
	return nil
}

func (v *Power) append(dst []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(*v)), nil
}

// Current is the current of a phase, 0.1 A.
type Current int16

// The sentinels of Current: NoCurrent also for the T phase of a two-wire supply.
const (
	NoCurrent        Current = 0x7FFE
	CurrentOverflow  Current = 0x7FFF
	CurrentUnderflow Current = -0x8000
)

// Valid reports whether there is a value.
func (v Current) Valid() bool { return v < NoCurrent && v != CurrentUnderflow }

// Currents is E8.
type Currents struct {
	R Current `json:"r"`
	T Current `json:"t"`
}

func readCurrents(p Property, v *Currents) error {
	if err := p.size(4); err != nil {
		return err
	}
	*v = Currents{Current(binary.BigEndian.Uint16(p.EDT)), Current(binary.BigEndian.Uint16(p.EDT[2:]))}
	return nil
}

func (v *Currents) append(dst []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, uint16(v.R)), uint16(v.T)), nil
}

// words names the sentinels of a measured value in JSON.
func words(v, none, over, under int64, plain string) string {
	switch v {
	case none:
		return "null"
	case over:
		return `"overflow"`
	case under:
		return `"underflow"`
	}
	return plain
}

func unword(b []byte, none, over, under int64) (v int64, ok bool) {
	switch string(b) {
	case "null":
		return none, true
	case `"overflow"`:
		return over, true
	case `"underflow"`:
		return under, true
	}
	return 0, false
}

// MarshalJSON writes W, null for no value, or the words overflow and underflow.
func (v Power) MarshalJSON() ([]byte, error) {
	return []byte(words(int64(v), int64(NoPower), int64(PowerOverflow), int64(PowerUnderflow), fmt.Sprint(int32(v)))), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Power) UnmarshalJSON(b []byte) error {
	if w, ok := unword(b, int64(NoPower), int64(PowerOverflow), int64(PowerUnderflow)); ok {
		*v = Power(w)
		return nil
	}
	n, err := integer(b, -0x7FFFFFFF, 0x7FFFFFFD)
	*v = Power(n)
	return err
}

// MarshalJSON writes 0.1 A, null for no value, or the words overflow and underflow.
func (v Current) MarshalJSON() ([]byte, error) {
	return []byte(words(int64(v), int64(NoCurrent), int64(CurrentOverflow), int64(CurrentUnderflow), fmt.Sprint(int16(v)))), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Current) UnmarshalJSON(b []byte) error {
	if w, ok := unword(b, int64(NoCurrent), int64(CurrentOverflow), int64(CurrentUnderflow)); ok {
		*v = Current(w)
		return nil
	}
	n, err := integer(b, -0x7FFF, 0x7FFD)
	*v = Current(n)
	return err
}
