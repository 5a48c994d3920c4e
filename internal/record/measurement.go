package record

import "github.com/wattbus/wattbus/internal/cim"

// MeasurementSize is the length of a measurement.
const MeasurementSize = 36

// NoRegister in a profile says that the register is not known.
const NoRegister = cim.NoRegister

// Measurement (0x09) is a reading that tells only some of the values: what the centre makes of the messages of meters that
// speak another format.
type Measurement struct {
	Header
	Has      cim.Values
	Breaker  cim.Breaker
	Interval uint16 // minutes of the meter's intervals; 0: not told
	Import   uint64 // register, Wh
	Export   uint64 // register, Wh
	Power    int32  // active power, W
	Voltage  uint16 // 0.1 V
}

const allValues = cim.HasImport | cim.HasExport | cim.HasPower | cim.HasVoltage | cim.HasBreaker

// DecodeMeasurement reads a measurement.
func DecodeMeasurement(b []byte) (Measurement, error) {
	h, err := expect(b, TypeMeasurement)
	if err != nil {
		return Measurement{}, err
	}
	m := Measurement{h, cim.Values(b[8]), cim.Breaker(b[9]), u16(b[10:]), u64(b[12:]), u64(b[20:]), int32(u32(b[28:])), u16(b[32:])}
	switch {
	case m.Has&^allValues != 0:
		return m, at("measurement: values", 8, ErrValue, "0x%02x, want bits of 0x%02x", b[8], allValues)
	case m.Breaker > cim.BreakerReady:
		return m, at("measurement: breaker", 9, ErrValue, "%d, want at most %d", m.Breaker, cim.BreakerReady)
	case m.Interval > 1440 || m.Interval > 0 && 1440%m.Interval != 0:
		return m, at("measurement: interval", 10, ErrValue, "%d minutes, want a divisor of a day", m.Interval)
	}
	return m, m.Plausible()
}

// Append encodes m behind dst.
func (m Measurement) Append(dst []byte) []byte {
	dst = put16(append(m.append(dst, TypeMeasurement), byte(m.Has), byte(m.Breaker)), m.Interval)
	return put16(put16(put32(put64(put64(dst, m.Import), m.Export), uint32(m.Power)), m.Voltage), 0)
}

// Plausible is like that of Reading.
func (m Measurement) Plausible() error {
	return plausible("measurement", 12, m.Import, m.Export, m.Power)
}
