package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

const now = 1_700_000_000

// load imports a file into r as of the time, and fails on anything wrong.
func load(t testing.TB, r *Registry, at uint32, file string) Summary {
	t.Helper()
	im := NewImport(r, Options{Now: at})
	if err := im.Read(t.Context(), strings.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	for _, p := range im.Problems() {
		t.Fatal(p)
	}
	parts, err := im.Parts(at, "anna")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if err := r.Load(p); err != nil {
			t.Fatal(err)
		}
	}
	return im.Summary()
}

func export(t testing.TB, r *Registry, known uint32) string {
	t.Helper()
	var b bytes.Buffer
	after, first := "", true
	for {
		next, err := r.Export(&b, after, 3, known, first)
		if err != nil {
			t.Fatal(err)
		}
		if after, first = next, false; next == "" {
			return b.String()
		}
	}
}

const twoPoints = "\xef\xbb\xbf" + `usage_point,valid_from,time_zone,feeder,transformer,phases,fuse_a,factor,tags,customer,meter,serial,dials,installed,install_import_wh,removed,remove_import_wh` + "\r\n" +
	`UP1,2020-01-01T00:00:00Z,Europe/Zurich,F1,T1,ABCN,25.5,40,b;a,"Meier, ""Hans""",M1,S1,6,2020-01-01T00:00:00Z,5,2021-01-01T00:00:00+01:00,900` + "\r\n" +
	`UP1,2021-01-01T00:00:00Z,Europe/Zurich,F2,T1,ABCN,25.5,40,b;a,C,M2,S2,,2020-12-31T23:00:00Z,0,,` + "\r\n" +
	`UP2,,,F1,T2,,,,,,,,,,,,` + "\r\n" +
	`,,,,,,,,,,M3,S3,,,,,` + "\r\n"

func TestImport(t *testing.T) {
	r := New()
	s := load(t, r, now, twoPoints)
	if s.Lines != 4 || s.UsagePoints != (Tally{2, 1, 0}) || s.Meters != (Tally{3, 0, 0}) || s.Installations != (Tally{2, 0, 0}) {
		t.Errorf("summary %+v", s)
	}
	u, ok := r.UsagePoint("UP1", now, Now)
	if !ok || u.Feeder != "F2" || u.Factor != 40_000 || u.Fuse != 255 || strings.Join(u.Tags, " ") != "a b" {
		t.Errorf("%+v", u)
	}
	if u, _, ok := r.Place("M2", now, Now); !ok || u.MRID != "UP1" {
		t.Errorf("M2 is at %+v", u)
	}
	// Again: nothing new.
	if s := load(t, r, now+50, twoPoints); s.Changes() != 0 {
		t.Errorf("the second time: %+v", s)
	}
	// A change from now on, of one column; the rest stays.
	if s := load(t, r, now+100, "usage_point,tariff\nUP1,T9\nUP2,\n"); s.UsagePoints != (Tally{0, 1, 1}) {
		t.Errorf("a change: %+v", s)
	}
	if u, _ := r.UsagePoint("UP1", now+99, Now); u.Tariff != "" {
		t.Errorf("it holds too early: %+v", u)
	}
	if u, _ := r.UsagePoint("UP1", now+100, Now); u.Tariff != "T9" || u.Feeder != "F2" {
		t.Errorf("%+v", u)
	}
	if got := export(t, r, now+99); strings.Contains(got, "T9") {
		t.Errorf("as known before:\n%s", got)
	}
}

func TestRoundTrip(t *testing.T) {
	r := New()
	load(t, r, now, twoPoints)
	load(t, r, now+100, "usage_point,tariff\nUP1,T9\n")
	load(t, r, now+200, "meter,firmware\nM2,1.2\nM9,3\n")
	load(t, r, now+300, "usage_point,meter,installed\nUP2,M9,2024-01-01T00:00:00Z\n")
	load(t, r, now+400, "usage_point,meter,installed,removed,reason\nUP2,M9,2024-01-01T00:00:00Z,2024-02-01T00:00:00Z,broken\nUP2,M7,2024-02-01T00:00:00Z,,\n")
	want := export(t, r, Now)
	again := New()
	load(t, again, now+500, want)
	if got := export(t, again, Now); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	if s := load(t, r, now+600, want); s.Changes() != 0 {
		t.Errorf("its own export changes it: %+v", s)
	}
}

func problems(t testing.TB, r *Registry, file string) string {
	t.Helper()
	im := NewImport(r, Options{Now: now, Last: func(m string, _ uint32) Reading {
		if m == "M2" {
			return Reading{Time: now - 100, Import: 5000}
		}
		return Reading{}
	}})
	if err := im.Read(t.Context(), strings.NewReader(file)); err != nil {
		return err.Error()
	}
	if parts, err := im.Parts(now, ""); len(parts) > 0 || err != nil {
		if im.Summary().Wrong > 0 {
			t.Error("something would be applied")
		}
	}
	var s []string
	for _, p := range im.Problems() {
		s = append(s, p.String())
	}
	return strings.Join(s, "\n")
}

func TestWrongLines(t *testing.T) {
	r := New()
	load(t, r, now-1000, twoPoints)
	for _, tc := range []struct{ name, file, want string }{
		{"empty", "", "the file is empty"},
		{"semicolons", "usage_point;feeder\n", "parted by ';'"},
		{"utf16", "\xff\xfeu\x00s\x00a\x00g\x00e\x00\n", "line 1: it is no text in UTF-8"},
		{"spreadsheet", "PK\x03\x04\x14\x00\x06\x00\t\n", "line 1: it is no text in UTF-8"},
		{"unknown column", "usage_point,colour\n", `column 2: "colour" is no column`},
		{"twice", "usage_point,feeder,feeder\n", "stands there twice"},
		{"no key", "feeder\nF1\n", "neither a column usage_point nor meter"},
		{"fields", "usage_point,feeder\nUP9\nUP8,F,G\n", "line 2: it has 1 fields, the header has 2\nline 3: it has 3"},
		{"quote", "usage_point,feeder\nUP9,a\"b\nUP8,F\n", `line 2: there is a "`},
		{"open quote", "usage_point,feeder\nUP9,\"" + strings.Repeat("x\n", 100_000), "is there a quote that is not closed?"},
		{"id", "usage_point\nUP 9\n", `line 2, usage_point "UP 9": want 1 to 64`},
		{"no names", "usage_point,meter\n,\n", "names neither"},
		{"zone", "usage_point,time_zone\nUP9,Europe/Atlantis\n", `line 2, time_zone "Europe/Atlantis": no such time zone`},
		{"number", "usage_point,fuse_a,factor\nUP9,25.55,0\n", `line 2, fuse_a "25.55": want a number`},
		{"two in a line", "usage_point,fuse_a,factor\nUP9,25.55,0\n", `line 2, factor "0": want a number from 0.001`},
		{"with the key", "usage_point,fuse_a,factor\nUP 9,25.55,0\nUP9,1,x\n", "line 2, usage_point \"UP 9\": want 1 to 64 letters, digits and signs such as - _ . : /\nline 2, fuse_a \"25.55\": want"},
		{"lines behind", "usage_point,fuse_a,factor\nUP 9,25.55,0\nUP9,1,x\n", `line 3, factor "x"`},
		{"contract", "usage_point,contract\nUP9,gone\n", "want active, vacant or disconnected"},
		{"time", "usage_point,valid_from,feeder\nUP9,2024-01-01,F\n", "RFC 3339"},
		{"control", "usage_point,feeder\nUP9,a\x01\n", "control character"},
		{"utf8", "usage_point,feeder\nUP9,a\xff\n", "no UTF-8"},
		{"same twice", "usage_point,feeder\nUP9,F1\nUP9,F2\n", `line 3, usage_point "UP9": line 2 tells something else`},
		{"no time of installation", "usage_point,feeder,meter\nUP9,F,M9\n", "line 2, installed: is empty"},
		{"not described", "usage_point,meter,installed\nUP9,M9,2024-01-01T00:00:00Z\n", `line 2, usage_point "UP9": is not known`},
		{"removed before", "usage_point,meter,installed,removed\nUP2,M9,2024-01-01T00:00:00Z,2023-01-01T00:00:00Z\n", "is before the meter was installed"},
		{"final below first", "usage_point,meter,installed,install_import_wh,removed,remove_import_wh\nUP2,M9,2024-01-01T00:00:00Z,10,2024-02-01T00:00:00Z,9\n", "is below the first register, 10"},
		{"first beyond the dials", "usage_point,meter,dials,installed,install_import_wh\nUP2,M9,5,2024-01-01T00:00:00Z,100000000\n", `line 2, install_import_wh "100000000": is more than the meter's 5 dials can show, 99999999`},
		{"final beyond the dials", "usage_point,meter,dials,installed,removed,remove_export_wh\nUP2,M9,5,2024-01-01T00:00:00Z,2024-02-01T00:00:00Z,100000000\n", `line 2, remove_export_wh "100000000": is more than`},
		{"dials that contradict", "usage_point,meter,installed,removed,install_import_wh,remove_import_wh,dials\nUP2,M9,2024-01-01T00:00:00Z,2024-02-01T00:00:00Z,999990,10,3\n,M9,,,,,4\n", `line 3, meter "M9"`},
		{"dials that contradict an earlier line", "usage_point,meter,installed,install_import_wh,dials\nUP2,M9,2024-01-01T00:00:00Z,100000000,\n,M9,,,5\n",
			`line 3, dials "5": contradicts the installation at usage point UP2 since 2024-01-01T00:00:00Z, of which install_import_wh 100000000 is more than`},
		{"final below last reading", "usage_point,meter,installed,removed,remove_import_wh\nUP1,M2,2020-12-31T23:00:00Z,2024-02-01T00:00:00Z,4999\n", "below the 5000 Wh that meter M2 told"},
		{"final too high", "usage_point,meter,installed,install_import_wh,removed,remove_import_wh\nUP2,M9,2024-01-01T00:00:00Z,10,2024-01-01T01:00:00Z,10166677\n",
			`line 2, remove_import_wh "10166677": is too far above the first register, 10 at 2024-01-01T00:00:00Z: at most 10166666 Wh can have passed until 2024-01-01T01:00:00Z`},
		{"final export too high", "usage_point,meter,installed,install_export_wh,removed,remove_export_wh\nUP2,M9,2024-01-01T00:00:00Z,10,2024-01-01T01:00:00Z,10166677\n",
			`line 2, remove_export_wh "10166677": is too far above`},
		{"final far above last reading", "usage_point,meter,installed,removed,remove_import_wh\nUP1,M2,2020-12-31T23:00:00Z,2023-11-14T22:13:20Z,1000000\n",
			`line 2, remove_import_wh "1000000": is too far above what meter M2 told, 5000 at 2023-11-14T22:11:40Z: at most 444443 Wh can have passed until 2023-11-14T22:13:20Z`},
		{"no register at all", "usage_point,meter,installed,install_import_wh\nUP2,M9,2024-01-01T00:00:00Z,9007199254740992\n", "at most 9007199254740991 Wh"},
		{"no removal", "usage_point,meter,installed,remove_import_wh\nUP2,M9,2024-01-01T00:00:00Z,9\n", "fill in removed"},
		{"two meters", "usage_point,meter,installed\nUP1,M9,2024-01-01T00:00:00Z\n", "line 2, installed \"2024-01-01T00:00:00Z\": usage point UP1 has meter M2"},
		{"two places", "usage_point,meter,installed\nUP2,M2,2024-01-01T00:00:00Z\n", "it cannot be at two places"},
		{"retired in use", "meter,stage\nM2,retired\n", "remove it first"},
		{"register", "usage_point,meter,installed,install_import_wh\nUP2,M9,2024-01-01T00:00:00Z,1e3\n", "whole Wh"},
	} {
		before := export(t, r, Now)
		if got := problems(t, r, tc.file); !strings.Contains(got, tc.want) {
			t.Errorf("%s:\n got %.500s\nwant %s", tc.name, got, tc.want)
		}
		if export(t, r, Now) != before {
			t.Errorf("%s: the registry was changed", tc.name)
		}
	}
	// One that rolled over since it told its last reading.
	over := "usage_point,valid_from,meter,dials,installed,removed,remove_import_wh\nUP1,2020-12-31T23:00:00Z,M2,1,2020-12-31T23:00:00Z,2024-02-01T00:00:00Z,0\n"
	if got := problems(t, r, over); got != "" {
		t.Error(got)
	}
	if got := problems(t, r, strings.Replace(over, "Z,0\n", "Z,4000\n", 1)); !strings.Contains(got, "below the 5000 Wh that meter M2 told") {
		t.Error(got)
	}
	// The right way of an exchange, in one file, whatever the order of its lines.
	file := "usage_point,meter,installed,removed,remove_import_wh\nUP1,M9,2024-02-01T00:00:00Z,,\nUP1,M2,2020-12-31T23:00:00Z,2024-02-01T00:00:00Z,5000\n"
	if got := problems(t, r, file); got != "" {
		t.Error(got)
	}
}

func TestChangedMeanwhile(t *testing.T) {
	r := New()
	im := NewImport(r, Options{Now: now})
	if err := im.Read(t.Context(), strings.NewReader("usage_point,feeder\nU,F\n")); err != nil {
		t.Fatal(err)
	}
	r.Add(Change{Recorded: 1, Meter: &cim.MeterAsset{MRID: "M"}})
	if _, err := im.Parts(now, ""); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
}

func TestReaderFails(t *testing.T) {
	broken := errors.New("broken")
	im := NewImport(New(), Options{Now: now})
	if err := im.Read(t.Context(), io.MultiReader(strings.NewReader("usage_point\nU1\n"), iotestErr{broken})); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type iotestErr struct{ err error }

func (e iotestErr) Read([]byte) (int, error) { return 0, e.err }

// FuzzImport: no file breaks an import, and what one accepts comes back from its export as the same registry.
func FuzzImport(f *testing.F) {
	f.Add(twoPoints)
	f.Add("usage_point,feeder\nU,\"a\nb\"\n")
	f.Add("meter,stage\nM,retired\n")
	f.Add("usage_point,factor,meter,installed,removed\nU,3,M,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z\n")
	f.Add("usage_point,valid_from,meter,installed,removed\nU,,M,2024-01-01T00:00:00Z,2024-01-02T00:00:00Z\nU,,M,2024-01-03T00:00:00Z,\n")
	f.Fuzz(func(t *testing.T, file string) {
		im := NewImport(New(), Options{Now: now})
		if im.Read(t.Context(), strings.NewReader(file)) != nil || im.Summary().Wrong > 0 {
			return
		}
		r := New()
		load(t, r, now, file)
		want := export(t, r, Now)
		again := New()
		load(t, again, now, want)
		if got := export(t, again, Now); got != want {
			t.Fatalf("%q\ngot\n%s\nwant\n%s", file, got, want)
		}
	})
}

// TestExportInParts: no part of an export holds all meters, nor many bytes, and together they are the whole.
func TestExportInParts(t *testing.T) {
	r := New()
	var file strings.Builder
	file.WriteString("usage_point,valid_from,feeder,tags,meter,installed,serial\n")
	tags := strings.Repeat("x", 64) + ";" + strings.Repeat("y", 64)
	for i := range 500 {
		fmt.Fprintf(&file, "UP%03d,,F1,,M%03d,2024-01-01T00:00:00Z,\n,,,,S%03d,,in stock %d\n", i, i, i, i)
	}
	for i := range 5000 {
		fmt.Fprintf(&file, "UPX%d,,F%d,%s,,,\n", i, i, tags)
	}
	load(t, r, now, file.String())
	var whole, parts strings.Builder
	for _, tc := range []struct {
		limit, parts int
		out          *strings.Builder
	}{{1 << 30, 3, &whole}, {100, 65, &parts}} { // of M000 and its like there is no line of their own, but they are gone through
		n, after := 0, ""
		for next := "more"; next != ""; n++ {
			var b bytes.Buffer
			var err error
			if next, err = r.Export(&b, after, tc.limit, Now, n == 0); err != nil || b.Len() > exportBytes+8<<10 || bytes.Count(b.Bytes(), []byte("\n")) > tc.limit+1 {
				t.Fatalf("part %d of %d: %d bytes, %v", n, tc.limit, b.Len(), err)
			}
			tc.out.Write(b.Bytes())
			after = next
		}
		if n != tc.parts {
			t.Errorf("%d parts, want %d", n, tc.parts)
		}
	}
	if whole.String() != parts.String() {
		t.Error("small parts are something else than large ones")
	}
	if n := strings.Count(whole.String(), "\n"); n != 1+500+500+5000 {
		t.Errorf("%d lines", n)
	}
	again := New()
	load(t, again, now, whole.String())
	if got := export(t, again, Now); got != whole.String() {
		t.Error("read again it is another one")
	}
}
