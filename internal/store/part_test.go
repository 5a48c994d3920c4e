package store

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

func TestParts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	type dev struct {
		n uint32
		p Part
	}
	var want []dev
	var p Parts
	for i := range 300 {
		b := day([]uint16{1, 15, 30, 1440}[i%4], func(int) uint32 { return rnd.Uint32() }, func(int) cim.Quality { return cim.Quality(1 + rnd.IntN(5)) })
		b.Device = rnd.Uint32() >> rnd.IntN(32)
		if i%3 == 0 {
			b.Wh[0], b.Quality[0] = cim.NoValue, []cim.Quality{cim.Joined, cim.Missing}[i%2]
		}
		want = append(want, dev{b.Device, PartOf(b)})
		p.Add(b)
	}
	var got []dev
	if err := EachPart(p.Data, func(n uint32, x Part) error { got = append(got, dev{n, x}); return nil }); err != nil || len(got) != len(want) {
		t.Fatalf("%d parts, want %d: %v", len(got), len(want), err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("part %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	if n := PartOf(day(30, func(i int) uint32 { return []uint32{7, cim.NoValue, cim.NoValue}[i%3] }, func(i int) cim.Quality { return []cim.Quality{cim.Edited, cim.Joined, cim.Missing}[i%3] })); n != (Part{Wh: 7 * 16, Values: 16, Missing: 16, Edited: 16}) {
		t.Errorf("%+v", n)
	}
}

func FuzzParts(f *testing.F) {
	var p Parts
	p.Add(day(30, func(i int) uint32 { return uint32(i) }, raw))
	p.Add(day(60, func(int) uint32 { return cim.NoValue }, func(int) cim.Quality { return cim.Missing }))
	f.Add(p.Data)
	f.Add([]byte{partsFormat})
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		if err := EachPart(data, func(uint32, Part) error { n++; return nil }); err != nil && !errors.Is(err, ErrCorrupt) || n > len(data) {
			t.Fatalf("%d parts of %d bytes: %v", n, len(data), err)
		}
	})
}
