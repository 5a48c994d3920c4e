package cim

import (
	"fmt"
	"strconv"
	"strings"
)

// Unit is what the value of a sub-meter is counted in.
type Unit uint8

// The units; the numbers are those of the contract's submeter message.
const (
	UnitWh         Unit = 1
	UnitJoule      Unit = 2 // told and shown as GJ
	UnitCubicMetre Unit = 3
)

// String is the unit in which Decimal writes a value.
func (u Unit) String() string {
	switch u {
	case UnitWh:
		return "Wh"
	case UnitJoule:
		return "GJ"
	case UnitCubicMetre:
		return "m3"
	}
	return "unit-" + strconv.Itoa(int(u))
}

// Medium is what a sub-meter measures: its device type on the M-Bus (EN 13757-7, table "device type").
type Medium uint8

// The media that meters behind electricity meters have.
const (
	MediumOther       Medium = 0
	MediumElectricity Medium = 2
	MediumGas         Medium = 3
	MediumHeat        Medium = 4
	MediumSteam       Medium = 5
	MediumWarmWater   Medium = 6
	MediumWater       Medium = 7
	MediumCooling     Medium = 10
	MediumCoolingIn   Medium = 11
	MediumHeatIn      Medium = 12
	MediumHeatCooling Medium = 13
	MediumHotWater    Medium = 21
	MediumColdWater   Medium = 22
)

// String is its name; that of one without a name is its number.
func (m Medium) String() string {
	switch m {
	case MediumOther:
		return "other"
	case MediumElectricity:
		return "electricity"
	case MediumGas:
		return "gas"
	case MediumHeat, MediumHeatIn:
		return "heat"
	case MediumSteam:
		return "steam"
	case MediumWarmWater, MediumHotWater:
		return "warm-water"
	case MediumWater, MediumColdWater:
		return "water"
	case MediumCooling, MediumCoolingIn:
		return "cooling"
	case MediumHeatCooling:
		return "heat-cooling"
	}
	return "type-" + strconv.Itoa(int(m))
}

// SubReading is the register of a sub-meter at one instant: of a meter for gas, water, heat or electricity that tells its values to the
// electricity meter in front of the centre.
type SubReading struct {
	ID      string // of the sub-meter, as its maker or the utility numbers it; "" for one that does not tell
	Channel uint8  // on which the electricity meter hears it; 0: not told
	Medium  Medium
	Unit    Unit
	Scale   int8   // the value is Value × 10^Scale units
	Time    uint32 // of the value, seconds since the epoch: the sub-meter's own, which may be hours before that of the message
	Value   uint64
}

// Decimal writes Value × 10^Scale exactly, in the unit that Unit.String names.
func (r SubReading) Decimal() string { return Decimal(r.Value, r.Unit, r.Scale) }

// Decimal writes value × 10^scale units exactly, in the unit that Unit.String names.
func Decimal(value uint64, unit Unit, scale int8) string {
	exponent := int(scale)
	if unit == UnitJoule {
		exponent -= 9
	}
	digits := strconv.FormatUint(value, 10)
	if exponent >= 0 {
		if value == 0 {
			return digits
		}
		return digits + strings.Repeat("0", exponent)
	}
	if missing := 1 - exponent - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) + exponent
	return digits[:point] + "." + digits[point:]
}

// MaxSubID is the longest id of a sub-meter: P1 has at most 96 hexadecimal digits for it.
const MaxSubID = 48

// CheckSubID returns nil if s can be the id of a sub-meter: letters, digits and, after the first, also - _ and a point.
func CheckSubID(s string) error {
	if len(s) == 0 || len(s) > MaxSubID {
		return fmt.Errorf("id of a sub-meter %.60q has %d characters, want 1 to %d", s, len(s), MaxSubID)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		alnum := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_' && c != '.') {
			return fmt.Errorf("id of a sub-meter %q: character %q at %d, want letters and digits, after the first also - _ .", s, c, i)
		}
	}
	return nil
}

// Name is what the sub-meter is called among those of its meter: its id or, if it tells none, its channel.
func (r SubReading) Name() string {
	if r.ID != "" {
		return r.ID
	}
	return "channel-" + strconv.Itoa(int(r.Channel))
}
