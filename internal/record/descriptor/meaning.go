package descriptor

import (
	"fmt"
	"strconv"
	"strings"
)

// units give what a unit is of the one in which the centre keeps the quantity: Wh, W, 0.1 V.
var units = map[string]struct {
	of       string
	num, den uint64
}{
	"Wh": {"energy", 1, 1}, "kWh": {"energy", 1000, 1}, "MWh": {"energy", 1_000_000, 1},
	"W": {"power", 1, 1}, "kW": {"power", 1000, 1}, "MW": {"power", 1_000_000, 1},
	"V": {"voltage", 10, 1}, "mV": {"voltage", 1, 100},
}

// quantity is which units a target takes, "" for none.
func (t target) quantity() string {
	switch t {
	case toImport, toExport, toIntervalImport, toIntervalExport:
		return "energy"
	case toPower, toPowerExport:
		return "power"
	case toVoltage:
		return "voltage"
	}
	return ""
}

var obisTargets = map[string]target{"1-0:1.8.0": toImport, "1-0:2.8.0": toExport, "1-0:1.7.0": toPower, "1-0:16.7.0": toPower,
	"1-0:2.7.0": toPowerExport, "1-0:32.7.0": toVoltage, "1-0:12.7.0": toVoltage, "0-0:96.3.10": toBreaker, "0-0:1.0.0": toTime,
	"1-0:1.29.0": toIntervalImport, "1-0:2.29.0": toIntervalExport}

// meaning finds what a field means from the one of `is`, `obis` and `readingType` that it has, and the unit that a reading type
// carries.
func (f *field) meaning() (t target, unit string, err error) {
	given := 0
	for _, s := range []string{f.Is, f.OBIS, f.ReadingType} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		return 0, "", fmt.Errorf("`is`, `obis` and `readingType` say the same: want one of them")
	}
	var ok bool
	switch {
	case f.Is != "":
		if t, ok = targets[f.Is]; !ok {
			return 0, "", fmt.Errorf("`is: %s` is not known, want import, export, power, power-export, voltage, breaker, time, interval-import, "+
				"interval-export, event, parameter or none", f.Is)
		}
	case f.OBIS != "":
		if t, ok = obisTargets[strings.TrimSuffix(f.OBIS, "*255")]; !ok {
			return 0, "", fmt.Errorf("`obis: %s` is nothing that the centre keeps: leave it out, the field is decoded all the same", f.OBIS)
		}
	case f.ReadingType != "":
		return readingType(f.ReadingType)
	}
	return t, "", nil
}

// readingType takes an IEC 61968-9 reading type apart: 18 numbers, of which the accumulation, the direction, the kind, the
// multiplier and the unit count.
func readingType(s string) (t target, unit string, err error) {
	parts := strings.Split(s, ".")
	if len(parts) != 18 {
		return 0, "", fmt.Errorf("`readingType: %.60s` has %d numbers, want 18", s, len(parts))
	}
	var n [18]int
	for i, p := range parts {
		if n[i], err = strconv.Atoi(p); err != nil {
			return 0, "", fmt.Errorf("`readingType: %.60s`: %q is no number", s, p)
		}
	}
	accumulation, direction, kind, multiplier, of := n[3], n[4], n[6], n[15], n[16]
	prefix, ok := map[int]string{0: "", 3: "k", 6: "M", -3: "m"}[multiplier]
	if !ok {
		return 0, "", fmt.Errorf("`readingType: %.60s`: multiplier %d, want -3, 0, 3 or 6", s, multiplier)
	}
	export := direction == 19
	switch {
	case kind == 12 && of == 72 && (accumulation == 1 || accumulation == 3 || accumulation == 9):
		t, unit = toImport, prefix+"Wh"
	case kind == 12 && of == 72 && accumulation == 4:
		t, unit = toIntervalImport, prefix+"Wh"
	case kind == 37 && of == 38:
		t, unit = toPower, prefix+"W"
	case kind == 54 && of == 29:
		t, unit = toVoltage, prefix+"V"
	default:
		return 0, "", fmt.Errorf("`readingType: %.60s` is nothing that the centre keeps: leave it out", s)
	}
	if export {
		t = map[target]target{toImport: toExport, toIntervalImport: toIntervalExport, toPower: toPowerExport}[t]
	}
	return t, unit, nil
}
