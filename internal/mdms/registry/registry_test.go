package registry

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
)

func point1(from uint32, feeder string) *cim.UsagePoint {
	return &cim.UsagePoint{MRID: "UP1", From: from, TimeZone: "Europe/Zurich", Feeder: feeder, Factor: cim.FactorOne, Fuse: 250, Phases: 15, Tags: []string{"a", "b"}}
}

func TestBitemporal(t *testing.T) {
	r := New()
	r.Add(Change{Recorded: 1000, By: "anna", UsagePoint: point1(0, "F1")}, Change{Recorded: 2000, UsagePoint: point1(500, "F2")},
		Change{Recorded: 3000, UsagePoint: point1(500, "F3")}, Change{Recorded: 4000, UsagePoint: point1(100, "F0")})
	for _, tc := range []struct {
		at, known uint32
		want      string
	}{
		{50, Now, "F1"}, {100, Now, "F0"}, {499, Now, "F0"}, {500, Now, "F3"}, {9999, Now, "F3"},
		{100, 3999, "F1"}, {500, 2999, "F2"}, {500, 1999, "F1"}, {500, 999, ""},
	} {
		if u, _ := r.UsagePoint("UP1", tc.at, tc.known); u.Feeder != tc.want {
			t.Errorf("at %d as known at %d: feeder %q, want %q", tc.at, tc.known, u.Feeder, tc.want)
		}
	}
	if v := r.Versions("UP1", Now); len(v) != 3 || v[2].Feeder != "F3" || !reflect.DeepEqual(v[0].Tags, []string{"a", "b"}) {
		t.Errorf("versions %+v", v)
	}
	if h := r.History("UP1"); len(h) != 4 || h[0].By != "anna" || h[3].UsagePoint.Feeder != "F0" {
		t.Errorf("history %+v", h)
	}
}

func TestExchange(t *testing.T) {
	r := New()
	r.Add(Change{Recorded: 1, UsagePoint: point1(0, "F1")},
		Change{Recorded: 1, Installation: &cim.MeterInstallation{Meter: "M1", UsagePoint: "UP1", Start: 100}},
		Change{Recorded: 900, Installation: &cim.MeterInstallation{Meter: "M1", UsagePoint: "UP1", Start: 100, End: 800, Last: cim.RegisterPair{Import: 77, HasImport: true}}},
		Change{Recorded: 900, Installation: &cim.MeterInstallation{Meter: "M2", UsagePoint: "UP1", Start: 800, First: cim.RegisterPair{Import: 3, HasImport: true}}})
	chain := r.Chain("UP1", Now)
	if len(chain) != 2 || chain[0].End != 800 || chain[0].Last.Import != 77 || chain[1].Meter != "M2" {
		t.Fatalf("chain %+v", chain)
	}
	if c := r.Chain("UP1", 899); len(c) != 1 || c[0].End != 0 {
		t.Errorf("as known before: %+v", c)
	}
	for _, tc := range []struct {
		meter     string
		at, known uint32
		want      bool
	}{{"M1", 99, Now, false}, {"M1", 100, Now, true}, {"M1", 799, Now, true}, {"M1", 800, Now, false}, {"M1", 800, 899, true}, {"M2", 800, Now, true}, {"M3", 1, Now, false}} {
		if u, _, ok := r.Place(tc.meter, tc.at, tc.known); ok != tc.want || ok && u.Feeder != "F1" {
			t.Errorf("%+v: %v %+v", tc, ok, u)
		}
	}
	// Taken back: the meter never was there.
	r.Add(Change{Recorded: 1000, Installation: &cim.MeterInstallation{Meter: "M2", UsagePoint: "UP1", Start: 800, End: 800}})
	if c := r.Chain("UP1", Now); len(c) != 1 {
		t.Errorf("taken back: %+v", c)
	}
}

func TestRecords(t *testing.T) {
	want := []Change{
		{Recorded: 7, By: "anna", UsagePoint: &cim.UsagePoint{MRID: "U", From: 1<<32 - 1, TimeZone: "UTC", Substation: "s", Feeder: "f", Lateral: "l", Transformer: "t",
			Phases: 15, Fuse: 65535, Factor: 1<<32 - 1, Tariff: "x", Customer: "c", Tags: []string{"p", "q"}, PV: true, Protected: true, Contract: 2}},
		{Recorded: 8, Meter: &cim.MeterAsset{MRID: "M", From: 3, Serial: "s", Manufacturer: "m", Model: "o", Firmware: "f", Dials: 12, KeyVersion: 65535, Stage: cim.StageRetired}},
		{Recorded: 9, Installation: &cim.MeterInstallation{Meter: "M", UsagePoint: "U", Start: 1, End: 2, Reason: "r",
			First: cim.RegisterPair{Import: 1 << 60, HasImport: true}, Last: cim.RegisterPair{Export: 5, HasExport: true}}},
	}
	part := AppendPart(nil, want...)
	var got []Change
	if err := ReadPart(part, func(c *Change) { got = append(got, *c) }); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
	}
	for i := range part {
		n := 0
		err := ReadPart(part[:i], func(*Change) { n++ })
		if err == nil && i > 1 && n == 3 {
			t.Errorf("cut at %d of %d: no error", i, len(part))
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(AppendPart(nil, Change{Recorded: 7, UsagePoint: point1(3, "F")}, Change{Meter: &cim.MeterAsset{MRID: "M"}}, Change{Installation: &cim.MeterInstallation{Meter: "M", UsagePoint: "U"}}))
	f.Add([]byte{1, 3, 1, 0, 1, 'M', 1, 'U', 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := New()
		var all []Change
		if ReadPart(b, func(c *Change) { all = append(all, *c); r.Add(*c) }) != nil {
			return
		}
		again := 0
		if err := ReadPart(AppendPart(nil, all...), func(c *Change) {
			if !reflect.DeepEqual(*c, all[again]) {
				t.Fatalf("%+v became %+v", all[again], *c)
			}
			again++
		}); err != nil || again != len(all) {
			t.Fatal(err, again, len(all))
		}
	})
}

// sample writes a file of n usage points with a meter each.
func sample(n int) string {
	var b strings.Builder
	b.WriteString("usage_point,time_zone,substation,feeder,transformer,phases,fuse_a,tariff,pv,customer,meter,serial,manufacturer,model,dials,installed,install_import_wh\n")
	for i := range n {
		fmt.Fprintf(&b, "UP%08d,Europe/Zurich,S%d,F%d,T%d,ABCN,25,H0,no,CU-%09d,M%07d,SN%010d,ACME,X1,6,2024-01-01T00:00:00Z,%d\n", i, i/100_000, i/5000, i/50, i*7, i, i*13, i*1000)
	}
	return b.String()
}

// many is how many usage points the tests of size take: a million with WATTBUS_HEAVY.
func many() int {
	if os.Getenv("WATTBUS_HEAVY") != "" {
		return 1_000_000
	}
	return 50_000
}

// TestBytes measures what a usage point with its meter and installation takes.
func TestBytes(t *testing.T) {
	n := many()
	file := sample(n)
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	r := New()
	begin := time.Now()
	im := NewImport(r, Options{Now: 1 << 30})
	if err := im.Read(t.Context(), strings.NewReader(file)); err != nil || im.Summary().Wrong > 0 {
		t.Fatal(err, im.Problems())
	}
	parts, err := im.Parts(1<<30, "anna")
	if err != nil {
		t.Fatal(err)
	}
	read := time.Since(begin)
	im, file = nil, ""
	before := heap()
	begin = time.Now()
	size := 0
	for _, p := range parts {
		size += len(p)
		if err := r.Load(p); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(begin)
	per := float64(heap()-before) / float64(n)
	t.Logf("%d usage points: %.0f bytes each in RAM, %.0f in the store; checked in %v, loaded in %v", n, per, float64(size)/float64(n), read, took)
	if per > 400 {
		t.Errorf("%.0f bytes a usage point, want at most 400", per)
	}
	runtime.KeepAlive(parts)
	runtime.KeepAlive(r)
}

// Meters that were installed are gone through in parts, each once, and those in stock are left out.
func TestEachInstalled(t *testing.T) {
	r := New()
	for i := range 10 {
		id := "M" + strconv.Itoa(i)
		r.Add(Change{Recorded: 1, Meter: &cim.MeterAsset{MRID: id}})
		if i != 3 {
			r.Add(Change{Recorded: 1, Installation: &cim.MeterInstallation{Meter: id, UsagePoint: "UP" + strconv.Itoa(i), Start: 5}})
		}
	}
	for _, n := range []uint32{1, 3, 5, 10, 99} {
		var got []string
		parts := uint32(0)
		for at := uint32(1); at != 0; parts++ {
			at = r.EachInstalled(at, n, func(id string) { got = append(got, id) })
		}
		if want := "M0 M1 M2 M4 M5 M6 M7 M8 M9"; strings.Join(got, " ") != want || parts != (10+n-1)/n {
			t.Errorf("%d at a time: %v in %d parts", n, got, parts)
		}
	}
	if next := New().EachInstalled(1, 5, func(string) { t.Error("there is none") }); next != 0 {
		t.Errorf("behind the end: %d", next)
	}
}
