package eeb

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/record"
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

// TestUrgent: only the result of a breaker hurries the batch that it is in.
func TestUrgent(t *testing.T) {
	for op := record.OpRead; op <= record.OpFirmwareDrop; op++ {
		if want := op == record.OpDisconnect || op == record.OpReconnect; urgent(record.Result{Opcode: op}.Append(nil)) != want {
			t.Errorf("opcode %d: want %v", op, want)
		}
	}
	if urgent([]byte("nonsense")) {
		t.Error("nonsense")
	}
}
