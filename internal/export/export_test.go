package export

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/tariff"
)

var update = flag.Bool("update", false, "rewrite golden files")

func zone(t testing.TB, name string) *tariff.Zone {
	t.Helper()
	z, err := tariff.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// sample is a usage point whose meter was exchanged, on the day on which clocks go forward, and one with transformers.
func sample(t testing.TB) (Head, []*Point) {
	t.Helper()
	z := zone(t, "Europe/Zurich")
	cal, err := tariff.Load("../../examples/tariff-day-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	day := tariff.DateOf(2026, 3, 29)
	b, err := billing.NewBiller(cal, z, day, day+2)
	if err != nil {
		t.Fatal(err)
	}
	from, to := b.Span()
	h := Head{From: from, To: to, Known: time.Date(2026, 4, 2, 6, 0, 0, 0, time.UTC).Unix()}
	fill := func(m *billing.Metered, from, to, step int64) {
		reg := uint64(1000)
		m.Registers = append(m.Registers, billing.Register{At: from, Wh: reg, Quality: cim.Raw})
		for s := from; s < to; s += step {
			q := []cim.Quality{cim.Raw, cim.Recovered, cim.Validated, cim.Estimated, cim.Edited}[s/step%5]
			wh := s / step % 97 * 10
			m.Intervals = append(m.Intervals, billing.Interval{Start: s, End: s + step, Wh: wh, Quality: q})
			reg += uint64(wh)
		}
		m.Registers = append(m.Registers, billing.Register{At: to, Wh: reg, Quality: cim.Raw})
	}
	mid := from + 24*3600
	one := billing.Metered{Meter: "M1", From: math.MinInt64, To: mid, Factor: 1000}
	fill(&one, from, mid, 1800)
	two := billing.Metered{Meter: "M2", From: mid, To: math.MaxInt64, Factor: 1000}
	fill(&two, mid, to, 900)
	big := billing.Metered{Meter: "M3", From: math.MinInt64, To: math.MaxInt64, Factor: 40_500}
	fill(&big, from, to, 1800)
	channel := func(ch cim.Channel, ms ...billing.Metered) Channel {
		c := Channel{Channel: ch, Supply: billing.Supply{Meters: ms}}
		if c.Bill, err = b.Bill(&c.Supply); err != nil {
			t.Fatal(err)
		}
		if c.Balances, err = b.Balances(&c.Supply); err != nil {
			t.Fatal(err)
		}
		c.Changes = []Change{
			{Meter: ms[0].Meter, Start: from, End: from + 1800, Factor: ms[0].Factor, New: 5, NewQuality: cim.Recovered},
			{Meter: ms[0].Meter, Start: from + 1800, End: from + 3600, Factor: ms[0].Factor, Old: 7, OldQuality: cim.Estimated, New: 8, NewQuality: cim.Edited},
		}
		return c
	}
	return h, []*Point{
		{ID: "CH-1", Customer: "A & <B>", Zone: z, From: from, To: to, Channels: []Channel{channel(cim.Import, one, two), channel(cim.Export, two)}},
		{ID: `odd, "point"`, Zone: z, From: from, To: to, Channels: []Channel{channel(cim.Import, big)}},
	}
}

func write(t testing.TB, h Head, ps ...*Point) ([]byte, int64) {
	t.Helper()
	var b bytes.Buffer
	w, err := New(h, &b)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if err := w.Point(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.Rows()
}

func combinations() (out []Head) {
	for _, f := range Formats() {
		for _, w := range Whats() {
			if Check(f, w) == nil {
				out = append(out, Head{Format: f, What: w})
			}
		}
	}
	return out
}

// Text formats are kept as files, so that a change of what was promised to stay the same is seen.
func TestGolden(t *testing.T) {
	base, ps := sample(t)
	for _, h := range combinations() {
		if h.Format == Parquet {
			continue
		}
		h.From, h.To, h.Known = base.From, base.To, base.Known
		got, _ := write(t, h, ps...)
		name := filepath.Join("testdata", string(h.What)+"-"+string(h.Format)+h.Format.Extension())
		if *update {
			if err := os.WriteFile(name, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what it was; run with -update and look at the difference", name)
		}
	}
}

func TestSameBytesAndJoinedParts(t *testing.T) {
	base, ps := sample(t)
	for _, h := range combinations() {
		h.From, h.To, h.Known = base.From, base.To, base.Known
		whole, rows := write(t, h, ps...)
		again, _ := write(t, h, ps...)
		if !bytes.Equal(whole, again) || rows == 0 {
			t.Errorf("%s %s: written twice, it is not the same, or it has %d rows", h.Format, h.What, rows)
		}
		var parts [][]byte
		var sum int64
		for _, p := range ps {
			b, n := write(t, h, p)
			parts = append(parts, b)
			sum += n
		}
		if sum != rows {
			t.Errorf("%s %s: parts have %d rows, all has %d", h.Format, h.What, sum, rows)
		}
		join := func(parts [][]byte) ([]byte, error) {
			var b bytes.Buffer
			err := Join(h, &b, func() (Part, int64, error) {
				if len(parts) == 0 {
					return nil, 0, io.EOF
				}
				p := parts[0]
				parts = parts[1:]
				return bytes.NewReader(p), int64(len(p)), nil
			})
			return b.Bytes(), err
		}
		got, err := join(parts)
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s %s: joined parts are not the whole: %v", h.Format, h.What, err)
		}
		if _, err := join([][]byte{parts[0], parts[1][:len(parts[1])-3]}); err == nil && h.Format != CSV {
			t.Errorf("%s %s: a part that was cut off was joined", h.Format, h.What)
		}
		if _, err := join([][]byte{[]byte("x")}); err == nil {
			t.Errorf("%s %s: a part of something else was joined", h.Format, h.What)
		}
	}
}

func TestCSVReadsBack(t *testing.T) {
	h, ps := sample(t)
	h.Format, h.What = CSV, Intervals
	text, rows := write(t, h, ps...)
	all, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || int64(len(all)) != rows+1 {
		t.Fatalf("%d lines for %d rows: %v", len(all), rows, err)
	}
	last := all[len(all)-1]
	if last[0] != `odd, "point"` || last[3] != "2026-03-30T21:30:00Z" || last[4] != "2026-03-30T22:00:00Z" {
		t.Errorf("last line is %q", last)
	}
}

func TestParquetReadsBack(t *testing.T) {
	h, ps := sample(t)
	h.Format, h.What = Parquet, Intervals
	text, rows := write(t, h, ps...)
	got, err := parquet.Read[intervalRow](bytes.NewReader(text), int64(len(text)))
	if err != nil || int64(len(got)) != rows {
		t.Fatalf("%d rows of %d: %v", len(got), rows, err)
	}
	i := 0
	for _, p := range ps {
		if err := eachInterval(p, func(r *intervalRow) error {
			if got[i] != *r {
				t.Errorf("row %d is %+v, want %+v", i, got[i], *r)
			}
			i++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// What ESPI and CIM readers see, with Go's own XML reader instead of ours by hand.
func TestXMLReadsBack(t *testing.T) {
	h, ps := sample(t)
	h.What = Intervals
	h.Format = ESPI
	text, rows := write(t, h, ps...)
	var feed struct {
		ID    string `xml:"http://www.w3.org/2005/Atom id"`
		Entry []struct {
			ID    string `xml:"id"`
			Block *struct {
				Reading []struct {
					Quality *int  `xml:"ReadingQuality>quality"`
					Start   int64 `xml:"timePeriod>start"`
					Value   int64 `xml:"value"`
				} `xml:"IntervalReading"`
			} `xml:"content>IntervalBlock"`
			Type *struct {
				Flow       int   `xml:"flowDirection"`
				Length     int64 `xml:"intervalLength"`
				Multiplier int   `xml:"powerOfTenMultiplier"`
				Commodity  int   `xml:"commodity"`
			} `xml:"content>ReadingType"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal(text, &feed); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{feed.ID: true}
	values, types, sum := int64(0), 0, int64(0)
	for _, e := range feed.Entry {
		if e.Block != nil {
			values += int64(len(e.Block.Reading))
			for _, r := range e.Block.Reading {
				sum += r.Value
			}
		}
		if e.Type != nil {
			types++
		}
		ids[e.ID] = true
	}
	want := int64(0)
	for i, p := range ps {
		for _, c := range p.Channels {
			for _, m := range c.Supply.Meters {
				for _, v := range m.Intervals {
					if v.Start < h.From || v.Start >= h.To {
						continue
					}
					if i == 1 {
						want += v.Wh * 40_500 // of a factor with decimals the values are thousandths
					} else {
						want += v.Wh
					}
				}
			}
		}
	}
	if values != rows || sum != want || types != 4 {
		t.Errorf("%d values of %d, sum %d of %d, %d reading types", values, rows, sum, want, types)
	}

	h.Format = CIM
	text, rows = write(t, h, ps...)
	var cims struct {
		XMLName xml.Name `xml:"http://iec.ch/TC57/2011/MeterReadings# MeterReadings"`
		Reading []struct {
			Meter  string `xml:"Meter>mRID"`
			Blocks []struct {
				Readings []struct {
					Time  time.Time `xml:"timeStamp"`
					Value string    `xml:"value"`
				} `xml:"IntervalReadings"`
				Type struct {
					Ref string `xml:"ref,attr"`
				} `xml:"ReadingType"`
			} `xml:"IntervalBlocks"`
		} `xml:"MeterReading"`
	}
	if err := xml.Unmarshal(text, &cims); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range cims.Reading {
		for _, b := range r.Blocks {
			n += len(b.Readings)
		}
	}
	if int64(n) != rows || cims.Reading[0].Blocks[0].Type.Ref != "0.0.5.4.1.1.12.0.0.0.0.0.0.0.0.0.72.0" ||
		cims.Reading[2].Blocks[0].Type.Ref != "0.0.2.4.19.1.12.0.0.0.0.0.0.0.0.0.72.0" || cims.Reading[3].Blocks[0].Type.Ref != "0.0.5.4.1.2.12.0.0.0.0.0.0.0.0.0.72.0" {
		t.Errorf("%d values of %d; reading types %q, %q, %q", n, rows, cims.Reading[0].Blocks[0].Type.Ref, cims.Reading[2].Blocks[0].Type.Ref, cims.Reading[3].Blocks[0].Type.Ref)
	}
	if last := cims.Reading[0].Blocks[0].Readings[0]; last.Time.Unix() != h.From+1800 {
		t.Errorf("the first time stamp is %v, want the end of the interval", last.Time)
	}
}

func TestXMLTextIsEscaped(t *testing.T) {
	var x xmlOut
	x.text("a<&>\"\x00\x1f\n\xff\uFFFE")
	var got struct {
		A string `xml:"a,attr"`
	}
	if err := xml.Unmarshal([]byte(`<r a="`+string(x.buf)+`"/>`), &got); err != nil || got.A != "a<&>\"\uFFFD\uFFFD\n\uFFFD\uFFFD" {
		t.Errorf("%q reads back as %q: %v", x.buf, got.A, err)
	}
}

func TestCheck(t *testing.T) {
	for _, h := range []Head{{Format: "xlsx", What: Intervals}, {Format: CSV, What: "all"}, {Format: ESPI, What: Determinants}, {Format: CIM, What: Changes}} {
		if _, err := New(h, io.Discard); !errors.Is(err, ErrFormat) {
			t.Errorf("%+v: %v", h, err)
		}
	}
	if got := FileName("a/../b.c%d e"); got != "a%2f%2e%2e%2fb%2ec%25d%20e" || strings.Contains(got, "/") {
		t.Errorf("file name %q", got)
	}
}

// failing is a disk that is full after some bytes.
type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestFailuresAreTold(t *testing.T) {
	base, ps := sample(t)
	for _, h := range combinations() {
		h.From, h.To, h.Known = base.From, base.To, base.Known
		w, err := New(h, &failing{left: 100})
		for _, p := range ps {
			if err == nil {
				err = w.Point(p)
			}
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			t.Errorf("%s %s: no error from a full disk", h.Format, h.What)
		}
	}
}

// month is a usage point with a month of half hours.
func month(t testing.TB) (Head, *Point) {
	z := zone(t, "Europe/Zurich")
	h := Head{What: Intervals, From: z.Start(tariff.DateOf(2026, 3, 1)), To: z.Start(tariff.DateOf(2026, 4, 1)), Known: z.Start(tariff.DateOf(2026, 4, 3))}
	m := billing.Metered{Meter: "M1000317", From: math.MinInt64, To: math.MaxInt64, Factor: 1000}
	for s := h.From; s < h.To; s += 1800 {
		m.Intervals = append(m.Intervals, billing.Interval{Start: s, End: s + 1800, Wh: (s / 1800 * 7919) % 1000, Quality: cim.Validated})
	}
	return h, &Point{ID: "CH1000317", Zone: z, From: h.From, To: h.To, Channels: []Channel{{Channel: cim.Import, Supply: billing.Supply{Meters: []billing.Metered{m}}}}}
}

func BenchmarkIntervals(b *testing.B) {
	h, p := month(b)
	for _, f := range Formats() {
		b.Run(string(f), func(b *testing.B) {
			h.Format = f
			n := &counter{}
			w, err := New(h, n)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Point(p); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(w.Rows())/b.Elapsed().Seconds(), "intervals/s")
			b.ReportMetric(float64(n.n)/float64(w.Rows()), "bytes/interval")
		})
	}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
