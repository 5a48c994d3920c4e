package store

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

func day(length uint16, wh func(i int) uint32, q func(i int) cim.Quality) *Block {
	n := 1440 / int(length)
	b := &Block{Day: 17833, Length: length, Wh: make([]uint32, n), Quality: make([]cim.Quality, n)}
	for i := range n {
		b.Wh[i], b.Quality[i] = wh(i), q(i)
	}
	return b
}

func raw(int) cim.Quality { return cim.Raw }

func TestBlockRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, tc := range []struct {
		name string
		b    *Block
		max  int // bytes
	}{
		{"zeros", day(30, func(int) uint32 { return 0 }, raw), 12},
		{"steps of 10 Wh", day(30, func(int) uint32 { return 10 * rnd.Uint32N(100) }, raw), 56},
		{"extremes", day(30, func(i int) uint32 { return []uint32{0, cim.NoValue - 1}[i%2] }, raw), 48*4 + 20},
		{"slow growth", day(15, func(i int) uint32 { return 1_000_000 + uint32(i) }, raw), 48},
		{"nothing", day(60, func(int) uint32 { return cim.NoValue }, func(int) cim.Quality { return cim.Missing }), 3},
		{"every other", day(30, func(i int) uint32 { return []uint32{7, cim.NoValue}[i%2] },
			func(i int) cim.Quality { return []cim.Quality{cim.Recovered, cim.Missing}[i%2] }), 70},
		{"one a day", day(1440, func(int) uint32 { return 40_000 }, raw), 10},
		{"one a minute", day(1, func(int) uint32 { return rnd.Uint32N(40) }, raw), 1440},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, reg := range []bool{false, true} {
				b := *tc.b
				if b.HasReg = reg; reg {
					b.Register = 123_456_789
				}
				p, err := AppendBlock(nil, &b)
				if err != nil {
					t.Fatal(err)
				}
				if !reg && len(p) > tc.max {
					t.Errorf("%d bytes, want at most %d", len(p), tc.max)
				}
				got := Block{Day: b.Day, Length: b.Length}
				if err := UnpackBlock(&got, p); err != nil || !reflect.DeepEqual(got, b) {
					t.Fatalf("%v\n got %+v\nwant %+v", err, got, b)
				}
				for i := range p {
					if err := UnpackBlock(&got, p[:i]); !errors.Is(err, ErrCorrupt) {
						t.Fatalf("cut to %d of %d bytes: %v", i, len(p), err)
					}
				}
			}
		})
	}
}

// TestBlockAnchors packs registers behind gaps, and reads what was packed before there were anchors.
func TestBlockAnchors(t *testing.T) {
	for name, anchors := range map[string][]Anchor{
		"one":     {{At: 5, Register: 1_000_000}},
		"falling": {{At: 1, Register: 1 << 50}, {At: 2, Register: 3}, {At: 48, Register: 1<<64 - 1}},
		"at every slot": slices.Collect(func(yield func(Anchor) bool) {
			for i := range 48 {
				if !yield(Anchor{At: uint16(i + 1), Register: uint64(i * i)}) {
					return
				}
			}
		}),
	} {
		for _, reg := range []bool{false, true} {
			b := day(30, func(i int) uint32 { return []uint32{7, cim.NoValue}[i%2] }, raw)
			b.Anchors = anchors
			if b.HasReg = reg; reg {
				b.Register = 77
			}
			p, err := AppendBlock(nil, b)
			if err != nil {
				t.Fatal(err)
			}
			got := Block{Day: b.Day, Length: 30}
			if err := UnpackBlock(&got, p); err != nil || !reflect.DeepEqual(&got, b) {
				t.Fatalf("%s: %v\n got %+v\nwant %+v", name, err, got, b)
			}
			for i := range p {
				if err := UnpackBlock(&got, p[:i]); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%s: cut to %d of %d bytes: %v", name, i, len(p), err)
				}
			}
		}
	}
	for _, anchors := range [][]Anchor{{{At: 0}}, {{At: 2}, {At: 2}}, {{At: 49}}} {
		b := day(30, func(int) uint32 { return 0 }, raw)
		b.Anchors = anchors
		if p, err := AppendBlock(nil, b); err == nil || len(p) != 0 {
			t.Errorf("%+v: %x, %v", anchors, p, err)
		}
	}
	for _, p := range [][]byte{
		{0x41, 0},                    // no anchors
		{0x41, 49},                   // more than boundaries
		{0x41, 1, 0, 0},              // at boundary 0
		{0x41, 1, 49, 0},             // behind the day
		{0x41, 2, 48, 0, 1, 0, 0x01}, // the second one
	} {
		b := Block{Length: 30}
		if err := UnpackBlock(&b, p); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%x: %v", p, err)
		}
	}
	// As a block of version 0.1 lies in a database: register 1000, 48 raw values of 0 Wh.
	old := Block{Length: 30}
	if err := UnpackBlock(&old, []byte{0x11, 0xe8, 0x07, 0x89, 0x06, 1, 0, 0, 0, 0, 0, 0, 0}); err != nil || old.Register != 1000 || !old.HasReg || old.Anchors != nil || old.Wh[47] != 0 {
		t.Errorf("%+v, %v", old, err)
	}
}

func TestBlockRefuses(t *testing.T) {
	for _, b := range []*Block{{Length: 0}, {Length: 7}, {Length: 30}, {Length: 1440, Wh: []uint32{1}, Quality: []cim.Quality{8}}} {
		if p, err := AppendBlock(nil, b); err == nil || len(p) != 0 {
			t.Errorf("%+v: %x, %v", b, p, err)
		}
	}
}

func chunkOf(devices, slots int) *Chunk {
	c := &Chunk{Day: 17833}
	for d := range devices {
		reg := uint64(1_000_000 * d)
		for s := range slots {
			wh := uint32(d*31+s*7) % 900
			reg += uint64(wh)
			c.Rows = append(c.Rows, Row{Device: uint32(d), Length: 30, Quality: cim.Raw, Start: c.Day.Start() + uint32(s)*1800, Wh: wh, Register: reg, HasReg: true})
		}
	}
	return c
}

func TestChunkRoundTrip(t *testing.T) {
	mixed := &Chunk{Day: 1, Rows: []Row{
		{Device: 4_000_000_000, Channel: cim.Export, Length: 15, Quality: cim.Edited, Start: 86400, Wh: cim.NoValue - 1},
		{Device: 0, Length: 1440, Start: 0, Wh: cim.NoValue, Register: ^uint64(0), HasReg: true},
		{Device: 0, Length: 1440, Start: 4_294_967_295, Wh: 5, Register: 0, HasReg: true},
	}}
	for _, tc := range []struct {
		name string
		c    *Chunk
		max  int // bytes a row
	}{{"empty", &Chunk{}, 9}, {"live", chunkOf(5000, 1), 9}, {"profile", chunkOf(100, 12), 7}, {"mixed", mixed, 40}} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := AppendChunk(nil, tc.c)
			if err != nil {
				t.Fatal(err)
			}
			if len(p) > 9+tc.max*len(tc.c.Rows) {
				t.Errorf("%d bytes for %d rows", len(p), len(tc.c.Rows))
			}
			t.Logf("%d rows, %d bytes", len(tc.c.Rows), len(p))
			got := Chunk{Day: tc.c.Day}
			if err := UnpackChunk(&got, p); err != nil || len(got.Rows) != len(tc.c.Rows) {
				t.Fatal(err, len(got.Rows))
			}
			for i := range got.Rows {
				if got.Rows[i] != tc.c.Rows[i] {
					t.Fatalf("row %d: %+v, want %+v", i, got.Rows[i], tc.c.Rows[i])
				}
			}
			for i := 0; i < len(p); i += 1 + len(p)/100 {
				if err := UnpackChunk(&got, p[:i]); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("cut to %d of %d bytes: %v", i, len(p), err)
				}
			}
		})
	}
	if _, err := AppendChunk(nil, &Chunk{Rows: []Row{{Length: 7}}}); err == nil {
		t.Error("an interval of 7 minutes was packed")
	}
}

// FuzzBlock unpacks anything, and packs again what it could unpack.
func FuzzBlock(f *testing.F) {
	for _, b := range []*Block{day(30, func(i int) uint32 { return uint32(i*i) * 10 }, raw), day(60, func(i int) uint32 { return 7 }, raw),
		day(30, func(i int) uint32 { return []uint32{7, cim.NoValue}[i%2] }, func(i int) cim.Quality { return cim.Quality(i % 6) })} {
		b.HasReg, b.Register = true, 4711
		if b.Wh[1] == cim.NoValue {
			b.Anchors = []Anchor{{2, 5000}, {47, 1 << 60}}
		}
		p, err := AppendBlock(nil, b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b.Length, p)
	}
	f.Fuzz(func(t *testing.T, length uint16, p []byte) {
		b := Block{Length: length}
		if UnpackBlock(&b, p) != nil {
			return
		}
		again, err := AppendBlock(nil, &b)
		if err != nil {
			t.Fatal(err)
		}
		got := Block{Length: length}
		if err := UnpackBlock(&got, again); err != nil || !reflect.DeepEqual(got, b) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, b)
		}
	})
}

// FuzzChunk unpacks anything, and packs again what it could unpack.
func FuzzChunk(f *testing.F) {
	for _, c := range []*Chunk{chunkOf(3, 1), chunkOf(2, 12), {}} {
		p, err := AppendChunk(nil, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(c.Day), p)
	}
	f.Fuzz(func(t *testing.T, day uint32, p []byte) {
		c := Chunk{Day: cim.Day(day)}
		if UnpackChunk(&c, p) != nil {
			return
		}
		again, err := AppendChunk(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		got := Chunk{Day: cim.Day(day)}
		if err := UnpackChunk(&got, again); err != nil || len(got.Rows) != len(c.Rows) {
			t.Fatal(err)
		}
		for i := range got.Rows {
			if got.Rows[i] != c.Rows[i] {
				t.Fatalf("row %d: %+v, want %+v", i, got.Rows[i], c.Rows[i])
			}
		}
	})
}

func BenchmarkPackChunk(b *testing.B) {
	c := chunkOf(5000, 1)
	buf, _ := AppendChunk(nil, c)
	b.ReportAllocs()
	b.ReportMetric(float64(len(buf))/float64(len(c.Rows)), "bytes/row")
	for b.Loop() {
		buf, _ = AppendChunk(buf[:0], c)
	}
}

func BenchmarkPackBlock(b *testing.B) {
	blk := day(30, func(i int) uint32 { return uint32(i*37%200) * 10 }, raw)
	buf, _ := AppendBlock(nil, blk)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = AppendBlock(buf[:0], blk)
	}
}

func BenchmarkUnpackBlock(b *testing.B) {
	blk := day(15, func(i int) uint32 { return uint32(i*37%200) * 10 }, raw)
	blk.Came = make([]byte, 58)
	buf, err := AppendBlock(nil, blk)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := UnpackBlock(blk, buf); err != nil {
			b.Fatal(err)
		}
	}
}
