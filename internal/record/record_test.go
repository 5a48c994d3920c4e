package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

// annotated holds one message of every type, byte by byte as docs/contract.md lays it out.
var annotated = []struct {
	name string
	hex  string
	want func([]byte) ([]byte, error) // decode and encode again
}{
	{"location", `01 01 0003 5C0FFEE0  00000007 00010203 001E 000B 5BD63F70`, func(b []byte) ([]byte, error) {
		m, err := DecodeLocation(b)
		return m.Append(nil), err
	}},
	{"reading", `01 02 0004 5C0FFEE0  0000000000012345 0000000000000000 FFFFFF38 08FC 0102`, func(b []byte) ([]byte, error) {
		m, err := DecodeReading(b)
		return m.Append(nil), err
	}},
	{"profile", `01 03 0000 5BD63F70  00000000000000FF 0000000000001000 001E 02 00 0001 0001
		00000096 FFFFFFFF ` + strings.Repeat("FFFFFFFF", 10), func(b []byte) ([]byte, error) {
		m, err := DecodeProfile(b)
		if err != nil {
			return nil, err
		}
		return m.Append(nil)
	}},
	{"result", `01 04 0000 5C0FFEE0  00000000000000FF 03 00 00 00 00000001`, func(b []byte) ([]byte, error) {
		m, err := DecodeResult(b)
		return m.Append(nil), err
	}},
	{"power", `01 05 0002 5C0FFEE0  01 00 0009 00000010`, func(b []byte) ([]byte, error) {
		m, err := DecodePower(b)
		return m.Append(nil), err
	}},
	{"lost", `01 06 0000 5C0FFEE0  00000007`, func(b []byte) ([]byte, error) {
		m, err := DecodeLost(b)
		return m.Append(nil), err
	}},
	{"event", `01 07 0000 5C0FFEE0  1234 0000 00000001`, func(b []byte) ([]byte, error) {
		m, err := DecodeEvent(b)
		return m.Append(nil), err
	}},
	{"batch", `01 08 0000 5C0FFEE0  0001 0000  0D 6D657465722F4D312F6C6F7374 000C 010600005C0FFEE000000007`, func(b []byte) ([]byte, error) {
		m, err := DecodeBatch(b)
		return m.Append(nil), err
	}},
	{"location-ack", `01 81 0000 5C0FFEE0  00000007 001E 0000`, func(b []byte) ([]byte, error) {
		m, err := DecodeLocationAck(b)
		return m.Append(nil), err
	}},
	{"groups", `01 83 0000 5C0FFEE0  00000000000000FF 5C0FFFFF 02 000000 0000000C 0000000D` + strings.Repeat("00000000", 6), func(b []byte) ([]byte, error) {
		m, err := DecodeGroups(b)
		return m.Append(nil), err
	}},
	{"cmd", `01 82 0000 5C0FFEE0  00000000000000FF 02 FF 0000 5C0FFFFF 5BD63F70 5BD64000`, func(b []byte) ([]byte, error) {
		m, err := DecodeCommand(b)
		return m.Append(nil), err
	}},
	{"measurement", `01 09 0004 5C0FFEE0  1F 02 001E 0000000000012345 0000000000000007 FFFFFF38 08FC 0000`, func(b []byte) ([]byte, error) {
		m, err := DecodeMeasurement(b)
		return m.Append(nil), err
	}},
	{"firmware", `01 84 0000 5C0FFEE0  0000019A00000007 5C0FFFFF 5C100000 0200 0000
		01 00 0000 01020003 00000400 4143452D31 ` + strings.Repeat("00", 15) + strings.Repeat("AB", 32) + strings.Repeat("CD", 64), func(b []byte) ([]byte, error) {
		m, err := DecodeFirmware(b)
		return m.Append(nil), err
	}},
	{"block", `01 85 0000 5C0FFEE0  0123456789ABCDEF 0001 0200 0003 C0FFEE`, func(b []byte) ([]byte, error) {
		m, err := DecodeBlock(b)
		return m.Append(nil), err
	}},
	{"firmware-state", `01 0B 0000 5C0FFEE0  0123456789ABCDEF 01020002 01 00 0400 0003 0000 0000019A00000007
		02 ` + strings.Repeat("00", 30) + ` 80`, func(b []byte) ([]byte, error) {
		m, err := DecodeFirmwareState(b)
		return m.Append(nil), err
	}},
	{"submeter", `01 0A 0000 5C0FFEE0  02 03 03 FD 000000000003C17A 11 000000 4730303339303031393336393930363139` + strings.Repeat("00", 31), func(b []byte) ([]byte, error) {
		m, err := DecodeSubmeter(b)
		if err != nil {
			return nil, err
		}
		return m.Append(nil)
	}},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnnotated(t *testing.T) {
	for _, tc := range annotated {
		b := unhex(t, tc.hex)
		typ, err := Validate(tc.name, b)
		if err != nil || typ.Event() != tc.name {
			t.Errorf("%s: Validate = %v, %v", tc.name, typ, err)
		}
		if et, ok := EventType(tc.name); !ok || et != typ {
			t.Errorf("EventType(%s) = %v, %v", tc.name, et, ok)
		}
		again, err := tc.want(b)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: again %x, %v; want %x", tc.name, again, err, b)
		}
		for n := range b {
			if _, err := Validate(tc.name, b[:n]); !errors.Is(err, ErrLength) {
				t.Errorf("%s cut to %d bytes: %v, want ErrLength", tc.name, n, err)
			}
		}
		if _, err := Validate(tc.name, append(bytes.Clone(b), 0)); !errors.Is(err, ErrLength) {
			t.Errorf("%s with a byte more: %v, want ErrLength", tc.name, err)
		}
		if _, err := Validate("nonsense", b); !errors.Is(err, ErrEvent) {
			t.Errorf("%s under another event: %v", tc.name, err)
		}
	}
}

func TestFields(t *testing.T) {
	r, err := DecodeReading(unhex(t, annotated[1].hex))
	want := Reading{Header{FlagBreakerOpen, 0x5C0FFEE0}, 0x12345, 0, -200, 2300, 0x102}
	if err != nil || r != want {
		t.Errorf("reading %+v, %v; want %+v", r, err, want)
	}
	s, err := DecodeSubmeter(unhex(t, annotated[15].hex))
	wantS := Submeter{Header{0, 0x5C0FFEE0}, 2, cim.MediumGas, cim.UnitCubicMetre, -3, 246_138, "G0039001936990619"}
	if err != nil || s != wantS || s.Reading().Decimal() != "246.138" {
		t.Errorf("submeter %+v, %v; want %+v", s, err, wantS)
	}
	c, err := DecodeCommand(unhex(t, annotated[10].hex))
	wantC := Command{Header{0, 0x5C0FFEE0}, 255, OpProfile, ChannelAll, 0x5C0FFFFF, 0x5BD63F70, 0x5BD64000}
	if err != nil || c != wantC {
		t.Errorf("command %+v, %v; want %+v", c, err, wantC)
	}
}

func TestRefused(t *testing.T) {
	var changed []int // offset, for each case
	set := func(i, at int, v byte) []byte {
		b := unhex(t, annotated[i].hex)
		b[at] = v
		changed = append(changed, at)
		return b
	}
	offset := regexp.MustCompile(`^[a-z].* at offset ([0-9]+): `)
	for i, tc := range []struct {
		event  string
		b      []byte
		reason string
	}{
		{"location", set(0, 0, 2), "version"},
		{"location", set(0, 0, VersionSealed), "version"},
		{"location", set(0, 1, 0x7f), "type"},
		{"location", set(0, 1, 0x02), "length"},
		{"profile", set(2, 26, 0), "value"},
		{"profile", set(2, 26, 13), "value"},
		{"profile", set(2, 25, 29), "value"},
		{"profile", set(2, 27, 2), "value"},
		{"profile", set(2, 29, 0), "value"},
		{"profile", set(2, 7, 0x31), "value"},
		{"result", set(3, 16, 0), "opcode"},
		{"result", set(3, 16, 12), "opcode"},
		{"result", set(3, 17, 6), "value"},
		{"result", set(3, 18, 3), "value"},
		{"power", set(4, 8, 0), "value"},
		{"power", set(4, 8, 4), "value"},
		{"groups", set(9, 20, 9), "value"},
		{"cmd", set(10, 16, 0), "opcode"},
		{"cmd", set(10, 16, 8), "opcode"},
		{"cmd", set(10, 17, 2), "value"},
		{"measurement", set(11, 8, 0x20), "value"},
		{"measurement", set(11, 9, 5), "value"},
		{"measurement", set(11, 11, 7), "value"},
		{"measurement", set(11, 12, 0xFF), "value"},
		{"firmware", set(12, 24, 9), "value"},
		{"block", set(13, 18, 0), "value"},
		{"block", set(13, 21, 2), "length"},
		{"firmware-state", set(14, 20, 7), "value"},
		{"firmware-state", set(14, 24, 5), "value"},
		{"submeter", set(15, 8, 0), ""},         // the id is enough
		{"submeter", set(15, 10, 0), "value"},   // unit
		{"submeter", set(15, 10, 4), "value"},   //
		{"submeter", set(15, 11, 10), "value"},  // scale
		{"submeter", set(15, 11, 200), "value"}, //
		{"submeter", set(15, 12, 0x20), "value"},
		{"submeter", set(15, 20, 16), "value"}, // a character behind the id
		{"submeter", set(15, 20, 49), "value"},
		{"submeter", set(15, 24, '-'), "value"},
		{"submeter", set(15, 30, '/'), "value"},
		{"batch", set(7, 9, 2), "length"},
		{"batch", set(7, 12, 0), "length"},
	} {
		if _, err := Validate(tc.event, tc.b); err == nil != (tc.reason == "") || err != nil && Reason(err) != tc.reason {
			t.Errorf("%s %x: %v, want reason %s", tc.event, tc.b, err, tc.reason)
		} else if err != nil {
			m := offset.FindStringSubmatch(err.Error())
			if m == nil {
				t.Errorf("%v: no field, no offset", err)
				continue
			}
			// Fields have eight bytes at most. A length may be told where what should be there is not, or where something is that should not.
			if n, _ := strconv.Atoi(m[1]); n > len(tc.b) || tc.reason != "length" && (n > changed[i] || n+8 <= changed[i]) && changed[i] != 20 {
				t.Errorf("%d was changed: %v", changed[i], err)
			}
		}
	}
	if Reason(errors.New("x")) != "other" {
		t.Error("a foreign error has a reason")
	}
	var m Batch
	for _, bad := range []string{"", strings.Repeat("x", 256)} {
		if m.Add(bad, nil) == nil {
			t.Errorf("batch took a topic of %d bytes", len(bad))
		}
	}
	if m.Add("meter/M1/reading", make([]byte, 65536)) == nil {
		t.Error("batch took a payload of 65536 bytes")
	}
}

func TestBatch(t *testing.T) {
	var m Batch
	want := []string{"meter/M1/reading", "C7/meter/M2/lost"}
	for _, s := range want {
		if err := m.Add(s, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := DecodeBatch(m.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	got.All(func(topic, payload []byte) {
		if string(topic) != want[n] || string(payload) != want[n] {
			t.Errorf("entry %d: %s %s", n, topic, payload)
		}
		n++
	})
	if n != len(want) {
		t.Errorf("%d entries", n)
	}
}

func FuzzValidate(f *testing.F) {
	for _, tc := range annotated {
		f.Add(tc.name, unhex(f, tc.hex))
	}
	f.Fuzz(func(t *testing.T, event string, b []byte) {
		typ, err := Validate(event, b)
		if err != nil {
			if Reason(err) == "other" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		for _, tc := range annotated {
			if tc.name != event {
				continue
			}
			again, err := tc.want(b)
			if err != nil {
				t.Fatalf("%s: %v after Validate", typ, err)
			}
			if _, err := Validate(event, again); err != nil || len(again) != len(b) {
				t.Fatalf("%s: %x became %x: %v", typ, b, again, err)
			}
		}
	})
}
