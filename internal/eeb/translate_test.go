package eeb

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/formats"
	"github.com/wattbus/wattbus/internal/record"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openFormats(t testing.TB, dir, scales string) *formats.Set {
	t.Helper()
	s, err := formats.New(formats.Options{Dir: dir, Scales: scales})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

const hokuto = "68 00001234 2607271230 0001234567 FFFFFFFFFF FFFFFF38 89"

// Messages of every format travel in the same batches as wattbus v1 ones.
func TestForeignFormats(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Formats = openFormats(t, "../../examples/formats", "") }, nil)
	r.read()
	p := r.connect("C1", "dn/C1/#")
	p.put("up/C1/meter/M0/reading", reading(1800))

	// meter --INFC (E1, EA, EB)--> centre --INFC_Res--> meter
	p.put("up/C1/C7/meter/E1/el", unhex(t, `1081 029F 028801 05FF01 74 03 E1 01 01
		EA 0B 07E5 01 12 12 00 00 0000FBD2  EB 0B 07E5 01 12 12 00 00 00000009`))
	at := time.Date(2021, 1, 18, 9, 0, 0, 0, time.UTC).Unix()
	if m := p.next(); m.Topic != "dn/C1/C7/meter/E1/el" || !bytes.Equal(m.Payload, unhex(t, `1081 029F 05FF01 028801 7A 03 E1 00 EA 00 EB 00`)) {
		t.Errorf("%s %x", m.Topic, m.Payload)
	}
	// The unit is kept from one message to the next.
	p.put("up/C1/C7/meter/E1/el", unhex(t, "1081000102880105FF017201E0040000FE73"))
	telegram, err := os.ReadFile("../dsmr/testdata/v5.txt")
	if err != nil {
		t.Fatal(err)
	}
	p.put("up/C1/meter/P1/p1", telegram)
	own := unhex(t, hokuto)
	own = append(own, 0, 0)
	copy(own[len(own)-2:], crc13757(own[1:len(own)-2]))
	p.put("up/C1/meter/H1/x-hokuto", own)
	was := time.Date(2026, 7, 27, 3, 30, 0, 0, time.UTC).Unix()
	r.want("C1|meter/M0|reading|1800",
		fmt.Sprintf("C1/C7|meter/E1|measurement|%d", at),
		fmt.Sprintf("C1/C7|meter/E1|measurement|%d", start.Unix()), // told no time: when it came
		fmt.Sprintf("C1|meter/P1|measurement|%d", time.Date(2017, 1, 2, 18, 20, 2, 0, time.UTC).Unix()),
		fmt.Sprintf("C1|meter/P1|submeter|%d", time.Date(2017, 1, 2, 15, 10, 5, 0, time.UTC).Unix()),
		fmt.Sprintf("C1|meter/H1|measurement|%d", was), fmt.Sprintf("C1|meter/H1|power|%d", was), fmt.Sprintf("C1|meter/H1|event|%d", was))

	// A device that never registers is where its newest message came from.
	p.put("up/C1/meter/P1/p1", telegram)
	p.put("up/C2/meter/P1/p1", telegram)
	if l, ok := r.keep.get("meter", "P1"); !ok || l.Parent != "C2" || l.Sequence != 0 {
		t.Errorf("%+v", l)
	}
	// One that tells nothing is acknowledged, and that is all.
	p.put("up/C1/meter/E2/el", unhex(t, "108100000EF0010EF0017301D50401028801"))
	if r.metric("wattbus_uplink_ignored_total", "tells_nothing") != 1 {
		t.Error("what tells nothing is not counted")
	}
}

func crc13757(b []byte) []byte {
	c := uint16(0)
	for _, x := range b {
		c ^= uint16(x) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x3D65
			} else {
				c <<= 1
			}
		}
	}
	return []byte{byte(^c >> 8), byte(^c)}
}

// A malformed message is a dead letter with its reason, the field and the offset; its neighbours are served.
func TestForeignDeadLetters(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Formats = openFormats(t, "../../examples/formats", "") }, nil)
	r.read()
	p := r.connect("C1")
	broken := unhex(t, hokuto)
	broken[9] = 0x1F // minute of the time
	for _, tc := range []struct {
		topic   string
		payload []byte
		reason  string
		detail  string
	}{
		{"up/C1/meter/E1/el", unhex(t, "1081000102880105FF017201E0040000FE73"), "unit", "property E0 (cumulative energy, forward) at offset 14: 65139 counts, and the meter never told E1: unit is not known"},
		{"up/C1/meter/E1/el", unhex(t, "1081000102880105FF017201E10109"), "value", "property E1 (unit) at offset 14"},
		{"up/C1/meter/P1/p1", []byte("/ISk5x\r\n\r\n1-0:1.8.1(12*MWh)\r\n!\r\n"), "value", "1-0:1.8.1 in line 3 at offset 20"},
		{"up/C1/meter/P1/p1", []byte("/ISk5x\r\n\r\n!1234\r\n"), "checksum", "check sum in line 3 at offset 11"},
		{"up/C1/meter/H1/x-hokuto", broken, "value", "time at offset 9: 0x260727121f is no time"},
		{"up/C1/meter/H1/x-hokuto", unhex(t, "68 0000"), "length", "serial at offset 1: the message ends at 3, want 4 octets from here"},
		{"up/C1/meter/H1/x-unknown", nil, "format", "the event names no format that is known"},
		{"up/C1/concentrator/C9/el", nil, "kind", "a concentrator measures nothing"},
	} {
		p.put(tc.topic, tc.payload)
		ls, err := r.b.DeadLetters(context.Background(), 1, 0)
		if err != nil || len(ls) != 1 {
			t.Fatal(ls, err)
		}
		if l := ls[0]; l.Reason != tc.reason || l.Topic != tc.topic || !bytes.Equal(l.Payload, tc.payload) || !strings.HasPrefix(l.Detail, tc.detail) {
			t.Errorf("%s: %s: %s, want %s: %s", l.Topic, l.Reason, l.Detail, tc.reason, tc.detail)
		}
	}
	p.put("up/C1/meter/M0/reading", reading(1800))
	r.want("C1|meter/M0|reading|1800")
}

// A day's history becomes load profile parts of the register and the values that the frame tells.
func TestForeignHistory(t *testing.T) {
	r := newRig(t, nil, nil)
	u := r.e.inspect("up/meter/E1/el", unhex(t, `1081 0102 028801 05FF01 72 03 E1 01 01 D3 04 00000001
		EC 67 07EA 07 1A 0C 1E 0C `+history(12)))
	if u.reason != "" || u.kind != record.TypeMeasurement || len(u.others) != 1 {
		t.Fatalf("%s %v %v %d", u.reason, u.detail, u.kind, len(u.others))
	}
	p, err := record.DecodeProfile(u.others[0].payload)
	if err != nil || p.Count != 11 || p.Register != 100_000 || p.Values[0] != 100 || p.Values[10] != 100 || p.Slot != 30 {
		t.Errorf("%+v, %v", p, err)
	}
}

// history is n segments, the newest first: 1,000 counts and one more each half-hour.
func history(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%08X FFFFFFFE ", 1000+n-1-i)
	}
	return b.String()
}

func TestScalesSurvive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "units")
	frame := unhex(t, "1081000102880105FF017201E0040000FE73")
	s := openFormats(t, "", file)
	var m formats.Message
	if err := s.Read("el", "meter", "E1", unhex(t, "1081 0001 028801 05FF01 72 03 E1 01 02 D3 04 00000002 D7 01 06"), 0, &m); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openFormats(t, "", file)
	if err := s.Read("el", "meter", "E1", frame, 0, &m); err != nil || m.Measurements[0].Import != 65139*2*10 {
		t.Errorf("%+v, %v", m, err)
	}
}

// BenchmarkForeign is the EEB's own part for a message of another format.
func BenchmarkForeign(b *testing.B) {
	r := newRig(b, func(o *Options) { o.Formats = openFormats(b, "../../examples/formats", "") }, nil)
	payload := unhex(b, `1081 029F 028801 05FF01 73 02 E1 01 01 EA 0B 07E5 01 12 12 00 00 0000FBD2`)
	b.ReportAllocs()
	for b.Loop() {
		if u := r.e.inspect("up/C1/C07/meter/M000123/el", payload); u.reason != "" {
			b.Fatal(u.detail)
		}
	}
}
