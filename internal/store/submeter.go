package store

import "github.com/wattbus/wattbus/internal/cim"

// SubMeter is a meter that stands behind a device, such as a gas meter that tells its register to the electricity meter.
type SubMeter struct {
	Ordinal uint32 // from 0, without gaps
	Device  uint32 // ordinal of the device that tells its values
	ID      string // cim.SubReading.Name: unique among those of the device
	Channel uint8  // on which the device hears it now
	Medium  cim.Medium
}

// SubValue is the register of a sub-meter at one instant: Value × 10^Scale units.
type SubValue struct {
	Sub   uint32 // ordinal of the sub-meter
	Time  uint32 // of the value, as the sub-meter told it
	Value uint64
	Unit  cim.Unit
	Scale int8
}

// SubValueQuery selects values of a sub-meter.
type SubValueQuery struct {
	Sub      uint32
	From, To uint32 // [From, To)
	Limit    int
}
