package brokerbench

import (
	"testing"
	"time"
)

func TestLedgerFindsWhatIsLost(t *testing.T) {
	l := newLedger(2)
	all, one := l.reader(nil), l.reader(func(p int) bool { return p == 1 })
	for p := range 2 {
		for seq := range uint32(100) {
			if got := l.number(p); got != seq {
				t.Fatalf("number %d, want %d", got, seq)
			}
			if seq != 50 {
				l.ack(p, seq)
				l.ack(p, seq) // twice counts once
			}
		}
	}
	for p := range 2 {
		for seq := range uint32(100) {
			if seq != 70 && seq != 50 {
				l.arrive(all, p, seq)
			}
		}
	}
	l.arrive(all, 1, 70)                                  // late
	if l.arrive(all, 1, 71) || !l.arrive(one, 1, 1_000) { // repeat; never numbered, but new
		t.Error("arrive does not tell a repeat from the first time")
	}
	var r Result
	l.sum(&r, 1)
	// all lacks 70 of publisher 0; one lacks 99 of publisher 1.
	if want := (Result{Messages: 200, Lost: 100, Disordered: 1, Repeated: 1, Unacked: 2}); r != want {
		t.Errorf("%+v\nwant %+v", r, want)
	}
	var r0 Result
	l.sum(&r0, 0)
	if r0.Lost != 0 || r0.Undelivered != 2+1+99 {
		t.Errorf("QoS 0: %+v", r0)
	}
}

func TestMerge(t *testing.T) {
	got := merge([]Result{
		{Row: "r", Rate: 3, CPU: 1, P99: 5, Messages: 10},
		{Row: "r", Rate: 1, CPU: 9, P99: 7, Messages: 10, Lost: 1, Note: "why"},
		{Row: "r", Rate: 2, CPU: 2, P99: 6, Messages: 10, Unacked: 2},
	})
	if want := (Result{Row: "r", Rate: 2, CPU: 2, P99: 6, Messages: 30, Lost: 1, Unacked: 2, Note: "why"}); got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for i := range 10_000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	h.add(-1)
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, 0}, {0.5, 5 * time.Millisecond}, {0.99, 9900 * time.Microsecond}, {1, 0}} {
		if got := h.quantile(c.q); got > c.want || float64(got) < 0.96*float64(c.want) {
			t.Errorf("quantile %g: %v, want %v less at most 4 %%", c.q, got, c.want)
		}
	}
	h.add(1<<63 - 1) // as large as it can be
}
