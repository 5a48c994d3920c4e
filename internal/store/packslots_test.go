package store

import (
	"math/rand/v2"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

// holdsSlots compares the intervals [lo, hi) with those of the whole block, and sees that nothing is told of the others.
func holdsSlots(t *testing.T, whole *Block, p []byte, lo, hi int) {
	t.Helper()
	b := Block{Length: whole.Length, Wh: []uint32{1, 2, 3}, Quality: []cim.Quality{5, 5}, Came: []byte{1}}
	if err := UnpackSlots(&b, p, lo, hi); err != nil {
		t.Fatalf("[%d, %d) of a block that is whole: %v", lo, hi, err)
	}
	if len(b.Wh) != len(whole.Wh) || len(b.Quality) != len(whole.Wh) || b.Came != nil {
		t.Fatalf("[%d, %d): %+v", lo, hi, b)
	}
	for i := range b.Wh {
		wh, q := cim.NoValue, cim.Missing
		if i >= lo && i < hi {
			wh, q = whole.Wh[i], whole.Quality[i]
		}
		if b.Wh[i] != uint32(wh) || b.Quality[i] != q {
			t.Fatalf("[%d, %d): interval %d is %d with quality %d, want %d with %d", lo, hi, i, b.Wh[i], b.Quality[i], wh, q)
		}
	}
}

// TestUnpackSlots takes single slots and spans out of blocks of all sorts.
func TestUnpackSlots(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		length := []uint16{1, 5, 15, 15, 30, 60, 1440}[r.IntN(7)]
		grow := r.IntN(2) * 1_000_000
		b := day(length, func(i int) uint32 {
			if r.IntN(int(2+seed%40)) == 0 {
				return cim.NoValue
			}
			return uint32(grow+i*(grow/1_000_000)) + 10*r.Uint32N(90)
		}, func(int) cim.Quality { return cim.Quality(1 + r.IntN(int(1+seed%3))) })
		if b.HasReg = r.IntN(2) == 0; b.HasReg {
			b.Register = r.Uint64()
		}
		if r.IntN(2) == 0 {
			b.Anchors = []Anchor{{At: 1, Register: r.Uint64()}}
		}
		if r.IntN(2) == 0 {
			b.Came = []byte{1, 2, 3}
		}
		p, err := AppendBlock(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		n := len(b.Wh)
		holdsSlots(t, b, p, 0, n)
		for range 20 {
			lo := r.IntN(n)
			holdsSlots(t, b, p, lo, lo+1)
			holdsSlots(t, b, p, lo, lo+r.IntN(n-lo+1))
		}
	}
	for _, p := range [][]byte{nil, {0}, {0x11}, {0x01}, {0x01, 0x8f, 0x03}, {0x41, 0xff}} {
		b := Block{Length: 30}
		if UnpackSlots(&b, p, 0, 48) == nil {
			t.Errorf("%x was taken for a block", p)
		}
	}
}

// FuzzSlots takes spans out of anything; out of what is a block they are that one's.
func FuzzSlots(f *testing.F) {
	for _, b := range []*Block{day(30, func(i int) uint32 { return uint32(i*i) * 10 }, raw), day(60, func(i int) uint32 { return []uint32{7, cim.NoValue}[i%2] }, raw)} {
		p, err := AppendBlock(nil, b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b.Length, p, 3, 4)
	}
	f.Fuzz(func(t *testing.T, length uint16, p []byte, lo, hi int) {
		whole := Block{Length: length}
		if UnpackBlock(&whole, p) != nil {
			_ = UnpackSlots(&whole, p, lo, hi) // whatever it says, it says something
			return
		}
		n := len(whole.Wh)
		holdsSlots(t, &whole, p, min(max(lo, 0), n), min(max(hi, 0), n))
	})
}

func BenchmarkUnpackSlot(b *testing.B) {
	for name, wh := range map[string]func(i int) uint32{
		"values": func(i int) uint32 { return uint32(i*37%200) * 10 }, "deltas": func(i int) uint32 { return 1_000_000 + uint32(i*13+i*37%20) }} {
		blk := day(15, wh, raw)
		blk.Came = make([]byte, 58)
		buf, err := AppendBlock(nil, blk)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := UnpackSlots(blk, buf, 40, 41); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
