package record

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestPlausible(t *testing.T) {
	profile := func(change func(*Profile)) *Profile {
		p := &Profile{Slot: 30, Count: 2, Values: [ProfileValues]uint32{5_000_000, NoValue, math.MaxUint32 - 1}}
		change(p)
		return p
	}
	for _, tc := range []struct {
		m    interface{ Plausible() error }
		want string // "" for plausible
	}{
		{Reading{Import: MaxRegister, Export: MaxRegister, Power: -MaxPower}, ""},
		{Reading{Import: MaxRegister + 1}, "import register"},
		{Reading{Export: math.MaxUint64}, "export register"},
		{Reading{Power: math.MinInt32}, "active power"},
		{Reading{Power: MaxPower + 1}, "active power"},
		{profile(func(*Profile) {}), ""}, // what stands behind Count does not count
		{profile(func(p *Profile) { p.Register = MaxRegister + 1 }), "register"},
		{profile(func(p *Profile) { p.Values[0]++ }), "value 1 at offset 32: 5000001 Wh"},
		{profile(func(p *Profile) { p.Count = 3 }), "value 3 at offset 40: "},
	} {
		err := tc.m.Plausible()
		if (err == nil) != (tc.want == "") || err != nil && (!errors.Is(err, ErrValue) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: %v, want %q", tc.m, err, tc.want)
		}
	}
}
