package store

import (
	"errors"
	"reflect"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

func TestTally(t *testing.T) {
	var y Tally
	half := day(30, func(i int) uint32 { return uint32(i) }, raw)
	quarter := day(15, func(i int) uint32 { return []uint32{1, cim.NoValue}[i%2] }, func(i int) cim.Quality { return []cim.Quality{cim.Raw, cim.Missing}[i%2] })
	y.Add(quarter)
	y.Add(half)
	y.Add(half)
	y.Remove(half)
	s := y.Sum()
	if s.Length != 15 || s.Blocks != 2 || len(s.Slots) != 96 || s.Slots[0] != (SlotSum{Wh: 1, Values: 1}) || s.Slots[95] != (SlotSum{Wh: 47, Values: 1, Missing: 1}) {
		t.Fatalf("%+v", s)
	}
	p := y.Append(nil)
	got, err := UnpackTally(p)
	if err != nil || !reflect.DeepEqual(*got, y) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := 2; i < len(p); i++ {
		if _, err := UnpackTally(p[:i]); err == nil && i != 1+1+1+3*96 {
			// A tally may end behind each length.
			if g, _ := UnpackTally(p[:i]); len(g.Append(nil)) != i {
				t.Fatalf("cut to %d of %d bytes", i, len(p))
			}
		}
	}
	y.Remove(half)
	y.Remove(quarter)
	if s := y.Sum(); s.Blocks != 0 || s.Length != 1440 || s.Slots[0] != (SlotSum{}) {
		t.Errorf("emptied: %+v", s)
	}
}

func FuzzTally(f *testing.F) {
	var y Tally
	y.Add(day(30, func(i int) uint32 { return uint32(i * i) }, raw))
	f.Add(y.Append(nil))
	f.Add([]byte{tallyFormat, 7})
	f.Fuzz(func(t *testing.T, p []byte) {
		y, err := UnpackTally(p)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := UnpackTally(y.Append(nil))
		if err != nil || !reflect.DeepEqual(again, y) {
			t.Fatalf("%+v, %v; was %+v", again, err, y)
		}
	})
}
