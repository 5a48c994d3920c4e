package billing

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

func TestPackKeepsAll(t *testing.T) {
	b := biller(t, "Europe/Zurich", "2026-03-01", "2026-04-01")
	from, to := b.Span()
	w := makeWorld(rand.New(rand.NewPCG(1, 1)), from, to)
	for _, m := range w.supply.Meters {
		p := Pack(nil, m.Intervals, m.Registers)
		iv, regs, err := Unpack(p, nil, nil)
		if err != nil || !reflect.DeepEqual(iv, m.Intervals) || !reflect.DeepEqual(regs, m.Registers) {
			t.Fatalf("meter %s: %d intervals and %d registers are %d and %d: %v", m.Meter, len(m.Intervals), len(m.Registers), len(iv), len(regs), err)
		}
	}
	m := even(b, 30, 100)
	if p := Pack(nil, m.Intervals, nil); len(p) > len(m.Intervals)*2 {
		t.Errorf("%d intervals take %d bytes", len(m.Intervals), len(p))
	}
	p := Pack(nil, m.Intervals[:3], m.Registers)
	for i := range p {
		if _, _, err := Unpack(p[:i], nil, nil); !errors.Is(err, ErrPacked) {
			t.Errorf("cut off at %d: %v", i, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(Pack(nil, []Interval{{0, 1800, 5, cim.Raw}, {1800, 3600, 7, cim.Raw}, {7200, 9000, 1, cim.Edited}}, []Register{{0, 100, cim.Raw}, {9000, 50, cim.Raw}}))
	f.Add([]byte{})
	f.Add([]byte{0, 0})
	f.Add([]byte{1, 0, 1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F})
	f.Fuzz(func(t *testing.T, p []byte) {
		iv, regs, err := Unpack(p, nil, nil)
		if err != nil {
			return
		}
		iv2, regs2, err := Unpack(Pack(nil, iv, regs), nil, nil)
		if err != nil || !reflect.DeepEqual(iv, iv2) || !reflect.DeepEqual(regs, regs2) {
			t.Fatalf("packed again: %v", err)
		}
	})
}
