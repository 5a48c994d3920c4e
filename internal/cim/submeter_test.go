package cim

import "testing"

func TestDecimal(t *testing.T) {
	for _, tc := range []struct {
		value uint64
		unit  Unit
		scale int8
		want  string
	}{
		{246_138, UnitCubicMetre, -3, "246.138"}, {107, UnitCubicMetre, -3, "0.107"}, {0, UnitCubicMetre, -3, "0.000"}, {0, UnitWh, 3, "0"},
		{5, UnitCubicMetre, 0, "5"}, {12_345, UnitJoule, 6, "12.345"}, {12, UnitJoule, 9, "12"}, {1, UnitJoule, 0, "0.000000001"},
		{12, UnitWh, 3, "12000"}, {9_007_199_254_740_991, UnitWh, 0, "9007199254740991"}, {10, UnitCubicMetre, -1, "1.0"},
	} {
		if got := Decimal(tc.value, tc.unit, tc.scale); got != tc.want {
			t.Errorf("%d × 10^%d %v: %s, want %s", tc.value, tc.scale, tc.unit, got, tc.want)
		}
	}
	if MediumGas.String() != "gas" || Medium(24).String() != "type-24" || UnitJoule.String() != "GJ" || Unit(9).String() != "unit-9" {
		t.Error("names")
	}
}
