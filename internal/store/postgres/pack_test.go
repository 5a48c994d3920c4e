package postgres

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

const packDay = cim.Day(17833)

// live is what one commit brings: a slot of many meters.
func live(n int) *store.Chunk {
	c := &store.Chunk{Day: packDay}
	for i := range n {
		c.Rows = append(c.Rows, store.Row{Device: 70_000 + uint32(i), Length: 15, Quality: cim.Raw, Start: packDay.Start() + 36_000, Wh: uint32(i*37) % 900,
			Register: 20_000_000 + uint64(i)*977, HasReg: true})
	}
	return c
}

// anyRow is a row of whatever a row can be.
func anyRow(r *rand.Rand) store.Row {
	row := store.Row{Device: []uint32{0, r.Uint32N(100), r.Uint32(), 1<<32 - 1}[r.IntN(4)], Channel: cim.Channel(r.IntN(16)), Length: []uint16{1, 15, 30, 1440}[r.IntN(4)],
		Quality: cim.Quality(r.IntN(16)), Start: []uint32{packDay.Start() - 900, packDay.Start() + r.Uint32N(96)*900, r.Uint32(), 0}[r.IntN(4)],
		Wh: []uint32{0, cim.NoValue, cim.NoValue - 1, r.Uint32N(1000)}[r.IntN(4)]}
	if r.IntN(3) == 0 {
		row.Recorded = r.Uint32()
	}
	if row.HasReg = r.IntN(2) == 0; row.HasReg {
		row.Register = []uint64{0, 1<<64 - 1, 1 << 63, r.Uint64N(1 << 40)}[r.IntN(4)]
	}
	return row
}

func TestChunkRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	chunks := []*store.Chunk{{Day: packDay}, live(1), live(5000)}
	for range 200 {
		c := &store.Chunk{Day: packDay}
		for range rnd.IntN(40) {
			c.Rows = append(c.Rows, anyRow(rnd))
		}
		chunks = append(chunks, c)
	}
	for _, c := range chunks {
		p, err := appendChunk([]byte("ahead"), c)
		if err != nil {
			t.Fatal(err)
		}
		p = p[len("ahead"):]
		got := store.Chunk{Day: c.Day}
		if err := unpackChunk(&got, len(c.Rows), p); err != nil || !slices.Equal(got.Rows, c.Rows) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got.Rows, c.Rows)
		}
		for i := 0; i < len(p); i += 1 + len(p)/500 {
			if err := unpackChunk(&got, len(c.Rows), p[:i]); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("cut to %d of %d bytes: %v", i, len(p), err)
			}
		}
	}
}

// TestChunkSize: what live readings take.
func TestChunkSize(t *testing.T) {
	p, err := appendChunk(nil, live(5000))
	if err != nil || len(p) > 5000*8+100 {
		t.Fatalf("%d bytes for 5,000 readings, want at most 8 each; %v", len(p), err)
	}
}

func TestChunkRefusesRows(t *testing.T) {
	for name, r := range map[string]store.Row{"length": {Length: 7}, "no length": {}, "quality": {Length: 15, Quality: 16}, "channel": {Length: 15, Channel: 16}} {
		if _, err := appendChunk(nil, &store.Chunk{Rows: []store.Row{{Length: 15}, r}}); err == nil {
			t.Errorf("a bad %s is packed", name)
		}
	}
	if _, err := appendChunk(nil, &store.Chunk{Rows: make([]store.Row, store.MaxChunkRows+1)}); err == nil {
		t.Error("too many rows are packed")
	}
}

func FuzzChunk(f *testing.F) {
	for _, n := range []int{0, 1, 20} {
		p, err := appendChunk(nil, live(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(n, p)
	}
	f.Fuzz(func(t *testing.T, n int, p []byte) {
		c := store.Chunk{Day: packDay}
		if err := unpackChunk(&c, n%100_000, p); err != nil {
			if !errors.Is(err, store.ErrCorrupt) || len(c.Rows) != 0 {
				t.Fatalf("%d rows and %v", len(c.Rows), err)
			}
			return
		}
		again, err := appendChunk(nil, &c)
		if err != nil {
			return // a length that no row has
		}
		got := store.Chunk{Day: packDay}
		if err := unpackChunk(&got, len(c.Rows), again); err != nil || !slices.Equal(got.Rows, c.Rows) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got.Rows, c.Rows)
		}
	})
}

func BenchmarkChunk(b *testing.B) {
	c := live(50_000)
	var p []byte
	b.Run("pack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, _ = appendChunk(p[:0], c)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(c.Rows)), "ns/row")
	})
	b.Run("unpack", func(b *testing.B) {
		b.ReportAllocs()
		var got store.Chunk
		for b.Loop() {
			if err := unpackChunk(&got, len(c.Rows), p); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(c.Rows)), "ns/row")
	})
}
