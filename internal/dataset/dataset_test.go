package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wattbus/wattbus/data"
	"github.com/wattbus/wattbus/internal/topic"
)

const t0 = 1540767600 // 2018-10-29T00:00+01:00

func load(t testing.TB) *Dataset {
	t.Helper()
	d, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLoad(t *testing.T) {
	d := load(t)
	if d.Len() != 494 || d.Days() != 49 || d.Start() != t0 || T0.Unix() != t0 {
		t.Fatalf("%d households, %d days from %d", d.Len(), d.Days(), d.Start())
	}
	if got := time.Unix(d.Start(), 0).UTC().Format(time.RFC3339); got != "2018-10-28T23:00:00Z" {
		t.Errorf("start %s", got)
	}
	h := d.Household(0)
	if h.ID() != "M1000317" || h.Number() != 1000317 {
		t.Errorf("first household is %s, %d", h.ID(), h.Number())
	}
	for i, want := range []uint32{1053, 1065, 742, 1166, 651} {
		if got := h.Wh(t0 + int64(i)*Slot); got != want {
			t.Errorf("slot %d: %d Wh, want %d", i, got, want)
		}
	}
	seen := map[string]bool{}
	for i := range d.Len() {
		id := d.Household(i).ID()
		if err := topic.CheckID(id); err != nil || seen[id] {
			t.Errorf("household %d has id %s: %v, seen %v", i, id, err, seen[id])
		}
		seen[id] = true
	}
	if got, ok := d.ByID("M1000317"); !ok || got != h || d.Household(494) != h || d.Household(-494) != h {
		t.Error("ByID or wrapping round does not find the first household")
	}
	if again := d.For("M1"); d.For("M1000317") != h || d.For("M1") != again || again == d.For("M2") {
		t.Error("For does not give each id its household")
	}
	if _, ok := d.ByID("M1"); ok {
		t.Error("found a household that is not there")
	}
}

// Every value of the file, read by another reader, is what the curve says; tiles repeat it.
func TestEveryValue(t *testing.T) {
	d := load(t)
	f, err := data.Households().Open(data.SwissHouseholds)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const period = 49 * 86400
	values := 0
	for i, row := range rows[1:] {
		h := d.Household(i / 49)
		date, err := time.ParseInLocation(time.DateOnly, row[1], time.FixedZone("CET", Zone))
		if err != nil || row[0] != strconv.Itoa(int(h.Number())) {
			t.Fatalf("row %d: %v %v", i, row[:2], err)
		}
		for s, cell := range row[2:] {
			at := date.Unix() + int64(s)*Slot
			want, _ := strconv.ParseUint(cell, 10, 32)
			tiles := []int64{0}
			if values%10 == 0 {
				tiles = []int64{0, 1, -3, 200}
			}
			for _, tile := range tiles {
				if got := h.Wh(at + tile*period); uint64(got) != want {
					t.Fatalf("%s at %d, tile %d: %d Wh, want %d", h.ID(), at, tile, got, want)
				}
			}
			values++
		}
	}
	if values != 1_161_888 {
		t.Errorf("%d values", values)
	}
}

func TestRegister(t *testing.T) {
	d := load(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		h := d.Household(r.IntN(d.Len()))
		if n := r.IntN(30); n > 0 {
			c, err := h.Copy(n)
			if err != nil {
				t.Fatal(err)
			}
			h = c
		}
		hour := t0 + r.Int64N(400*24)*3600 - 100*86400
		want := h.Register(hour+3600) - h.Register(hour)
		if want != uint64(h.Wh(hour))+uint64(h.Wh(hour+Slot)) {
			t.Fatalf("%s: the hour at %d is %d Wh, its halves differ", h.ID(), hour, want)
		}
		for _, minutes := range []int64{1, 5, 15, 30} { // shorter intervals add up exactly
			sum := uint64(0)
			for at := hour; at < hour+3600; at += minutes * 60 {
				sum += h.Energy(at, at+minutes*60)
			}
			if sum != want {
				t.Fatalf("%s at %d: %d-minute intervals add up to %d, want %d", h.ID(), hour, minutes, sum, want)
			}
		}
		at := t0 + r.Int64N(1000*86400) // the register never falls
		if a, b := h.Register(at), h.Register(at+1+r.Int64N(5000)); b < a {
			t.Fatalf("%s: register falls from %d to %d after %d", h.ID(), a, b, at)
		}
	}
	h := d.Household(0)
	if h.Energy(t0, t0+900) != 526 || h.Energy(t0+900, t0+1800) != 527 || h.Energy(t0+900, t0) != 0 {
		t.Errorf("quarters of the first slot: %d, %d", h.Energy(t0, t0+900), h.Energy(t0+900, t0+1800))
	}
}

func TestBeforeInstallation(t *testing.T) {
	h := load(t).Household(3)
	first := h.start - h.tiles*49*86400
	if h.Register(first) != 0 || h.Register(first-1) != 0 || h.Register(0) != 0 || h.Register(-1<<40) != 0 || h.Wh(first-1) != 0 {
		t.Error("a register runs before its meter is installed")
	}
	if h.Register(first+Slot) != uint64(h.Wh(first)) || h.Register(t0) == 0 {
		t.Error("the register does not start at the installation")
	}
}

func TestCopy(t *testing.T) {
	h := load(t).Household(0)
	c, err := h.Copy(9)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID() != "M1000317-9" || c.Number() != h.Number() || c.Wh(t0) != h.Wh(t0+2*7*86400+Slot) {
		t.Errorf("copy 9 is %s, %d Wh in the first slot", c.ID(), c.Wh(t0))
	}
	if same, err := h.Copy(0); err != nil || same != h {
		t.Error("copy 0 is not the original")
	}
	for _, n := range []int{-1, 1 << 40} {
		if _, err := h.Copy(n); err == nil {
			t.Errorf("copy %d is accepted", n)
		}
	}
}

func TestSample(t *testing.T) {
	all := load(t)
	d, err := LoadSample()
	if err != nil {
		t.Fatal(err)
	}
	if d.Len() != 24 || d.Days() != 7 || d.Start() != t0 || d.Name() != data.SwissSample {
		t.Fatalf("%s: %d households, %d days from %d", d.Name(), d.Len(), d.Days(), d.Start())
	}
	for i := range d.Len() {
		h := d.Household(i)
		full, ok := all.ByID(h.ID())
		if !ok {
			t.Fatalf("%s is not in the full set", h.ID())
		}
		for s := range int64(7 * 48) {
			if h.Wh(t0+s*Slot) != full.Wh(t0+s*Slot) {
				t.Fatalf("%s differs in slot %d", h.ID(), s)
			}
		}
	}
}

func TestBadFiles(t *testing.T) {
	good := func() []string {
		lines := []string{"meter,date"}
		for s := range SlotsPerDay {
			lines[0] += ",h" + time.Unix(int64(s)*Slot, 0).UTC().Format("1504")
		}
		for m := range 2 {
			for day := range 7 {
				lines = append(lines, strconv.Itoa(10+m)+",2018-10-"+strconv.Itoa(10+day)+strings.Repeat(",7", SlotsPerDay))
			}
		}
		return lines
	}
	for _, c := range []struct {
		name string
		edit func([]string) []string
		want string
	}{
		{"empty", func(l []string) []string { return nil }, `line 1, column 1: column is named "", want "meter"`},
		{"header only", func(l []string) []string { return l[:1] }, "no household"},
		{"column name", func(l []string) []string { l[0] = strings.Replace(l[0], "h0100", "h0101", 1); return l }, `line 1, column 5: column is named "h0101", want "h0100"`},
		{"meter", func(l []string) []string { l[3] = "x" + l[3]; return l }, `line 4, column 1: meter "x10"`},
		{"date", func(l []string) []string { l[3] = strings.Replace(l[3], "-10-", "-13-", 1); return l }, "line 4, column 2: date"},
		{"missing day", func(l []string) []string { return append(l[:3], l[4:]...) }, "line 4, column 2: day 2018-10-13, want 2018-10-12"},
		{"empty cell", func(l []string) []string { l[9] = strings.Replace(l[9], ",7,", ",,", 1); return l }, `line 10, column 3: value ""`},
		{"negative", func(l []string) []string { l[9] = strings.Replace(l[9], ",7,", ",-7,", 1); return l }, `line 10, column 3: value "-7"`},
		{"large", func(l []string) []string { l[9] = strings.Replace(l[9], ",7,", ",12345678,", 1); return l }, "line 10, column 3: value"},
		{"short line", func(l []string) []string { l[2] = l[2][:len(l[2])-2]; return l }, "line 3, column 49: want 50 columns"},
		{"long line", func(l []string) []string { l[2] += ",7"; return l }, "line 3, column 50: want 50 columns"},
		{"cut off", func(l []string) []string { l[14] = "11"; return l }, "line 15, column 1: the line ends here"},
		{"cut off at date", func(l []string) []string { l[14] = "11,2018-10-16"; return l }, "line 15, column 2: the line ends here"},
		{"fewer days", func(l []string) []string { return l[:14] }, "meter 11 has 6 days, the first one has 7"},
		{"not weeks", func(l []string) []string { return l[:6] }, "5 days a meter, want whole weeks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(fstest.MapFS{"x.csv": {Data: []byte(strings.Join(c.edit(good()), "\n"))}}, "x.csv")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x.csv") {
				t.Errorf("error is %v\nwant %s", err, c.want)
			}
		})
	}
	if d, err := Read(fstest.MapFS{"x.csv": {Data: []byte(strings.Join(good(), "\r\n") + "\r\n")}}, "x.csv"); err != nil || d.Len() != 2 {
		t.Errorf("the good file: %v", err)
	}
	if _, err := Read(fstest.MapFS{}, "none.csv"); err == nil {
		t.Error("a missing file is no error")
	}
	if _, err := Read(fstest.MapFS{"x.gz": {Data: []byte("meter")}}, "x.gz"); err == nil || !strings.Contains(err.Error(), "x.gz is not gzip") {
		t.Errorf("no gzip: %v", err)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte(strings.Join(good(), "\n")))
	_ = w.Close()
	if _, err := Read(fstest.MapFS{"x.gz": {Data: z.Bytes()[:z.Len()/2]}}, "x.gz"); err == nil || !strings.Contains(err.Error(), "reading x.gz") {
		t.Errorf("half a gzip: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("meter,date,h0000\n1,2018-10-29,1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parse("fuzz.csv", b); err == nil {
			d.Household(0).Register(t0)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		load(b)
	}
}

func BenchmarkRegister(b *testing.B) {
	h := load(b).Household(7)
	at := int64(t0)
	for b.Loop() {
		at += 977
		h.Register(at)
	}
}
