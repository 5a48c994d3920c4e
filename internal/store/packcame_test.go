package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

func cameBlock(c *Came, length uint16) *Block {
	n := 1440 / int(length)
	b := &Block{Device: 7, Day: 18000, Length: length, Wh: make([]uint32, n), Quality: make([]cim.Quality, n)}
	b.Came = PackCame(c, b.Day.Start(), uint32(length)*60)
	return b
}

// TestCame packs and unpacks arrivals of all sorts, also through a block.
func TestCame(t *testing.T) {
	const length = 15
	start := cim.Day(18000).Start()
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 1440 / length
		c := &Came{Value: make([]uint32, n+1), Register: make([]uint32, n+1)}
		late := start + 86400 + r.Uint32N(40*86400)
		for i := range c.Value {
			at := start + uint32(i)*length*60
			switch r.IntN(int(2 + seed%6)) {
			case 0:
				c.Value[i] = at + r.Uint32N(60)
			case 1:
				c.Value[i] = late
			case 2:
				c.Value[i] = at - r.Uint32N(4000) // a clock that is ahead
			case 3:
				c.Value[i] = 0
			default:
				c.Value[i] = at + 12 + r.Uint32N(3)
			}
			switch r.IntN(4) {
			case 0:
				c.Register[i] = at + r.Uint32N(100)
			case 1:
			default:
				c.Register[i] = c.Value[i]
			}
		}
		b := cameBlock(c, length)
		p, err := AppendBlock(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		back := Block{Device: 7, Day: 18000, Length: length}
		if err := UnpackBlock(&back, p); err != nil || !bytes.Equal(back.Came, b.Came) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := back.UnpackCame()
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("seed %d: %v\n got %v\nwant %v", seed, err, got, c)
		}
		for i := range b.Came {
			cut := back
			if cut.Came = b.Came[:i]; i == 0 {
				continue
			}
			if _, err := cut.UnpackCame(); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("seed %d: cut at %d of %d: %v", seed, i, len(b.Came), err)
			}
		}
	}
}

// TestCameSize is what arrivals of meters that tell each interval when it ends, and of a load profile, take.
func TestCameSize(t *testing.T) {
	start := cim.Day(18000).Start()
	live, profile, one := &Came{}, &Came{}, &Came{}
	for i := range uint32(97) {
		one.Value = append(one.Value, start+i*900+20+i%3+i/90*3600) // few far behind
		live.Value = append(live.Value, start+i*900+20+i%3)
		profile.Value = append(profile.Value, start+90000)
	}
	live.Register, profile.Register, one.Register = live.Value, profile.Value, one.Value
	if a, b := len(cameBlock(live, 15).Came), len(cameBlock(profile, 15).Came); a > 33 || b > 10 {
		t.Errorf("live %d bytes, profile %d", a, b)
	}
	if n := len(cameBlock(one, 15).Came); n > 65 {
		t.Errorf("%d bytes, a few of them late", n)
	}
	// Delays as programs before packed them, of eight in a group.
	old := []byte{cameDelays, 2<<1 | 1, 40, 3, 0b101_010, 2<<2 | registerSame}
	b := &Block{Day: 18000, Length: 1440, Came: old}
	if c, err := b.UnpackCame(); err != nil || !reflect.DeepEqual(c, &Came{Value: []uint32{start + 22, start + 86400 + 25}, Register: []uint32{start + 22, start + 86400 + 25}}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzCame(f *testing.F) {
	c := &Came{Value: make([]uint32, 25), Register: make([]uint32, 25)}
	for i := range c.Value {
		c.Value[i] = cim.Day(18000).Start() + uint32(i)*3600 + 5
	}
	f.Add(cameBlock(c, 60).Came)
	f.Add([]byte{0, 25, 0, 100})
	f.Add(append([]byte{1, 25<<1 | 1, 40}, bytes.Repeat([]byte{3, 1, 2, 3}, 4)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		b := &Block{Day: 18000, Length: 60, Came: p}
		c, err := b.UnpackCame()
		if err != nil || c == nil {
			return
		}
		again := cameBlock(c, 60)
		back, err := again.UnpackCame()
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("%v: %v, then %v", err, c, back)
		}
	})
}

// TestThen picks what was known of a day.
func TestThen(t *testing.T) {
	came := []byte{0}
	v := func(version, recorded uint32, came []byte) *Block {
		return &Block{Day: 1, Version: version, Recorded: recorded, Came: came}
	}
	for _, tc := range []struct {
		name  string
		known uint32
		in    []*Block
		want  uint32 // recorded; 0: nothing
		after bool
	}{
		{"sealed before", 20, []*Block{v(1, 10, came)}, 10, false},
		{"sealed at that time", 10, []*Block{v(1, 10, came)}, 10, false},
		{"sealed later", 5, []*Block{v(1, 10, came)}, 10, true},
		{"sealed later by a program that kept no arrivals", 5, []*Block{v(1, 10, nil)}, 0, false},
		{"a draft after it", 5, []*Block{v(0, 7, came), v(1, 10, came)}, 7, true},
	} {
		var got []Block
		then := NewThen(tc.known, func(b *Block) error { got = append(got, *b); return nil })
		for _, b := range tc.in {
			if err := then.Add(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := then.Close(); err != nil {
			t.Fatal(err)
		}
		switch {
		case tc.want == 0 && len(got) == 0:
		case len(got) != 1 || got[0].Recorded != tc.want || got[0].After != tc.after:
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}
