package record

import (
	"math"

	"github.com/wattbus/wattbus/internal/cim"
)

// SubmeterSize is the length of a submeter message.
const SubmeterSize = 72

// What a sub-meter can say: a number that stays exact in JSON, in steps between a nano-unit and 10^9 of them.
const (
	MaxSubValue = 1<<53 - 1
	maxSubScale = 9
)

// Submeter (0x0A) is the register of a meter that stands behind the device, such as a gas meter on its M-Bus. The header's time is
// that of the value.
type Submeter struct {
	Header
	Channel uint8 // on which the device hears it; 0: not told
	Medium  cim.Medium
	Unit    cim.Unit
	Scale   int8   // the value is Value × 10^Scale units
	Value   uint64 // the register
	ID      string // of the sub-meter; "" for one that tells none
}

// DecodeSubmeter reads a submeter message.
func DecodeSubmeter(b []byte) (Submeter, error) {
	h, err := expect(b, TypeSubmeter)
	if err != nil {
		return Submeter{}, err
	}
	m := Submeter{Header: h, Channel: b[8], Medium: cim.Medium(b[9]), Unit: cim.Unit(b[10]), Scale: int8(b[11]), Value: u64(b[12:])}
	n := int(b[20])
	if n > cim.MaxSubID {
		return m, at("submeter: id", 20, ErrValue, "%d characters, want at most %d", n, cim.MaxSubID)
	}
	for i, c := range b[24+n:] {
		if c != 0 {
			return m, at("submeter: id", 24+n+i, ErrValue, "0x%02x behind it, want 0", c)
		}
	}
	m.ID = string(b[24 : 24+n])
	return m, m.check()
}

// Append encodes m behind dst. It refuses what a field cannot hold.
func (m Submeter) Append(dst []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return dst, err
	}
	dst = append(m.append(dst, TypeSubmeter), m.Channel, byte(m.Medium), byte(m.Unit), byte(m.Scale))
	dst = append(put64(dst, m.Value), byte(len(m.ID)), 0, 0, 0)
	dst = append(dst, m.ID...)
	return append(dst, make([]byte, cim.MaxSubID-len(m.ID))...), nil
}

func (m Submeter) check() error {
	switch {
	case m.ID == "" && m.Channel == 0:
		return at("submeter: channel", 8, ErrValue, "0, and no id either")
	case m.Unit < cim.UnitWh || m.Unit > cim.UnitCubicMetre:
		return at("submeter: unit", 10, ErrValue, "%d, want 1 (Wh), 2 (J) or 3 (m3)", m.Unit)
	case m.Scale > maxSubScale || m.Scale < -maxSubScale:
		return at("submeter: scale", 11, ErrValue, "%d, want -%d to %d", m.Scale, maxSubScale, maxSubScale)
	case m.Value > MaxSubValue:
		return at("submeter: value", 12, ErrValue, "%d, want at most %d", m.Value, uint64(MaxSubValue))
	case m.Time == 0 || m.Time == math.MaxUint32:
		return at("submeter: time", 4, ErrValue, "%d, want that of the value", m.Time)
	}
	if m.ID != "" {
		if err := cim.CheckSubID(m.ID); err != nil {
			return at("submeter: id", 24, ErrValue, "%v", err)
		}
	}
	return nil
}

// Reading is the message as a value of the sub-meter.
func (m Submeter) Reading() cim.SubReading {
	return cim.SubReading{ID: m.ID, Channel: m.Channel, Medium: m.Medium, Unit: m.Unit, Scale: m.Scale, Time: m.Time, Value: m.Value}
}
