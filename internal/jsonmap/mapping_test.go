package jsonmap

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

func mapping(t testing.TB, text string) *Mapping {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const plain = `name: json
interval: 15
paths:
  - {path: ts, is: time, form: rfc3339}
  - {path: energy.in, is: import, unit: kWh, required: true}
  - {path: energy.out, is: export, unit: kWh}
  - {path: power, is: power, unit: kW, scale: "0.1"}
  - {path: u.0, is: voltage, unit: V}
  - {path: switch, is: breaker}
  - {path: lid, is: tamper}
  - {path: gasp, is: power-lost}
  - {path: code, is: event}
`

func TestRead(t *testing.T) {
	m := mapping(t, plain)
	var r cim.MeterReading
	err := m.Read([]byte(`{"ts":"2026-07-27T12:30:00+02:00","energy":{"in":"12345.6789","out":0.1},"power":-15,"u":[230.14,1],"switch":"open","lid":true,"gasp":true,"code":7,"more":null}`), &r)
	at := uint32(time.Date(2026, 7, 27, 10, 30, 0, 0, time.UTC).Unix())
	want := cim.Measurement{Time: at, Has: 31, Interval: 15, Import: 12_345_678, Export: 100, Power: -1500, Voltage: 2301, Breaker: cim.BreakerOpen, Flags: cim.FlagBreakerOpen | cim.FlagTamper}
	if err != nil || !slices.Equal(r.Measurements, []cim.Measurement{want}) || !slices.Equal(r.Supply, []cim.SupplyEvent{cim.SupplyLost}) ||
		!slices.Equal(r.Events, []cim.EndDeviceEvent{{Time: at, Code: 7}}) {
		t.Errorf("%+v, %v\nwant %+v", r, err, want)
	}
	b, err := os.ReadFile("../../examples/formats/json.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m, r = mapping(t, string(b)), cim.MeterReading{}
	err = m.Read([]byte(`{"meter":"M1","values":[{"time":1785105000,"kwh":1.5},{"time":1785106800,"kwh":2.25,"watt":300}]}`), &r)
	if err != nil || len(r.Measurements) != 2 || r.Measurements[1] != (cim.Measurement{Time: 1785106800, Has: cim.HasImport | cim.HasPower, Interval: 30, Import: 2250, Power: 300}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// Errors name the path and the offset.
func TestRefused(t *testing.T) {
	m := mapping(t, plain)
	for text, want := range map[string]string{
		`{"energy":{"in":-1}}`:                            "energy.in at offset 16: -1 is out of range: value outside its range",
		`{"energy": {"in": 1e999}}`:                       "energy.in at offset 18: want a number: value outside its range",
		`{"energy": {"in": 1}, "ts": "noon"}`:             "ts at offset 28: want a time such as 2006-01-02T15:04:05Z07:00: value outside its range",
		`{"energy": {"in": 1}, "switch": 1}`:              `switch at offset 32: want "open", "closed" or "ready": value outside its range`,
		`{"energy": {"in": 1}, "lid": 1}`:                 "lid at offset 29: want true or false: value outside its range",
		`{"energy": {"in": 1}, "power": 21474836470}`:     "power at offset 31: 21474836470 is out of range: value outside its range",
		`{"energy": {}}`:                                  "energy.in at offset 0: a value: is missing",
		`{"energy": {"in": 1`:                             "message at offset 19: it ends within a value: not well-formed",
		`{"energy": {"in": 1}} 2`:                         "message at offset 22: something behind the value: not well-formed",
		`{"energy": {"in": 1, "in": 2}}`:                  "in at offset 21: stands twice: not well-formed",
		``:                                                "message at offset 0: it ends within a value: not well-formed",
		strings.Repeat("[", 40) + strings.Repeat("]", 40): "message at offset 33: more than 20000 values, or 32 within each other: wrong length",
	} {
		if err := m.Read([]byte(text), &cim.MeterReading{}); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	for _, bad := range []string{"", "name: X\npaths: [{path: a, is: tamper}]", "name: json\npaths: []", "name: json\npaths: [{path: a, is: what}]",
		"name: json\npaths: [{path: a, is: import}]", "name: json\npaths: [{path: a, is: time}]", "name: json\npaths: [{path: a, is: import, unit: Wh, scale: '-1'}]",
		"name: json\npaths: [{path: a, is: time, form: layout, layout: YYYY-MM-DD hh:mm}]", "name: json\npaths: [{path: a, is: time, form: layout, layout: 2006-01-02}]",
		"name: json\npaths: [{path: a, is: voltage, unit: V}, {path: b, is: voltage, unit: V}]",
		"name: json\ninterval: 7\npaths: [{path: a, is: tamper}]", "name: json\nzone: No\npaths: [{path: a, is: tamper}]", "name: json\nfields: []\npaths: [{path: a, is: tamper}]"} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

func FuzzRead(f *testing.F) {
	m := mapping(f, plain)
	f.Add([]byte(`{"ts":"2026-07-27T12:30:00+02:00","energy":{"in":"12345.6789","out":0.1},"power":-15,"u":[230.1,1],"switch":"open","lid":true,"code":7}`))
	f.Add([]byte(`[{"a":1}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := m.Read(b, &cim.MeterReading{}); err != nil && format.Reason(err) == "other" {
			t.Fatalf("%v has no reason", err)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	m := mapping(b, plain)
	text := []byte(`{"ts":"2026-07-27T12:30:00+02:00","energy":{"in":12345.678,"out":0.1},"power":-15}`)
	var r cim.MeterReading
	b.ReportAllocs()
	for b.Loop() {
		r.Reset()
		if err := m.Read(text, &r); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParse: what is well-formed is what encoding/json takes for it, and the values are the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e+3,"x\u00e9\ud83d\ude00\n",true,false,null,{}],"b":{"c":[]}}`, ` [ ] `, `"\ud800"`, `01`, `1.`, `-`, `1e`, `{"a" 1}`, `{"a":1,}`, `[1 2]`, `nul`, `nulx`, "\"\x01\"", `"\x"`, `{1:2}`, `{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d document
		err := d.parse(b)
		if bounded := format.Reason(err) == "length" || err != nil && strings.Contains(err.Error(), "stands twice"); bounded {
			return
		}
		if (err == nil) != json.Valid(b) {
			t.Fatalf("%q: %v, and encoding/json says %v", b, err, json.Valid(b))
		}
		if err != nil || !utf8.Valid(b) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if got := d.any(0); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is %#v, want %#v", b, got, want)
		}
	})
}

// any is a node as encoding/json has it.
func (d *document) any(i int) any {
	n := d.nodes[i]
	switch n.kind {
	case null:
		return nil
	case isFalse, isTrue:
		return n.kind == isTrue
	case number:
		return json.Number(n.s)
	case text:
		return n.s
	}
	list, members := []any{}, map[string]any{}
	for k := i + 1; k < n.end; k = d.nodes[k].end {
		list = append(list, d.any(k))
		members[d.nodes[k].name] = d.any(k)
	}
	if n.kind == object {
		return members
	}
	return list
}

// TestNumbers: what is reckoned quickly is what is reckoned exactly.
func TestNumbers(t *testing.T) {
	for _, unit := range []string{"Wh", "kWh", "MWh"} {
		for _, scale := range []string{"", "0.1", "0.333", "1000000", "12345678901234567890"} {
			text := "name: json\npaths: [{path: a, is: import, unit: " + unit
			if scale != "" {
				text += ", scale: '" + scale + "'"
			}
			m := mapping(t, text+"}]")
			v := &m.values[0]
			for _, s := range []string{"0", "1", "0.1", "12345.6789", "999999999999999999", "99999999999999999.9", "0.123456789", "0.1234567891", "1e3", "1E-2", "-5", "-0.999", "000.5", "9223372036854775807", ".5", "5.", "", "-", "1.2.3"} {
				quick, err := v.number(&node{kind: number, s: s})
				exact := *v
				exact.den = 0
				slow, slowErr := exact.number(&node{kind: number, s: s})
				if quick != slow || (err == nil) != (slowErr == nil) {
					t.Errorf("%s × %s %s: %d, %v, want %d, %v", s, scale, unit, quick, err, slow, slowErr)
				}
			}
		}
	}
}

// TestSeveral: registers of rates add up if all of them are there, and what none of the paths finds is refused.
func TestSeveral(t *testing.T) {
	m := mapping(t, "name: json\npaths: [{path: t1, is: import, unit: kWh}, {path: t2, is: import, unit: kWh}, {path: l1, is: power, unit: W}, {path: l2, is: power, unit: W}]")
	for text, want := range map[string]cim.Measurement{
		`{"t1": 1.5, "t2": 2, "l1": 7, "l2": -2}`: {Has: cim.HasImport | cim.HasPower, Import: 3500, Power: 5},
		`{"t1": 1.5, "t2": null, "l2": -2}`:       {Has: cim.HasPower, Import: 1500, Power: -2},
	} {
		var r cim.MeterReading
		if err := m.Read([]byte(text), &r); err != nil || !slices.Equal(r.Measurements, []cim.Measurement{want}) {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
	for text, want := range map[string]string{
		`{"t3": 1}`:                          "message at offset 0: all that the mapping looks for: is missing",
		`{"l1": 2147483647, "l2": 1}`:        "l2 at offset 25: 1 is out of range: value outside its range",
		`{"t1": 9e15, "t2": 9000000000e6}`:   "t2 at offset 19: 9000000000e6 is out of range: value outside its range",
		`{"t1": 1, "t2": 92233720368547758}`: "t2 at offset 16: 92233720368547758 is too large: value outside its range",
	} {
		if err := m.Read([]byte(text), &cim.MeterReading{}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestLocal: times without a zone are the declaration's, the first pass of those that come twice; those that tell their zone are what they say.
func TestLocal(t *testing.T) {
	for _, tc := range []struct{ layout, time, want string }{
		{"2006-01-02 15:04:05", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"},
		{"02.01.2006 15:04", "25.10.2026 03:30", "2026-10-25T02:30:00Z"},
		{"1/2/2006 3:04 PM", "10/25/2026 2:30 AM", "2026-10-25T00:30:00Z"},
		{"2006-01-02 15:04:05 -0700", "2026-10-25 02:30:00 +0100", "2026-10-25T01:30:00Z"},
		{"2006-01-02 15:04 MST", "2026-10-25 02:30 CET", "2026-10-25T01:30:00Z"},
		{"2006-01-02 15:04", "2026-03-29 02:30", ""},
		{"2006-01-02 15:04", "2026-03-32 02:30", ""},
	} {
		m := mapping(t, "name: json\nzone: Europe/Zurich\npaths: [{path: t, is: time, form: layout, layout: '"+tc.layout+"'}, {path: a, is: tamper}]")
		var r cim.MeterReading
		got, err := "", m.Read([]byte(`{"a": true, "t": "`+tc.time+`"}`), &r)
		if err == nil {
			got = time.Unix(int64(r.Measurements[0].Time), 0).UTC().Format(time.RFC3339)
		}
		if got != tc.want {
			t.Errorf("%s: %s, %v, want %s", tc.time, got, err, tc.want)
		}
	}
}
