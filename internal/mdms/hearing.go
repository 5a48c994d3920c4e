package mdms

import (
	"time"

	"github.com/wattbus/wattbus/internal/clock"
)

// hearing is the clock of the outage engine: business time, as far as the centre has heard. While batches wait on the bus, because the MDMS
// stood still or has too much to do, it shows when the newest one that was entered came: else devices were silent whose readings lie
// behind, and what happened together would lie minutes apart.
type hearing struct {
	clock *clock.Clock
	shown time.Time // it never goes back
	at    time.Time // what it shows while batches wait, zero while none do
	since time.Time // wall time of the last batch
}

const (
	hearsLate = 2 * time.Second  // how long batches may wait before the clock waits for them
	hearsNone = 30 * time.Second // without a batch, and none is awaited any more
)

// Now implements outage.Clock.
func (h *hearing) Now() time.Time {
	if h.at.IsZero() {
		return h.clock.Now()
	}
	return h.at
}

// Deadline implements outage.Clock.
func (h *hearing) Deadline(wall time.Duration) time.Time {
	return h.Now().Add(time.Duration(float64(wall) * h.clock.Speed()))
}

// turn is told that a turn begins.
func (h *hearing) turn(wall time.Time) {
	h.shown = h.Now()
	if !h.at.IsZero() && wall.Sub(h.since) > hearsNone {
		h.at = time.Time{}
	}
}

// heard is told of a batch that came at a business time, age ago; others wait behind it.
func (h *hearing) heard(at time.Time, age time.Duration, behind uint64, wall time.Time) {
	h.since = wall
	if behind == 0 || age < hearsLate {
		h.at = time.Time{}
		return
	}
	h.at = h.shown
	if at.After(h.at) {
		h.at = at
	}
}
