package dlms

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

const (
	import1  = "0906 0100010800FF"
	export1  = "0906 0100020800FF"
	power1   = "0906 0100010700FF"
	power2   = "0906 0100020700FF"
	voltage1 = "0906 0100200700FF"
	clock    = "0906 0000010000FF"
)

// noon is 2026-11-29 12:00 at UTC+1, deviation -60 minutes.
const noon = "07EA0B1D07 0C0000 00 FFC4 00"

var noonUTC = uint32(time.Date(2026, 11, 29, 11, 0, 0, 0, time.UTC).Unix())

func read(t *testing.T, l *Layout, message string) (cim.MeterReading, error) {
	t.Helper()
	var n Notification
	var r cim.MeterReading
	if err := n.Decode(unhex(t, message)); err != nil {
		return r, err
	}
	doc, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	var again Notification
	if err := json.Unmarshal(doc, &again); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	if a, b := n.Append(nil), again.Append(nil); string(a) != string(b) {
		t.Errorf("by JSON %X, want %X", b, a)
	}
	if b := unhex(t, message); b[0] == tagDataNotification && string(n.Append(nil)) != string(b) {
		t.Errorf("written %X, want %X", n.Append(nil), b)
	}
	return r, n.Read(&r, l)
}

// declare makes a declaration of lists.
func declare(t *testing.T, lists string) *Layout {
	t.Helper()
	l, err := Parse([]byte("name: dlms\nzone: Europe/Oslo\ninterval: 60\nlists:\n" + lists))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNames(t *testing.T) {
	full := cim.Measurement{Time: noonUTC, Has: cim.HasImport | cim.HasExport | cim.HasPower | cim.HasVoltage, Import: 163777250, Export: 12, Power: 1343, Voltage: 2343}
	for name, body := range map[string]string{
		// An array of structures of name, value, and scaler and unit, as Nordic customer interfaces have it.
		"structures": "0107 0202 0906 0101000281FF 0A0B 4149444F4E5F5630303031 0202 " + clock + " 090C " + noon + " 0203 " + import1 + " 06 00F9E77D 0202 0F01 161E" +
			"0203 " + export1 + " 06 000004B0 0202 0FFE 161E  0203 " + power1 + " 06 000006CF 0202 0F00 161B 0203 " + power2 + " 06 00000190 0202 0F00 161B 0203 " +
			voltage1 + " 12 0927 0202 0FFF 1623",
		// All in one structure, the time first and without a name.
		"flat": "020D 090C " + noon + import1 + "06 00F9E77D 0202 0F01 161E" + export1 + "06 000004B0 0202 0FFE 161E" +
			power1 + " 06 0000053F 0202 0F00 161B" + voltage1 + "12 0927 0202 0FFF 1623",
	} {
		r, err := read(t, nil, "0F 40000000 00"+body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(r.Measurements, []cim.Measurement{full}) {
			t.Errorf("%s: %+v", name, r.Measurements)
		}
	}
}

// TestScalersDeclared: names stand in the body, scalers and units in the declaration; the message tells the time, without deviation.
func TestScalersDeclared(t *testing.T) {
	l := declare(t, "  - [{obis: 1-1:1.8.0, unit: Wh, scale: '10'}, {obis: 1-1:1.7.0, unit: W}]\n")
	r, err := read(t, l, "0F 00000000 0C 07E6011801 123A32 FF 8000 00 0205 0A0E 4B616D73747275705F5630303031 0906 0101010700FF 06 0000033A 0906 0101010800FF 06 00000064")
	if err != nil || len(r.Measurements) != 1 {
		t.Fatal(r, err)
	}
	want := cim.Measurement{Time: 1643047130, Has: cim.HasImport | cim.HasPower, Interval: 60, Import: 1000, Power: 826}
	if r.Measurements[0] != want {
		t.Errorf("%+v", r.Measurements[0])
	}
}

// TestPasses: without deviation the hour that comes twice is told apart by the summer-time bit of the clock's status, and is the first where there is none.
func TestPasses(t *testing.T) {
	l := declare(t, "  - [{obis: 1-0:1.7.0, unit: W}]\n")
	for _, tc := range []struct {
		clock, want string
	}{
		{"07EA0A19 07 021E00 FF 8000 80", "2026-10-25T00:30:00Z"}, {"07EA0A19 07 021E00 FF 8000 00", "2026-10-25T01:30:00Z"},
		{"07EA0A19 07 021E00 FF 8000 FF", "2026-10-25T00:30:00Z"}, {"07EA0A19 07 021E00 FF FFC4 00", "2026-10-25T01:30:00Z"},
		{"07EA0A19 07 031E00 FF 8000 00", "2026-10-25T02:30:00Z"}, {"07EA031D 07 021E00 FF 8000 00", "clocks there never show 2026-03-29 02:30"},
	} {
		r, err := read(t, l, "0F 00000000 0C "+tc.clock+" 0201 06 0000033A")
		got := ""
		if err == nil && len(r.Measurements) == 1 {
			got = time.Unix(int64(r.Measurements[0].Time), 0).UTC().Format(time.RFC3339)
		} else if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s, want %s", tc.clock, got, tc.want)
		}
	}
}

// TestListsDeclared: bodies of bare values, told apart by their number; the date-time comes as a Data.
func TestListsDeclared(t *testing.T) {
	l := declare(t, "  - [{obis: 1-0:1.7.0, unit: W}]\n  - [{obis: 1-0:0.2.129}, {obis: 1-0:1.8.0, unit: kWh, scale: '0.001'}, {obis: 1-0:16.7.0, unit: W}, {obis: 0-0:96.3.10, attribute: 3}, {obis: 0-0:96.11.0}]\n")
	r, err := read(t, l, "0F 40000000 090C 07E4020F06010830FF800000 0201 06 00001FC7")
	if err != nil || len(r.Measurements) != 1 || r.Measurements[0].Power != 8135 || r.Measurements[0].Time != 1581725328 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = read(t, l, "0F 40000000 0C "+noon+" 0205 0907 4B464D5F303031 06 000004D2 10 FF38 16 02 12 0028")
	want := cim.Measurement{Time: noonUTC, Has: cim.HasImport | cim.HasPower | cim.HasBreaker, Flags: cim.FlagBreakerOpen, Interval: 60, Import: 1234, Power: -200, Breaker: cim.BreakerReady}
	if err != nil || !reflect.DeepEqual(r.Measurements, []cim.Measurement{want}) || !reflect.DeepEqual(r.Events, []cim.EndDeviceEvent{{Time: noonUTC, Code: 40}}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// pushed is a body with its push object list: itself, the clock, a register with scaler and unit, two rates, and the breaker.
const pushed = "0207 0107" +
	"0204 12 0028 0906 0000190900FF 0F 02 12 0000" +
	"0204 12 0008 0906 0000010000FF 0F 02 12 0000" +
	"0204 12 0003 0906 0100010800FF 0F 02 12 0000" +
	"0204 12 0003 0906 0100010800FF 0F 03 12 0000" +
	"0204 12 0003 0906 0100020801FF 0F 02 12 0000" +
	"0204 12 0003 0906 0100020801FF 0F 03 12 0000" +
	"0204 12 0046 0906 0000 60030AFF 0F 02 12 0000"

func TestPushObjectList(t *testing.T) {
	r, err := read(t, nil, "0F 00000001 00"+pushed+" 090C "+noon+" 15 0000000000012345 0202 0F00 161E 06 00000005 0202 0F03 161E 03 00")
	want := cim.Measurement{Time: noonUTC, Has: cim.HasImport | cim.HasExport | cim.HasBreaker, Flags: cim.FlagBreakerOpen, Import: 0x12345, Export: 5000, Breaker: cim.BreakerOpen}
	if err != nil || !reflect.DeepEqual(r.Measurements, []cim.Measurement{want}) {
		t.Errorf("%+v, %v", r.Measurements, err)
	}
}

// TestLoadProfile: the buffer of a profile, with clocks that are left out, a row that is not valid, and a gap.
func TestLoadProfile(t *testing.T) {
	row := func(clock, status, imported, exported string) string {
		return "0204" + clock + "11" + status + imported + exported
	}
	at := func(hour, minute int) string {
		return fmt.Sprintf("090C 07EA0B1D07 %02X%02X00 00 FFC4 00", hour, minute)
	}
	buffer := "0106" + row(at(11, 15), "00", "12 0064", "12 0001") + row("00", "00", "12 0065", "12 0002") + row("00", "04", "12 FFFF", "12 FFFF") +
		row(at(13, 0), "00", "12 0066", "00") + row("00", "00", "12 0067", "12 0003") + row("00", "02", "12 0068", "12 0004")
	columns := "0104 0204 12 0008 0906 0000010000FF 0F02 12 0000  0204 12 0001 0906 0000600A01FF 0F02 12 0000" +
		"0204 12 0003 0906 01 00 01 1D 00 FF 0F02 12 0000  0204 12 0003 0906 01 00 02 1D 00 FF 0F02 12 0000"
	list := "0103 0204 12 0007 0906 0100630100FF 0F03 12 0000 0204 12 0007 0906 0100630100FF 0F04 12 0000 0204 12 0007 0906 0100630100FF 0F02 12 0000"
	l := declare(t, "  - [{obis: 1-0:1.29.0, unit: Wh}, {obis: 1-0:2.29.0, unit: Wh, scale: '10'}]\n")
	r, err := read(t, l, "0F 00000001 00 0204"+list+columns+"06 00000384"+buffer)
	if err != nil {
		t.Fatal(err)
	}
	quarter := uint32(900)
	start := noonUTC - 4*quarter
	want := []cim.IntervalBlock{
		{Channel: 1, Slot: 15, Start: start, Register: cim.NoRegister, Values: []uint32{10, 20}},
		{Channel: 0, Slot: 15, Start: start, Register: cim.NoRegister, Values: []uint32{100, 101}},
		{Channel: 0, Slot: 15, Start: noonUTC + 3*quarter, Register: cim.NoRegister, Values: []uint32{102, 103, 104}},
		{Channel: 1, Slot: 15, Start: noonUTC + 4*quarter, Register: cim.NoRegister, Values: []uint32{30, 40}},
	}
	got := map[string]cim.IntervalBlock{}
	for _, b := range r.Blocks {
		got[fmt.Sprint(b.Channel, b.Start)] = b
	}
	if len(r.Blocks) != len(want) {
		t.Errorf("%+v", r.Blocks)
	}
	for _, w := range want {
		if g := got[fmt.Sprint(w.Channel, w.Start)]; !reflect.DeepEqual(g, w) {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
}

// TestRegisterProfile: a profile of registers becomes measurements, one for each row.
func TestRegisterProfile(t *testing.T) {
	l := declare(t, "  - [{obis: 0-0:96.1.0}, {obis: 1-0:99.1.0, columns: [{obis: 0-0:1.0.0}, {obis: 1-0:1.8.0, unit: Wh}]}]\n")
	r, err := read(t, l, "0F 00000001 00 0202 0903 414243 0102 0202 090C "+noon+" 06 00000010 0202 00 06 00000020")
	want := []cim.Measurement{{Time: noonUTC, Has: cim.HasImport, Import: 16}, {Time: noonUTC + 3600, Has: cim.HasImport, Import: 32}}
	if err != nil || !reflect.DeepEqual(r.Measurements, want) {
		t.Errorf("%+v, %v", r.Measurements, err)
	}
}

// TestCompactArray: a profile whose element type is told once.
func TestCompactArray(t *testing.T) {
	l := declare(t, "  - [{obis: 0-0:96.1.0}, {obis: 1-0:99.1.0, columns: [{obis: 0-0:1.0.0}, {obis: 1-0:1.8.0, unit: Wh}]}]\n")
	r, err := read(t, l, "0F 00000001 00 0202 0903 414243 13 02 02 19 06 20 "+noon+"00000010"+noon+"00000011")
	want := []cim.Measurement{{Time: noonUTC, Has: cim.HasImport, Import: 16}, {Time: noonUTC, Has: cim.HasImport, Import: 17}}
	if err != nil || !reflect.DeepEqual(r.Measurements, want) {
		t.Errorf("%+v, %v", r.Measurements, err)
	}
}

func TestRefused(t *testing.T) {
	big := declare(t, "  - [{obis: 1-0:1.8.0, unit: kWh, scale: '1000'}]\n  - [{obis: 1-0:1.7.0, unit: W}, {obis: 1-0:32.7.0, unit: V}]\n  - [{obis: 1-0:99.1.0, columns: [{obis: 1-0:1.8.0, unit: kWh, scale: '1000'}]}, {obis: 0-0:96.3.10}, {obis: 0-0:96.11.0}]\n")
	for _, c := range []struct {
		message, want string
		reason        error
	}{
		{"", "APDU at offset 0", format.ErrLength},
		{"C0", "want 0x0F", format.ErrVersion},
		{"0F 000000", "long invoke id", format.ErrLength},
		{"0F 00000001 05 0000000000 00", "date-time at offset 5: 5 octets", format.ErrLength},
		{"0F 00000001 00", "data at offset 6", format.ErrLength},
		{"0F 00000001 00 0202 090C " + noon + " 06 00000001", "structure of 2: nothing in it says what the values are", format.ErrMissing}, // a clock alone says nothing of others
		{"0F 00000001 00 07", "0x07 is no type", format.ErrSyntax},
		{"0F 00000001 00 00 00", "1 octets behind the body", format.ErrLength},
		{"0F 00000001 00 01 84 7FFFFFFF 00", "2147483647 items", format.ErrLength},
		{"0F 00000001 00 09 84 7FFFFFFF 00", "1 octets left, want 2147483647", format.ErrLength},
		{"0F 00000001 00" + strings.Repeat("0101", 9) + "00", "more than 8", format.ErrValue},
		{"0F 00000001 00 13 01 FFFF 01 FFFF 00 02 0000", "more than 20000 items", format.ErrLength},
		{"0F 00000001 00 13 00 02 0000", "elements without contents", format.ErrLength},
		{"0F 00000001 00 13 07 00", "0x07 is no type", format.ErrSyntax},
		{"0F 00000001 00 06 00000001", "nothing in it says what the values are", format.ErrMissing},
		{"0F 00000001 00 0202" + import1 + "06 00000001", "neither the meter nor a declaration", format.ErrUnit},
		{"0F 00000001 00 0203" + import1 + "06 00000001 0202 0F00 161B", "unit 27, want 30", format.ErrUnit},
		{"0F 00000001 00 0203" + import1 + "05 FFFFFFFF 0202 0F00 161E", "-1 Wh", format.ErrValue},
		{"0F 00000001 00 0203" + import1 + "06 00000001 0202 0F7F 161E", "scaler 127", format.ErrValue},
		{"0F 00000001 00 0203" + import1 + "15 FFFFFFFFFFFFFFFF 0202 0F00 161E", "beyond 63 bits", format.ErrValue},
		{"0F 00000001 00 0203" + import1 + "17 7FC00000 0202 0F00 161E", "no measured value", format.ErrValue},
		{"0F 00000001 00 0203" + power1 + "14 0000000100000000 0202 0F00 161B", "4294967296 W", format.ErrValue},
		{"0F 00000001 00 0202" + clock + "0901 00", "date-time of 12", format.ErrLength},
		{"0F 00000001 00 0202" + clock + "090C 07EA021E07 0C0000 00 8000 00", "clocks there never show 2026-02-30", format.ErrValue},
		{"0F 00000001 00 0202" + clock + "090C FFFF0B1D07 0C0000 00 8000 00", "want a whole date-time", format.ErrValue},
		{"0F 00000001 00 0202" + clock + "090C 07EA0B1D07 0C0000 00 7FFF 00", "deviation of 32767", format.ErrValue},
		{"0F 00000001 00 0201 14 7FFFFFFFFFFFFFFF", "beyond 63 bits", format.ErrValue},
		{"0F 00000001 00 0202 06 FFFFFFFF 06 00000001", "4294967295 W", format.ErrValue},
		{"0F 00000001 00 0202 06 0000000F 06 000FFFFF", "tenths of a volt", format.ErrValue},
		{"0F 00000001 00 0203 0101 0201 06 00000001 00 00", "row 1 has no clock", format.ErrMissing},
		{"0F 00000001 00 0203 0101 0202 00 00 00 00", "row 1 has 2 values, want 1", format.ErrLength},
		{"0F 00000001 00 0203 00 16 03 00", "enum 3, want 0, 1 or 2", format.ErrValue},
		{"0F 00000001 00 0203 00 00 06 00010000", "no event code", format.ErrValue},
		{"0F 00000001 00 0202 0906 0100630100FF 0101 0201 00", "tells the columns", format.ErrMissing},
		{"7E A0", "without a flag", format.ErrLength},
		{"7E B00B 03 03 13 0000 0F00 0000 7E", "want a frame of type 3", format.ErrVersion},
		{"7E A00C 03 03 13 0000 0F00 0000 7E", "HDLC length", format.ErrLength},
		{"7E A00B 02 02 02 0202 0202 0202 7E", "no end of the addresses", format.ErrLength},
		{"7E A00B 03 03 13 0000 0F00 0000 7E", "HDLC check sum", format.ErrCheckSum},
	} {
		l := big
		if strings.Contains(c.message, "0906") { // they tell their names
			l = nil
		}
		_, err := read(t, l, c.message)
		if !errors.Is(err, c.reason) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.message, err, c.want)
		}
	}
}

// TestFrame: what a customer interface sends in HDLC.
func TestFrame(t *testing.T) {
	r, err := read(t, nil, "7EA02A410883130413E6E7000F40000000000101020309060100010700FF060000020002020F00161BC12C7E")
	if err != nil || len(r.Measurements) != 1 || r.Measurements[0].Power != 512 || r.Measurements[0].Time != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDeclarationRefused(t *testing.T) {
	for text, want := range map[string]string{
		"name: X\nlists: [[{obis: 1-0:1.8.0}]]":                                            "name:",
		"name: dlms\ninterval: 7\nlists: [[{obis: 1-0:1.8.0}]]":                            "interval: 7",
		"name: dlms\nzone: Mars\nlists: [[{obis: 1-0:1.8.0}]]":                             "zone:",
		"name: dlms\nlists: []":                                                            "lists: 0",
		"name: dlms\nlists: [[]]":                                                          "list 1: 0 objects",
		"name: dlms\nlists: [[{obis: 1.8.0}]]":                                             "list 1: object 1: obis",
		"name: dlms\nlists: [[{obis: 1-0:1.8.999}]]":                                       "up to 255",
		"name: dlms\nlists: [[{obis: 1-0:1.8.0, unit: J}]]":                                "unit:",
		"name: dlms\nlists: [[{obis: 1-0:1.8.0, unit: Wh, scale: '3'}]]":                   "power of ten",
		"name: dlms\nlists: [[{obis: 1-0:1.8.0}], [{obis: 1-0:2.8.0}]]":                    "list 2: another one has 1 values",
		"name: dlms\nlists: [[{obis: 1-0:99.1.0, columns: [{obis: x}]}]]":                  "object 1: object 1: obis",
		"name: dlms\nlists: [[{obis: 1-0:1.8.0, is: import}]]":                             "key is is not known here",
		"name: dlms\nlists: [[{obis: 1-0:1.8.0, unit: Wh}, {obis: 1-0:1.8.0, unit: kWh}]]": "another unit or scale",
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrDeclaration) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if !Declares([]byte("lists: [[]]")) || Declares([]byte("fields: []")) {
		t.Error("which files are ours")
	}
}

// TestJSON: every type comes back from JSON as it was.
func TestJSON(t *testing.T) {
	v := Value{Tag: Structure, Items: []Value{{}, {Tag: Array}, {Tag: Boolean, Bytes: []byte{1}}, {Tag: BitString, Bits: 10, Bytes: []byte{0xA5, 0x40}},
		{Tag: DoubleLong, Bytes: []byte{0xFF, 0, 0, 0}}, {Tag: DoubleLongUnsigned, Bytes: []byte{0xFF, 0, 0, 0}}, {Tag: OctetString, Bytes: []byte{1, 2}},
		{Tag: VisibleString, Bytes: []byte("a\"b")}, {Tag: UTF8String, Bytes: []byte("ü")}, {Tag: BCD, Bytes: []byte{0x12}}, {Tag: Integer, Bytes: []byte{0x80}},
		{Tag: Long, Bytes: []byte{0x80, 0}}, {Tag: Unsigned, Bytes: []byte{200}}, {Tag: LongUnsigned, Bytes: []byte{200, 0}},
		{Tag: Long64, Bytes: []byte{0x80, 0, 0, 0, 0, 0, 0, 1}}, {Tag: Long64Unsigned, Bytes: []byte{0x80, 0, 0, 0, 0, 0, 0, 1}}, {Tag: Enum, Bytes: []byte{30}},
		{Tag: Float32, Bytes: []byte{0x3F, 0x80, 0, 0}}, {Tag: Float64, Bytes: []byte{0x7F, 0xF0, 0, 0, 0, 0, 0, 0}}, {Tag: DateTimeTag, Bytes: make([]byte, 12)},
		{Tag: DateTag, Bytes: make([]byte, 5)}, {Tag: TimeTag, Bytes: make([]byte, 4)},
		{Tag: Array, Compact: true, Items: []Value{{Tag: Unsigned, Bytes: []byte{1}}, {Tag: Unsigned, Bytes: []byte{2}}}}}}
	want := v.Append(nil)
	doc, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var got Value
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	if string(got.Append(nil)) != string(want) {
		t.Errorf("%s\n%X, want\n%X", doc, got.Append(nil), want)
	}
	if f, ok := (&Value{Tag: Float64, Bytes: []byte{0x7F, 0xF0, 0, 0, 0, 0, 0, 0}}).Float(); !ok || !math.IsInf(f, 1) {
		t.Error(f)
	}
	for _, bad := range []string{"1", "{}", `{"x":1}`, `{"unsigned":256}`, `{"bit-string":"2"}`, `{"date":"00"}`, `{"octet-string":"0"}`, `{"float32":"x"}`, `{"boolean":3}`, `{"structure":1}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Error(bad)
		}
	}
}

// FuzzNotification: whatever comes, a decoded notification encodes to one that decodes alike, and reading it ends.
func FuzzNotification(f *testing.F) {
	for _, s := range []string{"0F 40000000 090C 07E4020F06010830FF800000 0201 06 00001FC7", "0F 00000001 00" + pushed + " 090C " + noon + " 15 0000000000012345 0202 0F00 161E 06 00000005 0202 0F03 161E 03 00",
		"0F 00000001 00 0202 0903 414243 13 02 02 19 06 20 " + noon + "00000010" + noon + "00000010",
		"7EA02A410883130413E6E7000F40000000000101020309060100010700FF060000020002020F00161BC12C7E",
		"E0 40 0001 0000 06 0F 40000000 00 E0 80 0002 0000 05 06 00001FC7"} {
		f.Add(unhex(f, strings.ReplaceAll(s, " ", "")))
	}
	title, _ := ParseSystemTitle("4D4D4D0000BC614E")
	key, err := NewKey([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F"), nil)
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := key.Seal(title, Encrypted, 1, unhex(f, "0F40000000000203"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	keys, err := ReadKeys(strings.NewReader("M1 4D4D4D0000BC614E 000102030405060708090A0B0C0D0E0F\n"))
	if err != nil {
		f.Fatal(err)
	}
	l, err := Parse([]byte("name: dlms\ninterval: 15\nlists:\n  - [{obis: 1-0:1.7.0, unit: W}]\n  - [{obis: 0-0:96.1.0}, {obis: 1-0:99.1.0, columns: [{obis: 0-0:1.0.0}, {obis: 1-0:1.29.0, unit: Wh}]}]\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var n, again Notification
		if _, err := ParseEnvelope(b); err != nil && format.Reason(err) == "other" {
			t.Fatalf("%v has no reason", err)
		}
		if plain, err := keys.OpenAny(b); err == nil {
			_ = n.Decode(plain)
		}
		if err := n.Decode(b); err != nil {
			if format.Reason(err) == "other" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		once := n.Append(nil)
		if err := again.Decode(once); err != nil {
			t.Fatalf("%X: %v", once, err)
		}
		if twice := again.Append(nil); string(twice) != string(once) {
			t.Fatalf("%X, then %X", once, twice)
		}
		var r cim.MeterReading
		_ = n.Read(&r, nil)
		_ = n.Read(&r, l)
	})
}

func BenchmarkAppend(b *testing.B) {
	var n Notification
	if err := n.Decode(unhex(b, "0F 40000000 0C "+noon+" 0205 0907 4B464D5F303031 06 000004D2 10 FF38 16 02 12 0028")); err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = n.Append(dst[:0])
	}
}

func BenchmarkRead(b *testing.B) {
	message := unhex(b, "0F 40000000 0C "+noon+" 0205 0907 4B464D5F303031 06 000004D2 10 FF38 16 02 12 0028")
	l, err := Parse([]byte("name: dlms\nlists:\n  - [{obis: 1-0:0.2.129}, {obis: 1-0:1.8.0, unit: Wh}, {obis: 1-0:16.7.0, unit: W}, {obis: 0-0:96.3.10, attribute: 3}, {obis: 0-0:96.11.0}]\n"))
	if err != nil {
		b.Fatal(err)
	}
	var r cim.MeterReading
	b.ReportAllocs()
	for b.Loop() {
		var n Notification
		r.Reset()
		if err := n.Decode(message); err != nil {
			b.Fatal(err)
		}
		if err := n.Read(&r, l); err != nil {
			b.Fatal(err)
		}
	}
}
