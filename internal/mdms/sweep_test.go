package mdms

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestSweeps: at the end of a day every device is looked at, but not all in one turn.
func TestSweeps(t *testing.T) {
	const n = sweepPart + 10
	m := bare(t, clock.New(unix(t0), 1))
	day := cim.DayOf(t0)
	for i := range n {
		m.add(cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%d", i), Interval: 30, Sequence: 1, Firmware: 1, Expected: (day - giveUpDays - 1).Start(), Complete: (day - giveUpDays - 1).Start()})
	}
	behind := func() (n int) {
		for _, d := range m.devices {
			if d.imp.complete < (day - giveUpDays).Start() {
				n++
			}
		}
		return n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = t0
	for turn, want := range []int{10, 0, 0} {
		next := m.watch(t0)
		if got := behind(); got != want {
			t.Fatalf("turn %d: %d devices are behind, want %d", turn, got, want)
		}
		if soon := !next.IsZero() && !next.After(time.Now()); soon != (want > 0) {
			t.Errorf("turn %d: the next one is due at %v", turn, next)
		}
	}
	if m.closing.going || m.looking.going || m.givingUp.going || m.closedHour != t0/3600 {
		t.Errorf("%+v, %+v, %+v", m.closing, m.looking, m.givingUp)
	}
}
