package backfill

import (
	"testing"
	"time"
)

// devices are those that were asked, in order.
func (b *bench) devices() (out []uint32) {
	for _, s := range b.sent {
		out = append(out, s.device)
	}
	return out
}

// TestLiveGoesFirst: what is missing of the last hours is asked for before the history of other meters, below one concentrator and
// where concentrators share the total; history goes on once nothing live waits.
func TestLiveGoesFirst(t *testing.T) {
	fresh := map[uint32]bool{}
	b := newBench(t, Options{PerConcentrator: 2, Total: 3, Live: func(d uint32) bool { return fresh[d] }})
	b.wake("C1", 0, 10, 3)
	b.wake("C2", 100, 10, 3)
	b.tick()
	b.want(17, 3)
	fresh[50], fresh[51] = true, true
	b.wake("C1", 50, 2, 1)
	// One that waits for its history since long misses something new, too: it changes the lane, once.
	fresh[3] = true
	for range 3 {
		b.p.Wake(3, "C1", b.now, false)
	}
	b.tick()
	var order []uint32
	for range 8 {
		before := b.sent[0].device
		b.answer()
		delete(fresh, before) // what it misses now is old
		known := len(b.sent)
		b.tick()
		for _, s := range b.sent[known:] {
			order = append(order, s.device)
		}
	}
	at := map[uint32]int{}
	for i, d := range order {
		if _, ok := at[d]; !ok {
			at[d] = i
		}
	}
	for _, d := range []uint32{50, 51, 3} {
		if i, ok := at[d]; !ok || i > 3 {
			t.Fatalf("%d is not among the first: %v", d, order)
		}
	}
	for b.p.Stats().Waiting+b.p.Stats().InFlight > 0 {
		if len(b.sent) == 0 {
			t.Fatalf("nothing goes on: %+v", b.p.Stats())
		}
		b.answer()
		b.tick()
	}
	if s := b.p.Stats(); s.Requests != 20*3+2 {
		t.Fatalf("%+v", s)
	}
}

// TestLanesHoldNoMore: meters that change lanes, leave and come back for a long time leave no more behind than there are meters.
func TestLanesHoldNoMore(t *testing.T) {
	fresh := false
	b := newBench(t, Options{PerConcentrator: 1, Total: 1, Live: func(uint32) bool { return fresh }})
	b.wake("C1", 0, 100, 1000)
	b.tick()
	for range 200 {
		for d := range uint32(100) {
			if b.p.meters[d].id == 0 {
				b.p.Forget(d)
			}
		}
		for d := range uint32(100) {
			b.p.Wake(d, "C1", b.now, false)
		}
		b.pass(time.Millisecond)
		b.tick()
		fresh = !fresh
		for d := range uint32(100) {
			b.p.Wake(d, "C1", b.now, false)
		}
		b.tick()
	}
	for _, c := range b.p.concentrators {
		for l := range lanes {
			if n := len(c.queues[l].entries); n > 2*100+64 {
				t.Fatalf("%d places in lane %d", n, l)
			}
		}
	}
	b.want(99, 1)
}
