package descriptor

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
	"github.com/wattbus/wattbus/internal/record"
)

func unix(s string) uint32 {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return uint32(t.Unix())
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func example(t testing.TB, name string) *Layout {
	t.Helper()
	b, err := os.ReadFile("../../../examples/formats/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const north = "4E47 "

// annotated are messages of the examples, octet by octet, without their check sums.
var annotated = []struct {
	layout, hex string
	sum         string
	want        cim.MeterReading
}{
	//        start serial   time       import 12345.67 export none power  status
	{"hokuto", `68 00001234 2607271230 0001234567 FFFFFFFFFF FFFFFF38 89`, "en13757", cim.MeterReading{
		Measurements: []cim.Measurement{{Time: unix("2026-07-27T12:30:00+09:00"), Has: cim.HasImport | cim.HasPower, Interval: 30, Import: 12_345_670,
			Power: -200, Flags: cim.FlagClock | cim.FlagTamper}},
		Supply: []cim.SupplyEvent{cim.SupplyLost}, Events: []cim.EndDeviceEvent{{Time: unix("2026-07-27T12:30:00+09:00"), Code: 40}}}},
	//             MTR1     meter                20260727003000                import       balance    2301     02   120 Wh   none
	{"rhonestrom", `4D545231 43482D30303030382020 3230323630373237303033303030 00012345678C 000001234D 32333031 3032 0000120C 9999999F`, "xor", cim.MeterReading{
		Measurements: []cim.Measurement{{Time: unix("2026-07-27T00:30:00+02:00"), Has: cim.HasImport | cim.HasVoltage, Interval: 15, Import: 12_345_678, Voltage: 2301}},
		Blocks:       []cim.IntervalBlock{{Slot: 15, Start: unix("2026-07-27T00:00:00+02:00"), Register: cim.NoRegister, Values: []uint32{120, cim.NoValue}}}}},
	//                  kind flags time    import           export           1.5 kW   2301 switch
	{"northgrid", north + `01 0202 D0420F5C  4523010000000000 0100000000000000 0000C03F FD08 01`, "x25", cim.MeterReading{
		Measurements: []cim.Measurement{{Time: 0x5C0F42D0, Has: 31, Interval: 30, Import: 0x12345, Export: 1, Power: 1500, Voltage: 2301, Breaker: cim.BreakerOpen,
			Flags: cim.FlagBreakerOpen | cim.FlagEstimated}}}},
	{"northgrid", north + `02 0000 D0420F5C 02  02000000 01000000  01000000 FFFFFFFF`, "x25", cim.MeterReading{
		Measurements: []cim.Measurement{{Time: 0x5C0F42D0, Has: 3, Interval: 30, Import: 20, Export: 10}, {Time: 0x5C0F42D0 - 1800, Has: 1, Interval: 30, Import: 10}}}},
	{"northgrid", north + `03 0000 D0420F5C 0700 2A000000`, "x25", cim.MeterReading{Events: []cim.EndDeviceEvent{{Time: 0x5C0F42D0, Code: 7, Parameter: 42}}}},
}

func message(t testing.TB, i int) (*Layout, []byte) {
	t.Helper()
	tc := annotated[i]
	b := unhex(t, tc.hex)
	s := checkSums[tc.sum]
	from := 0
	if tc.layout == "hokuto" {
		from = 1
	}
	return example(t, tc.layout), appendWord(b, s.of(b[from:]), s.width, tc.layout == "northgrid")
}

func equal(a, b *cim.MeterReading) bool {
	return slices.Equal(a.Measurements, b.Measurements) && slices.Equal(a.Supply, b.Supply) && slices.Equal(a.Events, b.Events) &&
		slices.EqualFunc(a.Blocks, b.Blocks, func(x, y cim.IntervalBlock) bool {
			return x.Channel == y.Channel && x.Slot == y.Slot && x.Start == y.Start && x.Register == y.Register && slices.Equal(x.Values, y.Values)
		})
}

func TestExamples(t *testing.T) {
	for i, tc := range annotated {
		l, b := message(t, i)
		var r cim.MeterReading
		if err := l.Read(b, &r); err != nil || !equal(&r, &tc.want) {
			t.Errorf("%s: %+v, %v,\nwant %+v", tc.layout, r, err, tc.want)
			continue
		}
		doc, err := l.Decode(b)
		if err != nil {
			t.Errorf("%s: %v", tc.layout, err)
			continue
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		again, err := l.Encode(text)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %s became\n%x, %v, want\n%x", tc.layout, text, again, err, b)
		}
		for n := range b {
			if err := l.Read(b[:n], &cim.MeterReading{}); err == nil {
				t.Errorf("%s cut to %d: accepted", tc.layout, n)
			} else if format.Reason(err) == "other" {
				t.Errorf("%v has no reason", err)
			}
		}
		if err := l.Read(append(bytes.Clone(b), 0), &cim.MeterReading{}); !errors.Is(err, format.ErrLength) {
			t.Errorf("%s with an octet more: %v", tc.layout, err)
		}
		for k := range b { // each layout ends with a check sum
			c := bytes.Clone(b)
			c[k] ^= 0x04
			if err := l.Read(c, &cim.MeterReading{}); err == nil && !(tc.layout == "hokuto" && k == 0) {
				t.Errorf("%s: a change at %d is not noticed", tc.layout, k)
			}
		}
	}
}

func TestCheckSums(t *testing.T) {
	// The check values that catalogues of CRCs give for "123456789".
	for name, want := range map[string]uint64{"crc8": 0xF4, "crc16": 0xBB3D, "modbus": 0x4B37, "ccitt": 0x29B1, "xmodem": 0x31C3, "x25": 0x906E,
		"en13757": 0xC2B7, "crc32": 0xCBF43926, "sum8": 0xDD, "sum16": 0x01DD, "lrc": 0x23, "xor": 0x31} {
		if got := checkSums[name].of([]byte("123456789")); got != want {
			t.Errorf("%s: 0x%x, want 0x%x", name, got, want)
		}
	}
}

// TestCheckSumFrom: a check sum begins at any field before it, also behind parts of variable length, within them, and in each repetition anew.
func TestCheckSumFrom(t *testing.T) {
	const n, sum = "{name: n, type: unsigned, width: 1}", "{name: s, type: checksum, algorithm: sum8, from: "
	const list = "{name: r, repeat: n, fields: [{name: a, type: unsigned, width: 1}]}"
	for _, tc := range []struct{ fields, hex string }{
		{n + ", " + list + ", " + sum + "n}", "02 0304 09"},
		{n + ", " + list + ", " + sum + "r}", "02 0304 07"},
		{n + ", " + list + ", {name: b, type: unsigned, width: 1}, " + sum + "b}", "02 0304 05 05"},
		{n + ", {name: r, repeat: n, fields: [{name: a, type: unsigned, width: 1}, {name: b, type: unsigned, width: 1}, " + sum + "b}]}", "02 030404 050606"},
		{n + ", {name: r, repeat: n, fields: [{name: a, type: unsigned, width: 1}, " + sum + "n}]}", "02 0305 050F"},
		{n + ", {name: v, by: n, cases: [{when: 2, fields: [{name: a, type: unsigned, width: 1}, {name: b, type: unsigned, width: 1}, " + sum + "b}]}]}", "02 0304 04"},
	} {
		l, b := layout(t, "  ["+tc.fields+"]\n"), unhex(t, tc.hex)
		doc, err := l.Decode(b)
		if err != nil {
			t.Errorf("%s: %v", tc.fields, err)
			continue
		}
		text, _ := json.Marshal(doc)
		if again, err := l.Encode(text); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %s became %x, %v", tc.fields, text, again, err)
		}
		b[len(b)-1]++
		if err := l.Read(b, &cim.MeterReading{}); !errors.Is(err, format.ErrCheckSum) {
			t.Errorf("%s: a wrong sum: %v", tc.fields, err)
		}
	}
}

func layout(t testing.TB, fields string) *Layout {
	t.Helper()
	l, err := Parse([]byte("name: t\nfields:\n" + fields))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNumbers(t *testing.T) {
	for _, tc := range []struct{ field, hex, json string }{
		{"type: unsigned, width: 3", "010203", "66051"},
		{"type: unsigned, width: 3, order: little", "010203", "197121"},
		{"type: unsigned, width: 8", "FFFFFFFFFFFFFFFF", "18446744073709551615"},
		{"type: signed, width: 1", "80", "-128"},
		{"type: signed, width: 3", "FFFFFE", "-2"},
		{"type: signed, width: 8", "8000000000000000", "-9223372036854775808"},
		{"type: signed, width: 2, scale: '0.01'", "FF9C", "-1.00"},
		{"type: bcd, width: 2", "1234", "1234"},
		{"type: bcd, width: 2, order: little", "3412", "1234"},
		{"type: bcd, width: 8, scale: '0.001'", "1234567890123456", "1234567890123.456"},
		{"type: packed, width: 2", "123C", "123"},
		{"type: packed, width: 2, unsigned: true", "123F", "123"},
		{"type: packed, width: 9", "12345678901234567D", "-12345678901234567"},
		{"type: digits, width: 4", "30303432", "42"},
		{"type: digits, width: 4", "2D303432", "-42"},
		{"type: digits, width: 4, pad: ' '", "202D3432", "-42"},
		{"type: digits, width: 4, pad: ' '", "20202030", "0"},
		{"type: float, width: 4", "43666666", "230.4"},
		{"type: float, width: 8", "406CCCCCCCCCCCCD", "230.4"},
		{"type: text, width: 4, pad: '0x00', value: AB", "41420000", `"AB"`},
		{"type: float, width: 4", "3FC00000", "1.5"},
		{"type: float, width: 8, order: little", "000000000000F83F", "1.5"},
		{"type: text, width: 4", "4142", ""},
		{"type: text, width: 4, pad: '0x00'", "41420000", `"AB"`},
		{"type: bytes, width: 2", "0AFF", `"0aff"`},
		{"type: unsigned, width: 2, none: ['0xFFFF', '9999']", "FFFF", "null"},
		{"type: time, form: epoch", "00000001", `"1970-01-01T00:00:01Z"`},
		{"type: time, form: epoch-ms", "000001986E0A5C00", `"2025-08-03T03:47:09Z"`},
		{"type: time, form: bcd, layout: YYYYMMDDhhmmss, zone: '-05:00'", "20260727120000", `"2026-07-27T17:00:00Z"`},
		{"type: time, form: binary, layout: YYYYMMDDhhmm", "07EA071B0C1E", `"2026-07-27T12:30:00Z"`},
		{"type: time, form: ascii, layout: DDMMYYhhmm", "32373037323631323330", `"2026-07-27T12:30:00Z"`},
	} {
		l := layout(t, "  - {name: x, "+tc.field+"}\n")
		b := unhex(t, tc.hex)
		doc, err := l.Decode(b)
		if tc.json == "" {
			if err == nil {
				t.Errorf("%s: accepted", tc.field)
			}
			continue
		}
		text, _ := json.Marshal(doc)
		if want := `{"x":` + tc.json + `}`; err != nil || string(text) != want {
			t.Errorf("%s: %s, %v, want %s", tc.field, text, err, want)
			continue
		}
		if again, err := l.Encode(text); err != nil || !bytes.Equal(again, b) {
			if !strings.Contains(tc.field, "epoch-ms") { // cut to seconds
				t.Errorf("%s: %x, %v", tc.field, again, err)
			}
		}
	}
}

// Errors of messages name the field and the offset.
func TestRefused(t *testing.T) {
	for _, tc := range []struct{ fields, hex, want string }{
		{"{name: a, type: bcd, width: 2}", "1A34", "a at offset 0: 0x1a is no digit or sign of bcd: value outside its range"},
		{"{name: a, type: packed, width: 2}", "1239", "a at offset 1: 0x39 is no digit or sign of packed: value outside its range"},
		{"{name: a, type: digits, width: 3}", "303A30", "a at offset 1: 0x3a is no digit or sign of digits: value outside its range"},
		{"{name: a, type: unsigned, width: 1, value: 7}", "08", "a at offset 0: 0x08, want 0x07: value outside its range"},
		{"{name: a, type: unsigned, width: 1, min: 3, max: 9}", "0A", "a at offset 0: 10, want 3 to 9: value outside its range"},
		{"{name: a, type: signed, width: 2, unit: kWh, is: import}", "FFFF", "a at offset 0: -1000 is negative: value outside its range"},
		{"{name: a, type: unsigned, width: 8, scale: '1000', unit: MWh, is: import}", "FFFFFFFFFFFFFFFF", "a at offset 0: 18446744073709551615 × 1000000000 / 1 is too large: value outside its range"},
		{"{name: a, type: unsigned, width: 4, unit: kW, is: power}", "FFFFFFFF", "a at offset 0: 4294967295000, want at most 2147483647: value outside its range"},
		{"{name: a, type: unsigned, width: 1, is: breaker}", "03", "a at offset 0: 3 is no state of a breaker: value outside its range"},
		{"{name: a, type: time, form: bcd, layout: YYMMDDhh}", "26023000", "a at offset 0: 0x26023000 is no time: value outside its range"},
		{"{name: a, type: float, width: 4, unit: W, is: power}", "7FC00000", "a at offset 0: NaN: value outside its range"},
		{"{name: a, type: unsigned, width: 1}, {name: b, type: checksum, algorithm: sum8}", "0102", "b at offset 1: 0x02, reckoned 0x01: check sum is wrong"},
		{"{name: a, type: unsigned, width: 1}, {name: b, type: unsigned, width: 4}", "010203", "b at offset 1: the message ends at 3, want 4 octets from here: wrong length"},
		{"{name: n, type: unsigned, width: 2}, {name: r, repeat: n, fields: [{name: a, type: unsigned, width: 1}]}", "FFFF00", "r at offset 2: 65535 repetitions, want at most 10000: value outside its range"},
		{"{name: n, type: unsigned, width: 2}, {name: r, repeat: n, fields: [{name: a, type: unsigned, width: 1}]}", "000300", "r at offset 2: 3 repetitions, and 1 octets are left: wrong length"},
		{"{name: k, type: unsigned, width: 1}, {name: v, by: k, cases: [{when: '1', fields: [{name: a, type: unsigned, width: 1}]}]}", "0200", "v at offset 1: 2 is none of the cases: value outside its range"},
	} {
		l := layout(t, "  ["+tc.fields+"]\n")
		err := l.Read(unhex(t, tc.hex), &cim.MeterReading{})
		var e *format.Error
		if err == nil || err.Error() != tc.want || !errors.As(err, &e) {
			t.Errorf("%s:\n got %v\nwant %s", tc.fields, err, tc.want)
		}
	}
	for _, tc := range []struct{ fields, hex, want string }{
		{"{name: n, type: signed, width: 1}, {name: r, repeat: n, fields: [{name: a, type: unsigned, width: 1}]}", "FF00", "n at offset 0: -1 is negative: value outside its range"},
		{"{name: t, type: time, form: epoch, none: ['0xFFFFFFFF']}, {name: r, repeat: 1, step: 15, end: t, fields: [{name: a, type: unsigned, width: 1, unit: Wh, is: interval-import}]}",
			"FFFFFFFF07", "r at offset 4: the time of its steps: is missing"},
		{"{name: t, type: time, form: epoch}, {name: r, repeat: 1, step: 15, end: t, fields: [{name: a, type: unsigned, width: 1, unit: Wh, is: interval-import}]}",
			"0000000A07", "r at offset 4: 1 steps of 15 minutes are not all between 1970 and 2106: value outside its range"},
		{"{name: t, type: time, form: epoch}, {name: r, repeat: 1, step: 15, start: t, fields: [{name: a, type: unsigned, width: 1, unit: Wh, is: import}]}",
			"FFFFFFFE07", "r at offset 4: 1 steps of 15 minutes are not all between 1970 and 2106: value outside its range"},
		{"{name: a, type: signed, width: 4, unit: W, is: power}, {name: b, type: signed, width: 4, unit: W, is: power}", "7FFFFFFF7FFFFFFF", "b at offset 4: 4294967294, want at most 2147483647: value outside its range"},
		{"{name: a, type: unsigned, width: 4, unit: W, is: power-export}, {name: b, type: unsigned, width: 4, unit: W, is: power-export}", "7FFFFFFF00000001",
			"b at offset 4: 2147483648, want at most 2147483647: value outside its range"},
		{"{name: a, type: unsigned, width: 8, unit: Wh, is: import}, {name: b, type: unsigned, width: 8, unit: Wh, is: import}", "FFFFFFFFFFFFFFFF0000000000000001",
			"b at offset 8: the sum is too large: value outside its range"},
		{"{name: a, type: bcd, width: 1, unit: Wh, is: export}, {name: b, type: unsigned, width: 8, unit: Wh, is: export, min: -1}", "01FFFFFFFFFFFFFFFF", "b at offset 1: the sum is too large: value outside its range"},
		{"{name: a, type: time, form: ascii, layout: YYMMDDhhmm, zone: Europe/Zurich}", "32363033323930323330", "a at offset 0: 0x32363033323930323330 is no time: value outside its range"},
	} {
		if err := layout(t, "  ["+tc.fields+"]\n").Read(unhex(t, tc.hex), &cim.MeterReading{}); err == nil || err.Error() != tc.want {
			t.Errorf("%s:\n got %v\nwant %s", tc.fields, err, tc.want)
		}
	}
	l := layout(t, "  [{name: a, type: unsigned, width: 1, scale: '0.5'}, {name: t, type: text, width: 2}]\n")
	for doc, want := range map[string]string{
		`{"t":"AB"}`:              "a at offset 0: a value: is missing",
		`{"a":1.2,"t":"AB"}`:      "a at offset 0: 1.2 is no multiple of the scale: value outside its range",
		`{"a":200,"t":"AB"}`:      "a at offset 0: 200 does not fit 1 octets of unsigned: value outside its range",
		`{"a":1e999999,"t":"AB"}`: `a at offset 0: "1e999999" is no number: value outside its range`,
		`{"a":1,"t":"ABC"}`:       "t at offset 1: want a text of at most 2 characters: value outside its range",
		`{"a":1,"t":"AB","x":1}`:  "x at offset 3: the layout has no such field: value outside its range",
		`{"a":null,"t":"AB"}`:     "a at offset 0: null, and the layout names no value that stands for none: value outside its range",
		`{"a":"1","t":"AB"}`:      "a at offset 0: want a number: value outside its range",
	} {
		if _, err := l.Encode([]byte(doc)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}

// TestKept: what several fields, repetitions and variants say together.
func TestKept(t *testing.T) {
	const at, time = 0x6A674F48, "{name: t, type: time, form: epoch}"
	power := func(at uint32, w int32) cim.Measurement {
		return cim.Measurement{Time: at, Has: cim.HasPower, Power: w}
	}
	register := func(at uint32, wh uint64) cim.Measurement {
		return cim.Measurement{Time: at, Has: cim.HasImport, Import: wh}
	}
	for _, tc := range []struct {
		name, fields, hex string
		want              cim.MeterReading
	}{
		{"registers of rates", "{name: a, type: unsigned, width: 1, unit: Wh, is: import}, {name: b, type: unsigned, width: 1, unit: kWh, is: import}", "0502",
			cim.MeterReading{Measurements: []cim.Measurement{register(0, 2005)}}},
		{"one of them without a value", "{name: a, type: unsigned, width: 1, unit: Wh, is: import, none: ['255']}, {name: b, type: unsigned, width: 1, unit: Wh, is: import}, " +
			"{name: c, type: unsigned, width: 1, unit: W, is: power}", "FF0207", cim.MeterReading{Measurements: []cim.Measurement{{Has: cim.HasPower, Import: 2, Power: 7}}}},
		{"powers of phases", "{name: a, type: signed, width: 1, unit: W, is: power}, {name: b, type: signed, width: 1, unit: W, is: power}, {name: c, type: unsigned, width: 1, unit: W, is: power-export}",
			"05FE01", cim.MeterReading{Measurements: []cim.Measurement{power(0, 2)}}},
		{"events, each with its time", time + ", {name: status, type: bits, width: 1, bits: [{bit: 0, name: x, event: 9}]}, {name: n, type: unsigned, width: 1}, {name: r, repeat: n, fields: " +
			"[{name: w, type: time, form: epoch, none: ['0xFFFFFFFF']}, {name: c, type: unsigned, width: 1, is: event}, {name: p, type: unsigned, width: 1, is: parameter}]}",
			"6A674F48 01 04 6A674F49 0701 6A674F4A 0802 FFFFFFFF 0903 6A674F4C 0004", cim.MeterReading{Events: []cim.EndDeviceEvent{{Time: at, Code: 9}, {Time: at + 1, Code: 7, Parameter: 1},
				{Time: at + 2, Code: 8, Parameter: 2}}}},
		{"events without a time, and one of the message", "{name: r, repeat: 2, fields: [{name: c, type: unsigned, width: 1, is: event}]}, {name: d, type: unsigned, width: 1, is: event}, " + time,
			"0708 09 6A674F48", cim.MeterReading{Events: []cim.EndDeviceEvent{{Time: at, Code: 7}, {Time: at, Code: 8}, {Time: at, Code: 9}}}},
		{"repetitions without a time", "{name: r, repeat: 2, fields: [{name: p, type: unsigned, width: 1, unit: W, is: power}]}, " + time, "0507 6A674F48",
			cim.MeterReading{Measurements: []cim.Measurement{power(at, 5), power(at, 7)}}},
		{"repetitions that are not in use", time + ", {name: r, repeat: 2, fields: [{name: w, type: time, form: epoch, none: ['0']}, {name: a, type: unsigned, width: 1, unit: Wh, is: import}]}",
			"6A674F48 6A674F49 07 00000000 00", cim.MeterReading{Measurements: []cim.Measurement{register(at+1, 7)}}},
		{"registers from start on", time + ", {name: r, repeat: 2, step: 15, start: t, fields: [{name: a, type: unsigned, width: 1, unit: Wh, is: import}]}",
			"6A674F48 0709", cim.MeterReading{Measurements: []cim.Measurement{register(at, 7), register(at+900, 9)}}},
		{"intervals and registers in variants", time + ", {name: r, repeat: 2, step: 15, end: t, fields: [{name: k, type: unsigned, width: 1}, {name: v, by: k, cases: [" +
			"{when: 1, fields: [{name: a, type: unsigned, width: 1, unit: Wh, is: interval-import}]}, {when: 2, fields: [{name: b, type: unsigned, width: 1, unit: Wh, is: import}]}]}]}",
			"6A674F48 0105 0209", cim.MeterReading{Measurements: []cim.Measurement{register(at, 9)},
				Blocks: []cim.IntervalBlock{{Slot: 15, Start: at - 1800, Register: cim.NoRegister, Values: []uint32{5, cim.NoValue}}}}},
		{"a case that knows the time better", time + ", {name: k, type: unsigned, width: 1}, {name: v, by: k, cases: [{when: 1, fields: [{name: w, type: time, form: epoch}]}]}, " +
			"{name: a, type: unsigned, width: 1, unit: Wh, is: import}", "6A674F48 01 6A674F47 05", cim.MeterReading{Measurements: []cim.Measurement{register(at-1, 5)}}},
		{"the hour that comes twice", "{name: w, type: time, form: ascii, layout: YYMMDDhhmm, zone: Europe/Zurich}, {name: a, type: unsigned, width: 1, unit: Wh, is: import}",
			"32363130323530323330 05", cim.MeterReading{Measurements: []cim.Measurement{register(unix("2026-10-25T00:30:00Z"), 5)}}},
	} {
		l, b := layout(t, "  ["+tc.fields+"]\n"), unhex(t, tc.hex)
		var r cim.MeterReading
		if err := l.Read(b, &r); err != nil || !equal(&r, &tc.want) {
			t.Errorf("%s: %+v, %v,\nwant %+v", tc.name, r, err, tc.want)
			continue
		}
		doc, err := l.Decode(b)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		text, _ := json.Marshal(doc)
		if again, err := l.Encode(text); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %s became %x, %v", tc.name, text, again, err)
		}
	}
}

// TestQuick: what is read at once says what it says when it is read as other fields are, wherever it stands and wherever the message ends.
func TestQuick(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, what := range []string{
		"type: unsigned, unit: Wh, is: import", "type: unsigned, unit: kWh, is: export", "type: unsigned, unit: V, is: voltage, scale: '0.1'", "type: unsigned, unit: W, is: power",
		"type: signed, unit: W, is: power", "type: signed, unit: kW, is: power-export", "type: signed, unit: Wh, is: import", "type: unsigned, value: 7",
		"type: bits, bits: [{bit: 7, name: a, is: tamper}, {bit: 0, name: b, is: power-lost, event: 9}]", "type: time, form: epoch"} {
		for width := 1; width <= 8; width++ {
			if strings.Contains(what, "epoch") && width != 4 {
				continue
			}
			for before := range 10 {
				order := []string{"big", "little"}[rnd.IntN(2)]
				fields := fmt.Sprintf("  - {name: x, offset: %d, width: %d, order: %s, %s}\n  - {name: end, type: filler, width: %d}\n", before, width, order, what, 1+rnd.IntN(9))
				quick, other := layout(t, fields), layout(t, fields)
				for i := range other.ops {
					if other.ops[i].kind != kindFiller && other.ops[i].quick == quickNot {
						t.Fatalf("%s is not quick", fields)
					}
					other.ops[i].quick = quickNot
				}
				b := make([]byte, before+width+9)
				for n := range b {
					b[n] = byte(rnd.IntN(256) * rnd.IntN(2)) // with many zeros, so that large fields hold small numbers, too
				}
				if rnd.IntN(2) == 0 { // what a constant has to be
					clear(b[before : before+width])
					b[before+width-1] = 7
				}
				for n := range len(b) + 1 {
					var q, o cim.MeterReading
					qerr, oerr := quick.Read(b[:n], &q), other.Read(b[:n], &o)
					if fmt.Sprint(qerr) != fmt.Sprint(oerr) || qerr == nil && !equal(&q, &o) {
						t.Fatalf("%s%x: %+v, %v, want %+v, %v", fields, b[:n], q, qerr, o, oerr)
					}
				}
			}
		}
	}
}

// Errors of declarations name the field and the key.
func TestDeclarations(t *testing.T) {
	for _, tc := range []struct{ yaml, want string }{
		{"", "the file is empty"},
		{"name: X\nfields: [{name: a, type: unsigned, width: 1}]", `name: "X", want 1 to 30 of a-z 0-9 -`},
		{"name: x", "fields: there are none"},
		{"name: x\nfield: []", "line 2: key field is not known here"},
		{"name: x\ninterval: 7\nfields: [{name: a, type: unsigned, width: 1}]", "interval: 7 minutes"},
		{"name: x\nfields: [{name: a, type: int, width: 1}]", `field a: type: "int", want unsigned`},
		{"name: x\nfields: [{name: a, type: unsigned, width: 9}]", "field a: width: 9, want 1 to 8"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1}, {name: a, type: unsigned, width: 1}]", "field a: name: stands twice"},
		{"name: x\nfields: [{type: unsigned, width: 1}]", "field #1: name: is missing"},
		{"- a\n- b", "line 1: a list, want keys and values"},
		{"name: x\nfields: 7", `line 2: "7", want a list`},
		{"name: x\nfields: [{name: a, type: unsigned, width: wide}]", `line 2: "wide", want a whole number`},
		{"name: x\nfields: &f [{name: r, repeat: 2, fields: *f}]", "anchor 'f' value contains itself"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1}]\n---\nname: y", "want one declaration a file"},
		{"\x00\xff\x01", "yaml:"},
		{strings.Repeat("[", 100_000), "yaml:"},
		{strings.Repeat("# comment\n", 110_000), "want at most 1048576"},
		{"name: x\nfields: [{name: a, offset: -1, type: unsigned, width: 1}]", "field a: offset: -1, want 0 or more"},
		{"name: x\nfields: [{name: a, offset: 70000, type: unsigned, width: 1}]", "field a: offset: 70000, want at most 65536"},
		{"name: x\nfields: [{name: a, type: unsigned, width: -1}]", "field a: width: -1, want 1 to 8"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, min: 9, max: 3}]", "field a: min: 9 is above max, 3"},
		{"name: x\nfields: [{name: a, repeat: a, fields: [{name: b, type: unsigned, width: 1}]}]", `field a: repeat: "a" is no whole number that stands before`},
		{"name: x\nfields: [{name: a, type: unsigned, width: 4}, {name: b, offset: 2, type: unsigned, width: 1}]", "field b: offset: 2 lies within or before the field before, which ends at 4"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, is: nothing}]", "field a: meaning: `is: nothing` is not known"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, is: import}]", `field a: unit: "", want MWh, Wh, kWh for energy`},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, is: import, unit: V}]", `field a: unit: "V", want`},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, obis: '1-0:99.1.0'}]", "nothing that the centre keeps"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, readingType: '0.0'}]", "has 2 numbers, want 18"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, unit: Wh, is: import, obis: '1-0:1.8.0'}]", "say the same"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, scale: '-1'}]", `field a: scale: "-1"`},
		{"name: x\nfields: [{name: a, type: bcd, width: 1, none: ['0xFFFF']}]", `field a: none: "0xFFFF" does not fit`},
		{"name: x\nfields: [{name: a, type: text, width: 1, is: import}]", "a field of type text cannot mean that"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, form: epoch}]", "field a: form: is nothing that a field of type unsigned has"},
		{"name: x\nfields: [{name: a, type: text, width: 1, scale: '2'}]", "field a: scale: is nothing that a field of type text has"},
		{"name: x\nfields: [{name: a, type: checksum, algorithm: xor, none: ['0']}]", "field a: none: is nothing that a field of type checksum has"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, step: 15}]", "field a: step: is nothing that a field of type unsigned has"},
		{"name: x\nfields: [{name: r, repeat: 3, type: unsigned, fields: [{name: a, type: unsigned, width: 1}]}]", "field r: type: and `repeat`: want one of them"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, is: event}, {name: b, type: unsigned, width: 1, is: event}]", "field b: is: field a means the same"},
		{"name: x\nfields: [{name: a, type: time, form: epoch}, {name: b, type: time, form: epoch}]", "field b: is: field a is the time, too: give one of them `is: none`"},
		{"name: x\nfields: [{name: k, type: unsigned, width: 1}, {name: v, by: k, cases: [{when: 1, fields: [{name: a, type: unsigned, width: 1, unit: V, is: voltage}]}]}, " +
			"{name: b, type: unsigned, width: 1, unit: V, is: voltage}]", "field b: is: field a means the same"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, unit: Wh, is: interval-import}]", "field a: is: an interval stands in a repetition"},
		{"name: x\nfields: [{name: t, type: time, form: epoch}, {name: r, repeat: 2, fields: [{name: k, type: unsigned, width: 1}, {name: v, by: k, cases: [{when: 1, fields: " +
			"[{name: a, type: unsigned, width: 1, unit: Wh, is: interval-import}]}]}]}]", "field r: repeat: intervals need `step`"},
		{"name: x\nfields: [{name: n, type: unsigned, width: 4}, {name: r, repeat: 2, step: 15, start: n, fields: [{name: a, type: unsigned, width: 1, unit: Wh, is: interval-import}]}]",
			`field r: start: "n" is no time that stands before this one`},
		{"name: x\nfields: [{name: t, type: time, form: epoch}, {name: r, repeat: t, fields: [{name: a, type: unsigned, width: 1}]}]", `field r: repeat: "t" is no whole number`},
		{"name: x\nfields: [{name: a, type: time, form: bcd, layout: MMDD}]", "has no part Y"},
		{"name: x\nfields: [{name: a, type: time, form: never}]", `form: "never"`},
		{"name: x\nfields: [{name: a, type: time, form: epoch, zone: Nowhere}]", `zone: "Nowhere"`},
		{"name: x\nfields: [{name: a, type: checksum, algorithm: md5}]", `algorithm: "md5"`},
		{"name: x\nfields: [{name: a, type: checksum, algorithm: sum8, from: b}]", `from: "b" is no field before it`},
		{"name: x\nfields: [{name: a, type: bits, width: 1, bits: [{bit: 8, name: b}]}]", "bit 8, want 0 to 7"},
		{"name: x\nfields: [{name: r, repeat: n, fields: [{name: a, type: unsigned, width: 1}]}]", `field r: repeat: "n" is no whole number that stands before`},
		{"name: x\nfields: [{name: r, repeat: 2, fields: [{name: a, type: unsigned, width: 1, unit: Wh, is: interval-import}]}]", "intervals need `step`"},
		{"name: x\nfields: [{name: v, by: k, cases: [{when: x, fields: []}]}]", `when: "x"`},
		{"name: x\nfields: [{name: k, type: unsigned, width: 1}, {name: v, by: k, cases: [{when: 1, fields: [{name: k, type: unsigned, width: 1}]}]}]", "field k: name: stands twice"},
		{"name: x\nfields: [{name: k, type: unsigned, width: 1}, {name: v, by: k, cases: [{when: 1, fields: [{name: a, type: unsigned, width: 1}]}]}, {name: a, type: unsigned, width: 1}]", "field a: name: stands twice"},
		{"name: x\nfields: [{name: a, type: bits, width: 1, bits: [{bit: 0, name: b}, {bit: 1, name: b}]}]", `bit 1: "b" stands twice`},
		{"name: x\nfields: [{name: a, type: bits, width: 1, bits: [{bit: 0, name: raw}]}]", `bit 0: "raw" stands twice`},
		{"name: x\nfields: [{name: a, type: digits, width: 2, pad: '-'}]", `field a: pad: "-", want a space or 0 for digits`},
		{"name: x\nfields: [{name: a, type: bcd, width: 2, pad: ' '}]", "field a: pad: is for types text and digits"},
		{"name: x\nfields: [{name: a, type: unsigned, width: 1, from: a}]", "field a: from: is for type checksum"},
		{"name: x\norder: middle\nfields: [{name: a, type: unsigned, width: 1}]", `order: "middle"`},
	} {
		_, err := Parse([]byte(tc.yaml))
		if err == nil || !errors.Is(err, ErrDeclaration) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s:\n got %v\nwant %s", tc.yaml, err, tc.want)
		}
	}
}

// v1 is the contract's own reading as a declaration, to compare with the decoder that is written by hand.
const v1 = `name: v1
fields:
  - {name: version, type: unsigned, width: 1, value: 1}
  - {name: type, type: unsigned, width: 1, value: 2}
  - {name: flags, type: bits, width: 2, bits: [{bit: 2, name: open, is: breaker-open}]}
  - {name: time, type: time, form: epoch}
  - {name: import, type: unsigned, width: 8, unit: Wh, is: import}
  - {name: export, type: unsigned, width: 8, unit: Wh, is: export}
  - {name: power, type: signed, width: 4, unit: W, is: power}
  - {name: voltage, type: unsigned, width: 2, scale: "0.1", unit: V, is: voltage}
  - {name: sequence, type: unsigned, width: 2}
`

var reading = record.Reading{Header: record.Header{Time: 0x5C0FFEE0, Flags: record.FlagBreakerOpen}, Import: 0x12345, Export: 7, Power: -200, Voltage: 2300, Sequence: 258}

func TestLikeV1(t *testing.T) {
	l, err := Parse([]byte(v1))
	if err != nil {
		t.Fatal(err)
	}
	var r cim.MeterReading
	if err := l.Read(reading.Append(nil), &r); err != nil {
		t.Fatal(err)
	}
	want := cim.Measurement{Time: reading.Time, Has: 15, Flags: cim.FlagBreakerOpen, Import: reading.Import, Export: 7, Power: -200, Voltage: 2300}
	if len(r.Measurements) != 1 || r.Measurements[0] != want {
		t.Errorf("%+v", r)
	}
}

func BenchmarkV1(b *testing.B) {
	data := reading.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.Validate("reading", data); err != nil {
			b.Fatal(err)
		}
		r, err := record.DecodeReading(data)
		if err != nil || r.Plausible() != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkV1Append(b *testing.B) {
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = reading.Append(dst[:0])
	}
}

func BenchmarkRead(b *testing.B) {
	l, err := Parse([]byte(v1))
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, l *Layout, data []byte) {
		b.Run(name, func(b *testing.B) {
			var r cim.MeterReading
			b.ReportAllocs()
			for b.Loop() {
				r.Reset()
				if err := l.Read(data, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("as v1", l, reading.Append(nil))
	for i, tc := range annotated {
		l, data := message(b, i)
		run(fmt.Sprintf("%s %d", tc.layout, i), l, data)
	}
}

func BenchmarkEncode(b *testing.B) {
	for i, tc := range annotated[:3] {
		l, data := message(b, i)
		doc, err := l.Decode(data)
		if err != nil {
			b.Fatal(err)
		}
		text, _ := json.Marshal(doc)
		b.Run(tc.layout, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Encode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	var ls []*Layout
	for i, tc := range annotated {
		l, b := message(f, i)
		ls = append(ls, l)
		f.Add(i, b)
		_ = tc
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		l := ls[uint(i)%uint(len(ls))]
		var r cim.MeterReading
		if err := l.Read(b, &r); err != nil {
			if format.Reason(err) == "other" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		doc, err := l.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Skip(err) // a float that JSON does not know
		}
		again, err := l.Encode(text)
		if err != nil {
			t.Skip(err) // a value that has several forms, of which the other does not fit
		}
		var s cim.MeterReading
		if err := l.Read(again, &s); err != nil || len(s.Measurements) != len(r.Measurements) {
			t.Fatalf("%s became %+v, want %+v", text, s, r)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"hokuto", "rhonestrom", "northgrid"} {
		b, err := os.ReadFile("../../../examples/formats/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(v1))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			return
		}
		_ = l.Read(make([]byte, 64), &cim.MeterReading{})
	})
}
