package dsmr

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

// expected is what the vectors say of a telegram, in their own words.
type expected struct {
	File, Header, Version, CRC, Tariff, Timestamp string
	CRCOK                                         bool `json:"crc_ok"`
	Bytes                                         int
	TimestampRaw                                  string   `json:"timestamp_raw"`
	ImportT1                                      uint64   `json:"import_t1_wh"`
	ImportT2                                      uint64   `json:"import_t2_wh"`
	ExportT1                                      uint64   `json:"export_t1_wh"`
	ExportT2                                      uint64   `json:"export_t2_wh"`
	PowerImport                                   float64  `json:"power_import_kw"`
	PowerExport                                   float64  `json:"power_export_kw"`
	Failures                                      string   `json:"power_failures_any"`
	LongFailures                                  string   `json:"power_failures_long"`
	Voltage                                       *float64 `json:"voltage_l1"`
	Current                                       *float64 `json:"current_l1"`
	Switch                                        string   `json:"switch_position"`
	GasTime                                       string   `json:"gas_time_raw"`
	Gas                                           float64  `json:"gas_m3"`
}

func vectors(t testing.TB) map[string]expected {
	t.Helper()
	b, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]expected
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // all that the vectors say is looked at
	if err := d.Decode(&out); err != nil {
		t.Fatal(err)
	}
	if len(out) != 5 {
		t.Fatalf("%d vectors", len(out))
	}
	return out
}

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every vector decodes to the stated values, and encodes to the same bytes from the telegram and from its objects in JSON.
func TestVectors(t *testing.T) {
	for name, want := range vectors(t) {
		b := load(t, want.File)
		tel, err := Decode(b)
		if err != nil || len(b) != want.Bytes {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
			continue
		}
		var r cim.MeterReading
		if err := tel.Read(&r); err != nil || len(r.Measurements) != 1 {
			t.Errorf("%s: %v %+v", name, err, r)
			continue
		}
		m := r.Measurements[0]
		if tel.Identification != want.Header || tel.CRC != (want.CRC != "") || tel.CRC && (!want.CRCOK || !bytes.Contains(b, []byte("!"+want.CRC+"\r\n"))) {
			t.Errorf("%s: %q, %v", name, tel.Identification, tel.CRC)
		}
		imp, exp := want.ImportT1+want.ImportT2, want.ExportT1+want.ExportT2
		if m.Import != imp || m.Export != exp || m.Power != int32(math.Round(1000*(want.PowerImport-want.PowerExport))) {
			t.Errorf("%s: %+v, want %d, %d, %v kW", name, m, imp, exp, want.PowerImport-want.PowerExport)
		}
		for code, x := range map[string]float64{"1-0:1.8.1": float64(want.ImportT1), "1-0:1.8.2": float64(want.ImportT2), "1-0:2.8.1": float64(want.ExportT1), "1-0:2.8.2": float64(want.ExportT2),
			"1-0:1.7.0": 1000 * want.PowerImport, "1-0:2.7.0": 1000 * want.PowerExport} {
			if n, err := tel.Find(code).milli(0, "W", "kW", "Wh", "kWh"); err != nil || n != int64(math.Round(x)) {
				t.Errorf("%s: %s is %d, %v, want %v", name, code, n, err, x)
			}
		}
		for code, s := range map[string]string{"1-3:0.2.8": want.Version, "0-0:1.0.0": want.TimestampRaw, "0-0:96.14.0": want.Tariff, "0-0:96.7.21": want.Failures, "0-0:96.7.9": want.LongFailures,
			"0-0:96.3.10": want.Switch} {
			if s != "" && tel.Find(code).Values[0] != s {
				t.Errorf("%s: %s is %q, want %s", name, code, tel.Find(code).Values, s)
			}
		}
		if want.Timestamp != "" {
			at, err := time.Parse(time.RFC3339, want.Timestamp)
			if err != nil || int64(m.Time) != at.Unix() || FormatTime(m.Time) != want.TimestampRaw {
				t.Errorf("%s: %d, %s, want %v", name, m.Time, FormatTime(m.Time), at)
			}
		}
		if want.Voltage != nil && m.Voltage != uint16(math.Round(*want.Voltage*10)) {
			t.Errorf("%s: %d", name, m.Voltage)
		}
		if want.Current != nil {
			if n, err := tel.Find("1-0:31.7.0").milli(0, "A"); err != nil || n != int64(math.Round(*want.Current*1000)) {
				t.Errorf("%s: %d mA, %v, want %v A", name, n, err, *want.Current)
			}
		}
		if (m.Breaker == cim.BreakerClosed) != (want.Switch == "1") {
			t.Errorf("%s: breaker %v", name, m.Breaker)
		}
		chs, err := tel.Channels()
		if err != nil {
			t.Error(err)
		}
		if want.GasTime != "" && (len(chs) == 0 || chs[0].Type != 3 || FormatTime(chs[0].Time) != want.GasTime || chs[0].Digits != int64(math.Round(want.Gas*1000)) || chs[0].Unit != "m3") {
			t.Errorf("%s: %+v", name, chs)
		}
		if again, err := tel.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s became %q, %v", name, again, err)
		}
		doc, err := json.Marshal(tel)
		if err != nil {
			t.Fatal(err)
		}
		var back Telegram
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatal(err)
		}
		if again, err := back.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: from its objects %s\nbecame %q, %v", name, doc, again, err)
		}
	}
}

func TestChannels(t *testing.T) {
	tel, err := Decode(load(t, "v5_two_mbus.txt"))
	if err != nil {
		t.Fatal(err)
	}
	chs, err := tel.Channels()
	if err != nil || len(chs) != 2 || chs[0].Time != 0 || chs[1].ID != "G0039001936990619" || chs[1].Digits != 246_138 {
		t.Errorf("%+v, %v", chs, err)
	}
	tel, err = Decode(load(t, "v2_2.txt"))
	if err != nil {
		t.Fatal(err)
	}
	chs, err = tel.Channels()
	if err != nil || len(chs) != 1 || chs[0].Digits != 1001 || chs[0].Unit != "m3" {
		t.Errorf("%+v, %v", chs, err)
	}
}

// What stands behind the meter comes with the meter's own values, exactly and at its own time.
func TestSubMeters(t *testing.T) {
	unix := func(s string) uint32 {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(at.Unix())
	}
	gas := func(id string, channel uint8, at string, value uint64) cim.SubReading {
		return cim.SubReading{ID: id, Channel: channel, Medium: cim.MediumGas, Unit: cim.UnitCubicMetre, Scale: -3, Time: unix(at), Value: value}
	}
	for file, want := range map[string][]cim.SubReading{
		"v2_2.txt":        {gas("", 1, "2016-11-07T18:00:00Z", 1001)},
		"v4_2.txt":        {gas("4819243993373755377509728609491464", 1, "2016-11-29T19:00:00Z", 981_443)},
		"v5.txt":          {gas("2222ABCD123456789", 1, "2017-01-02T15:10:05Z", 107)},
		"v5_eon_hu.txt":   nil,
		"v5_two_mbus.txt": {gas("G0039001936990619", 2, "2020-04-26T20:30:01Z", 246_138)},
	} {
		tel, err := Decode(load(t, file))
		if err != nil {
			t.Fatal(err)
		}
		var r cim.MeterReading
		if err := tel.Read(&r); err != nil || !slices.Equal(r.Subs, want) {
			t.Errorf("%s: %+v, %v; want %+v", file, r.Subs, err, want)
		}
	}
	head := "/ISk5\\2MT382-1000\r\n\r\n0-1:24.1.0(004)\r\n"
	for _, tc := range []struct {
		line, want string
	}{
		{"0-1:24.2.1(260727143000S)(12.345*GJ)", "12.345 GJ 2026-07-27T12:30:00Z"},
		{"0-1:24.2.1(261025023000S)(12.3*GJ)", "12.3 GJ 2026-10-25T00:30:00Z"}, // the hour that comes twice
		{"0-1:24.2.1(261025023000W)(12*GJ)", "12 GJ 2026-10-25T01:30:00Z"},
		{"0-1:24.2.1(260127143000W)(00012.345*kWh)", "12345 Wh 2026-01-27T13:30:00Z"},
		{"0-1:24.2.1(260127143000W)(17*MWh)", "17000000 Wh 2026-01-27T13:30:00Z"},
		{"0-1:24.2.1(260127143000W)(17.5*dm3)", "0.0175 m3 2026-01-27T13:30:00Z"},
		{"0-1:24.2.1(260127143000W)(0.001*MJ)", "0.000001 GJ 2026-01-27T13:30:00Z"},
		{"0-1:24.2.1(632525252525S)(00000.000*m3)", "none"}, // nothing is connected
		{"0-1:24.2.1(632525252525S)(00000.001*m3)", "0-1:24.2.1 in line 4 at offset 49: \"632525252525S\" is no time, want YYMMDDhhmmss and S or W: value outside its range"},
		{"0-1:24.2.1(260127143000W)(1*ft3)", "0-1:24.2.1 in line 4 at offset 64: unit \"ft3\", want m3, dm3, Wh, kWh, MWh, J, MJ or GJ: value outside its range"},
		{"0-1:24.2.1(260127143000W)(1*m3)\r\n0-1:96.1.0(2F2F)", "channel 2F2F"}, // characters that no path takes
		{"0-1:24.2.1(260127143000W)(1*m3)\r\n0-1:96.1.0(0000)", "channel "},
		{"0-1:24.2.1(260127143000W)(1*m3)\r\n0-1:96.1.0(" + strings.Repeat("2F", 25) + ")", "0-1:24.2.1 in line 4 at offset 49: channel 1: id of a sub-meter \"" + strings.Repeat("2F", 25) + "\" has 50 characters, want 1 to 48: value outside its range"},
	} {
		tel, err := Decode([]byte(head + tc.line + "\r\n!\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		var r cim.MeterReading
		got := "none"
		switch err := tel.Read(&r); {
		case err != nil:
			got = err.Error()
		case len(r.Subs) == 1 && strings.HasPrefix(tc.want, "channel"):
			got = "channel " + r.Subs[0].ID
		case len(r.Subs) == 1:
			got = r.Subs[0].Decimal() + " " + r.Subs[0].Unit.String() + " " + time.Unix(int64(r.Subs[0].Time), 0).UTC().Format(time.RFC3339)
		}
		if got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.line, got, tc.want)
		}
	}
}

// Belgium's telegrams (eMUCS-P1) have another version line, gas that is not temperature-corrected, and water.
func TestBelgium(t *testing.T) {
	tel := Telegram{Identification: `FLU5\253770234_A`, CRC: true, Objects: []Object{
		{Code: "0-0:96.1.4", Values: []string{"50217"}},
		{Code: "0-0:1.0.0", Values: []string{"260727143000S"}},
		{Code: "1-0:1.8.1", Values: []string{"000123.456*kWh"}},
		{Code: "1-0:1.8.2", Values: []string{"000010.000*kWh"}},
		{Code: "1-0:2.8.1", Values: []string{"000000.001*kWh"}},
		{Code: "1-0:1.7.0", Values: []string{"00.000*kW"}},
		{Code: "1-0:2.7.0", Values: []string{"03.210*kW"}},
		{Code: "0-0:96.3.10", Values: []string{"2"}},
		{Code: "0-1:24.1.0", Values: []string{"003"}},
		{Code: "0-1:96.1.1", Values: []string{"37464C4F32313139303333373333"}},
		{Code: "0-1:24.2.3", Values: []string{"260727142500S", "00112.384*m3"}},
		{Code: "0-2:24.1.0", Values: []string{"007"}},
		{Code: "0-2:24.2.1", Values: []string{"260727142400S", "00872.234*m3"}},
	}}
	b, err := tel.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	var r cim.MeterReading
	if err := back.Read(&r); err != nil {
		t.Fatal(err)
	}
	at, _ := time.Parse(time.RFC3339, "2026-07-27T14:30:00+02:00")
	want := cim.Measurement{Time: uint32(at.Unix()), Has: cim.HasImport | cim.HasExport | cim.HasPower | cim.HasBreaker, Flags: cim.FlagBreakerOpen,
		Import: 133_456, Export: 1, Power: -3210, Breaker: cim.BreakerReady}
	if r.Measurements[0] != want {
		t.Errorf("%+v, want %+v", r.Measurements[0], want)
	}
	chs, err := back.Channels()
	if err != nil || len(chs) != 2 || chs[0].ID != "7FLO2119033733" || chs[0].Digits != 112_384 || chs[1].Type != 7 || chs[1].Digits != 872_234 {
		t.Errorf("%+v, %v", chs, err)
	}
}

func TestTime(t *testing.T) {
	for _, tc := range []struct{ s, want string }{
		{"170102192002W", "2017-01-02T18:20:02Z"},
		{"200426223325S", "2020-04-26T20:33:25Z"},
		{"261025023000S", "2026-10-25T00:30:00Z"}, // the hour that comes twice
		{"261025023000W", "2026-10-25T01:30:00Z"},
		{"261025023000", "2026-10-25T00:30:00Z"}, // without a letter: its first pass
		{"161107190000", "2016-11-07T18:00:00Z"},
		{"160707190000", "2016-07-07T17:00:00Z"},
		{"261025033000", "2026-10-25T02:30:00Z"},
		{"260230120000W", ""}, {"260101240000W", ""}, {"260101120000X", ""}, {"2601011200", ""}, {"26010112000aW", ""},
	} {
		u, ok := ParseTime(tc.s)
		got := ""
		if ok {
			got = time.Unix(int64(u), 0).UTC().Format(time.RFC3339)
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.s, got, tc.want)
		}
		if ok && len(tc.s) == 13 && FormatTime(u) != tc.s {
			t.Errorf("%s became %s", tc.s, FormatTime(u))
		}
	}
}

func TestRefused(t *testing.T) {
	head := "/ISk5\\2MT382-1000\r\n\r\n"
	for _, tc := range []struct{ text, want string }{
		{"", "telegram in line 1 at offset 0: want '/' at the beginning: not well-formed"},
		{head, "telegram in line 3 at offset 21: no '!' at the end: wrong length"},
		{head + "!0000\r\n", "check sum in line 3 at offset 22: 0000, reckoned D1C6: check sum is wrong"},
		{head + "!00\r\n", `check sum in line 3 at offset 22: "00", want four hexadecimal digits: wrong length`},
		{head + "1-0:1.8.1\r\n!\r\n", `object in line 3 at offset 21: "1-0:1.8.1" has no values in parentheses: not well-formed`},
		{head + "1-0:1.8.x(1)\r\n!\r\n", `object in line 3 at offset 21: "1-0:1.8.x": character 'x' at 8 is not part of an OBIS code: not well-formed`},
		{head + "(1)\r\n!\r\n", "object in line 3 at offset 21: values without an object: not well-formed"},
		{head + "1-0:1.8.1(1*kWh\r\n!\r\n", "1-0:1.8.1 in line 3 at offset 30: a parenthesis is not closed: not well-formed"},
		{head + "1-0:1.8.1(1*kWh)x\r\n!\r\n", "1-0:1.8.1 in line 3 at offset 37: 'x' between values: not well-formed"},
		{head + "1-0:1.8.1(1*MWh)\r\n!\r\n", `1-0:1.8.1 in line 3 at offset 31: unit "MWh", want Wh or kWh: value outside its range`},
		{head + "0-0:96.14.0(1)\r\n1-0:1.8.1(1x.2*kWh)\r\n!\r\n", `1-0:1.8.1 in line 4 at offset 47: "1x.2" is no number: value outside its range`},
		{head + "1-0:1.8.1(0.0001*kWh)\r\n!\r\n", `1-0:1.8.1 in line 3 at offset 31: "0.0001" has more than three decimals: value outside its range`},
		{head + "0-0:1.0.0(261301000000W)\r\n!\r\n", `0-0:1.0.0 in line 3 at offset 31: "261301000000W" is no time, want YYMMDDhhmmss and S or W: value outside its range`},
		{head + "0-0:96.3.10(7)\r\n!\r\n", `0-0:96.3.10 in line 3 at offset 33: "7", want 0, 1 or 2: value outside its range`},
		{head + "0-1:24.1.0(x)\r\n!\r\n", `0-1:24.1.0 in line 3 at offset 32: "x" is no type of device: value outside its range`},
		{head + "0-1:24.1.0(3)\r\n0-1:24.3.0(161107190000)(00)\r\n!\r\n", "0-1:24.3.0 in line 4 at offset 36: 2 values, want 7: wrong length"},
		{strings.Repeat("/", MaxSize+1), "telegram in line 1 at offset 16384: 16385 bytes, want at most 16384: wrong length"},
	} {
		tel, err := Decode([]byte(tc.text))
		var r cim.MeterReading
		if err == nil {
			err = tel.Read(&r)
		}
		if err == nil || err.Error() != tc.want {
			t.Errorf("%.60q:\n got %v\nwant %s", tc.text, err, tc.want)
		}
		var e *format.Error
		if !errors.As(err, &e) {
			t.Errorf("%T", err)
		}
	}
	// Every octet that changes on the way is found.
	b := load(t, "v5.txt")
	for i := range b[:len(b)-7] {
		c := bytes.Clone(b)
		c[i] ^= 0x10
		if _, err := Decode(c); err == nil {
			t.Fatalf("a change at %d is not noticed", i)
		}
	}
	for n := range b[:len(b)-8] {
		if _, err := Decode(b[:n]); err == nil {
			t.Fatalf("cut to %d bytes: accepted", n)
		}
	}
	for _, bad := range []Telegram{{Identification: "IS"}, {Identification: "ISk5x", Objects: []Object{{Code: "x", Values: []string{"1"}}}},
		{Identification: "ISk5x", Objects: []Object{{Code: "1-0:1.8.1", Values: []string{"1)"}}}}, {Identification: "ISk5x", Objects: []Object{{Code: "1-0:1.8.1"}}},
		{Identification: "ISk5x", Objects: []Object{{Code: "1-0:1.8.1", Values: []string{"1"}, Break: 1}}}} {
		if _, err := bad.Append(nil); err == nil {
			t.Errorf("%+v encoded", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		b := load(f, v.File)
		f.Add(b)
		f.Add(append(b[:bytes.LastIndexByte(b, '!')+1:bytes.LastIndexByte(b, '!')+1], '\r', '\n')) // without a check sum, so that changes pass
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tel, err := Decode(b)
		var r cim.MeterReading
		if err == nil {
			err = tel.Read(&r)
		}
		if err != nil {
			if format.Reason(err) == "other" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		again, err := tel.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("%q: %v", again, err)
		}
		var s cim.MeterReading
		if err := back.Read(&s); err != nil || len(s.Measurements) != len(r.Measurements) || len(r.Measurements) > 0 && s.Measurements[0] != r.Measurements[0] {
			t.Fatalf("%+v, %v, want %+v", s, err, r)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	data := load(b, "v5.txt")
	var tel Telegram
	var r cim.MeterReading
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r.Reset()
		if err := tel.Decode(data); err != nil {
			b.Fatal(err)
		}
		if err := tel.Read(&r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	tel, err := Decode(load(b, "v5.txt"))
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = tel.Append(dst[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
