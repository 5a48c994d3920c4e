package echonet

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

func unix(s string) uint32 {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return uint32(t.Unix())
}

func read(t *testing.T, hex string, s *Scale, now uint32) (cim.MeterReading, error) {
	t.Helper()
	f, err := Decode(unhex(t, hex))
	if err != nil {
		t.Fatal(err)
	}
	var r cim.MeterReading
	return r, f.Read(&r, s, now)
}

func TestScale(t *testing.T) {
	for _, tc := range []struct {
		s    Scale
		c    Count
		want uint64
		ok   bool
	}{
		{Scale{Unit: 1}, 65139, 65_139_000, true}, // 6,513.9 kWh
		{Scale{Unit: 4}, 1, 1, true},
		{Scale{Unit: 4, Coefficient: 3}, 7, 21, true},
		{Scale{Unit: 0}, 99_999_999, 999_999_990_000, true},
		{Scale{Unit: 0x0D, Coefficient: 100}, 99_999_999, 999_999_990_000_000_000, true},
		{Scale{Unit: 0x0D, Coefficient: 999_999}, 99_999_999, 0, false},
	} {
		if got, ok := tc.s.Tenths(tc.c); ok != tc.ok || ok && got != tc.want {
			t.Errorf("%+v × %d = %d, %v", tc.s, tc.c, got, ok)
		}
	}
	for _, s := range []string{"1", "0.1", "0.01", "0.001", "0.0001", "10", "100", "1000", "10000"} {
		if u, err := ParseUnit(s); err != nil || u.String() != s {
			t.Errorf("%s: %v, %v", s, u, err)
		}
	}
	if _, err := ParseUnit("0.5"); err == nil {
		t.Error("0.5")
	}
	six := Scale{Digits: 6}
	if n, ok := six.Difference(999_998, 3); !ok || n != 5 {
		t.Error("rollover", n, ok)
	}
	if _, ok := six.Difference(500_000, 3); ok {
		t.Error("half a register is no rollover")
	}
	if _, ok := (Scale{}).Difference(5, 3); ok {
		t.Error("rollover of unknown digits")
	}
}

func TestReadTimed(t *testing.T) {
	s := Scale{Unit: 1, HasUnit: true}
	r, err := read(t, annotated[1].hex, &s, 0)
	want := cim.Measurement{Time: unix("2023-12-19T00:30:00+09:00"), Has: cim.HasImport | cim.HasExport, Interval: 30, Import: 1_780_600, Export: 2_100}
	if err != nil || len(r.Measurements) != 1 || r.Measurements[0] != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
}

func TestReadNow(t *testing.T) {
	// Unit and coefficient in a frame count for the energies in it, wherever they stand.
	var s Scale
	r, err := read(t, `1081 0001 028801 05FF01 72 04 E0 04 00052155 E7 04 FFFFFCB8 D3 04 00000003 E1 01 02`, &s, 0)
	want := cim.Measurement{Has: cim.HasImport | cim.HasPower, Import: 336_213 * 3 * 10, Power: -840}
	if err != nil || len(r.Measurements) != 1 || r.Measurements[0] != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if s != (Scale{Coefficient: 3, Unit: 2, HasUnit: true}) {
		t.Errorf("%+v", s)
	}
	// Sentinels are no values.
	for _, hex := range []string{"1081010302880105FF017201E7047FFFFFFE", "1081010302880105FF017201E7047FFFFFFF", "1081010302880105FF017201E70480000000",
		"1081010502880105FF017201E004FFFFFFFE", "108101040288 0105FF017201E80400647FFE", "1081000005FF010288016202E700E800", "1081010702880105FF015101E50164"} {
		r, err := read(t, hex, &s, 0)
		if err != nil || !r.Empty() {
			t.Errorf("%s: %+v, %v", hex, r, err)
		}
	}
	_, err = read(t, "1081000102880105FF017201E0040000FE73", &Scale{}, 0)
	var e *format.Error
	if !errors.Is(err, format.ErrUnit) || !errors.As(err, &e) || e.Offset != 14 || e.Field != "property E0 (cumulative energy, forward)" {
		t.Errorf("%v", err)
	}
}

func TestReadDay(t *testing.T) {
	var day string
	for _, v := range vectors(t) {
		if len(v.Hex) == 2*208 {
			day = v.Hex
		}
	}
	s := Scale{Unit: 1, HasUnit: true}
	r, err := read(t, day, &s, unix("2026-05-31T23:59:59+09:00"))
	if err != nil || len(r.Blocks) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	b := r.Blocks[0]
	sum := uint32(0)
	for _, v := range b.Values {
		sum += v
	}
	if b.Start != unix("2026-05-20T00:00:00+09:00") || b.Slot != 30 || b.Register != 6_333_400 || len(b.Values) != 47 || b.Values[0] != 200 || sum != 8_000 {
		t.Errorf("%+v, sum %d", b, sum)
	}
	last := cim.Measurement{Time: unix("2026-05-20T23:30:00+09:00"), Has: cim.HasImport, Interval: 30, Import: 6_341_400}
	if len(r.Measurements) != 1 || r.Measurements[0] != last {
		t.Errorf("%+v", r.Measurements)
	}
}

func TestReadSegments(t *testing.T) {
	var s Scale
	r, err := read(t, annotated[5].hex, &s, 0)
	if err != nil || len(r.Blocks) != 1 || len(r.Measurements) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	b := r.Blocks[0]
	if b.Channel != cim.Import || b.Start != unix("2026-07-26T11:30:00+09:00") || b.Register != 0x1000*200 || !slices.Equal(b.Values, []uint32{400, 200}) {
		t.Errorf("%+v", b)
	}
	if m := r.Measurements[0]; m.Time != unix("2026-07-26T12:30:00+09:00") || m.Import != 0x1003*200 || m.Has != cim.HasImport {
		t.Errorf("%+v", m)
	}
	// Tenths that are cut off one register are not lost to the next: 409.6 Wh and 409.9 Wh, three tenths between them.
	s = Scale{}
	r, err = read(t, annotated[6].hex, &s, 0)
	if err != nil || len(r.Blocks) != 2 || r.Blocks[0].Slot != 1 || !slices.Equal(r.Blocks[0].Values, []uint32{0}) {
		t.Errorf("%+v, %v", r, err)
	}
	// Segments in the other order.
	_, err = read(t, `1081 0102 028801 05FF01 72 01 EC 17 07EA 07 1A 0C 1E 02 00001000 FFFFFFFE 00001003 FFFFFFFE`, &s, 0)
	var e *format.Error
	if !errors.As(err, &e) || e.Offset != 21 {
		t.Errorf("%v", err)
	}
}

func TestRolloverInHistory(t *testing.T) {
	s := Scale{Unit: 1, HasUnit: true, Digits: 6}
	r, err := read(t, `1081 0102 028801 05FF01 72 01 EC 17 07EA 07 1A 0C 1E 02 00000002 FFFFFFFE 000F423D FFFFFFFE`, &s, 0)
	if err != nil || len(r.Blocks) != 1 || !slices.Equal(r.Blocks[0].Values, []uint32{500}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(unhex(f, v.Hex))
	}
	for _, tc := range annotated {
		f.Add(unhex(f, tc.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := Decode(b)
		if err != nil {
			if format.Reason(err) == "other" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		again, err := frame.Append(nil)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
		var r cim.MeterReading
		s := Scale{Unit: 1, HasUnit: true, Digits: 8}
		if err := frame.Read(&r, &s, 1<<31); err != nil {
			if format.Reason(err) == "other" {
				t.Fatalf("%v has no reason", err)
			}
		}
		for _, p := range frame.Properties {
			v, err := p.Value()
			if err != nil || v == nil {
				continue
			}
			q, err := NewProperty(p.EPC, v)
			if err != nil {
				t.Fatalf("%02X %x: %v", p.EPC, p.EDT, err)
			}
			if p.EPC != 0x9D && p.EPC != 0x9E && p.EPC != 0x9F && string(q.EDT) != string(p.EDT) { // maps are put in order
				t.Fatalf("%02X %x became %x", p.EPC, p.EDT, q.EDT)
			}
		}
		for _, b := range r.Blocks {
			if b.Slot == 0 || len(b.Values) == 0 {
				t.Fatalf("%+v", b)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	frame := unhex(b, annotated[1].hex)
	var f Frame
	var r cim.MeterReading
	s := Scale{Unit: 1, HasUnit: true}
	b.ReportAllocs()
	for b.Loop() {
		r.Reset()
		if err := f.Decode(frame); err != nil {
			b.Fatal(err)
		}
		if err := f.Read(&r, &s, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	f, err := Decode(unhex(b, annotated[1].hex))
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = f.Append(dst[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
