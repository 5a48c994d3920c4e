package eeb

import (
	"testing"
	"time"
)

// A trickle is told by its rate, not by the size of what was committed last: that is small because it was committed at once.
func TestTrickleIsARate(t *testing.T) {
	var rate trickle
	now := time.Unix(1e9, 0)
	come := func(n int, every, lasts time.Duration) {
		for range lasts / every {
			now = now.Add(every)
			rate.add(n, now)
		}
	}
	if !rate.low() {
		t.Error("nothing came, and it is no trickle")
	}
	if come(1, 4*time.Millisecond, time.Second); !rate.low() {
		t.Error("250/s are no trickle")
	}
	if come(10, 2*time.Millisecond, time.Second); rate.low() {
		t.Error("5,000/s, ten at a time, are a trickle")
	}
	if come(1, time.Second, time.Second); !rate.low() {
		t.Error("a single one behind a second without any is no trickle")
	}
}
