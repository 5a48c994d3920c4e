package meter

import (
	"math/rand/v2"
	"testing"
)

// line consumes rate Wh an hour from the epoch on.
type line uint64

func (l line) Register(t int64) uint64 { return uint64(t) * uint64(l) / 3600 }

func TestCurve(t *testing.T) {
	c := curve{source: [2]Source{line(3600), nil}} // 1 Wh a second
	if c.register(0, 1000) != 1000 || c.register(1, 1000) != 0 {
		t.Fatal("the register without cuts is the source's")
	}
	c.begin(1000)
	c.begin(1010) // goes on
	if !c.running() || c.register(0, 999) != 999 || c.register(0, 1500) != 1000 {
		t.Error("the register does not stand still while cut off")
	}
	c.end(2000)
	c.end(2500)
	if c.running() || c.register(0, 2000) != 1000 || c.register(0, 2600) != 1600 || c.interval(0, 900, 2100) != 200 {
		t.Error("the register does not go on after the cut")
	}
	c.begin(2000) // the same second: one cut
	c.end(2100)
	if len(c.cuts) != 1 || c.register(0, 2600) != 1500 {
		t.Errorf("cuts %v, register %d", c.cuts, c.register(0, 2600))
	}
	c.begin(3000)
	c.end(3000)
	if len(c.cuts) != 1 {
		t.Error("a cut of no length is kept")
	}
	c.begin(4000)
	c.end(4100)
	c.begin(5000)
	before := []uint64{c.register(0, 4050), c.register(0, 5000), c.register(0, 9000)}
	if got := c.forget(3000, 10); got != 2100 || len(c.cuts) != 2 || c.base[0] != 1100 {
		t.Errorf("forget: %d, cuts %v, base %v", got, c.cuts, c.base)
	}
	for i, at := range []uint32{4050, 5000, 9000} {
		if got := c.register(0, at); got != before[i] {
			t.Errorf("forgetting changed the register at %d from %d to %d", at, before[i], got)
		}
	}
	if got := c.forget(0, 1); got != 4100 || len(c.cuts) != 1 || c.forget(9999, 0) != 0 {
		t.Errorf("forget beyond the limit: %d, cuts %v", got, c.cuts)
	}
}

// Whatever the cuts, the registers never fall, differences add up, and loading the same cuts gives the same registers.
func TestCurveProperty(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		c := curve{source: [2]Source{line(r.Uint64N(9000)), line(r.Uint64N(500))}}
		now := uint32(1e9)
		for range r.IntN(40) {
			now += r.Uint32N(5000)
			if c.running() {
				c.end(now)
			} else {
				c.begin(max(now, c.edge()))
			}
		}
		copied := curve{source: c.source}
		copied.load(c.base, append([]Cut(nil), c.cuts...))
		for ch := range 2 {
			last, sum := uint64(0), uint64(0)
			first := c.register(ch, 1e9)
			for at := uint32(1e9); at < now; at += 777 {
				reg := c.register(ch, at)
				if reg < last || copied.register(ch, at) != reg {
					t.Fatalf("channel %d at %d: register %d after %d, loaded %d; cuts %v", ch, at, reg, last, copied.register(ch, at), c.cuts)
				}
				last = reg
				sum += uint64(c.interval(ch, at, at+777))
				if c.register(ch, at+777)-first != sum {
					t.Fatalf("channel %d: intervals up to %d add up to %d", ch, at+777, sum)
				}
			}
		}
	}
}
