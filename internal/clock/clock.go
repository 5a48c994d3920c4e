package clock

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Clock maps wall time to business time. The zero value is not usable; see Real, New and Parse.
// It is safe for concurrent use.
type Clock struct {
	mu      sync.Mutex
	wall    time.Time // anchor on the wall clock
	at      time.Time // business time at the anchor
	speed   float64   // business seconds per wall second while running
	paused  bool
	changed chan struct{} // closed and replaced whenever the mapping changes
}

// Real returns a clock that shows the wall clock.
func Real() *Clock {
	now := time.Now()
	return &Clock{wall: now, at: now, speed: 1, changed: make(chan struct{})}
}

// New returns a clock that shows start now and runs speed business seconds per wall second; speed must be positive.
func New(start time.Time, speed float64) *Clock {
	return &Clock{wall: time.Now(), at: start, speed: speed, changed: make(chan struct{})}
}

// Parse reads "real" (or nothing), or START@ANCHORxSPEED with RFC 3339 times: the clock showed START when the wall clock
// showed ANCHOR and runs at SPEED. Processes given the same text agree on the time, also after a restart.
func Parse(s string) (*Clock, error) {
	if s == "" || s == "real" {
		return Real(), nil
	}
	const form = `want "real" or START@ANCHORxSPEED with RFC 3339 times, such as 2018-12-12T23:00:00Z@2026-01-01T00:00:00Zx60`
	start, rest, ok := strings.Cut(s, "@")
	if !ok {
		return nil, fmt.Errorf("clock %q: no '@': %s", s, form)
	}
	i := strings.LastIndexByte(rest, 'x')
	if i < 0 {
		return nil, fmt.Errorf("clock %q: no 'x' before the speed: %s", s, form)
	}
	at, err := time.Parse(time.RFC3339Nano, start)
	if err != nil {
		return nil, fmt.Errorf("clock %q: start %q is not a time: %s", s, start, form)
	}
	wall, err := time.Parse(time.RFC3339Nano, rest[:i])
	if err != nil {
		return nil, fmt.Errorf("clock %q: anchor %q is not a time: %s", s, rest[:i], form)
	}
	speed, err := strconv.ParseFloat(rest[i+1:], 64)
	if err != nil || !(speed > 0 && speed <= 1e6) {
		return nil, fmt.Errorf("clock %q: speed %q: want a number above 0, at most 1000000", s, rest[i+1:])
	}
	return &Clock{wall: wall, at: at, speed: speed, changed: make(chan struct{})}, nil
}

// String gives the text from which Parse makes a clock that agrees with c.
func (c *Clock) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.UTC().Format(time.RFC3339Nano) + "@" + c.wall.UTC().Format(time.RFC3339Nano) + "x" +
		strconv.FormatFloat(c.speed, 'g', -1, 64)
}

// Now returns the business time, in UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Time {
	if c.paused {
		return c.at.UTC()
	}
	return c.at.Add(time.Duration(float64(time.Since(c.wall)) * c.speed)).UTC()
}

// Unix returns the business time in whole seconds since the epoch, as the messages of the contract carry it.
func (c *Clock) Unix() uint32 { return uint32(c.Now().Unix()) }

// Speed returns the business seconds per wall second while the clock runs, also when it is paused.
func (c *Clock) Speed() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.speed
}

// Paused reports whether the clock stands still.
func (c *Clock) Paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// Pause makes the clock stand still until Resume.
func (c *Clock) Pause() { c.set(func() { c.paused = true }) }

// Resume lets a paused clock run on from where it stood.
func (c *Clock) Resume() { c.set(func() { c.paused = false }) }

// SetSpeed changes the speed; speed must be positive.
func (c *Clock) SetSpeed(speed float64) { c.set(func() { c.speed = speed }) }

func (c *Clock) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.wall = c.now(), time.Now()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// Deadline returns the business time at which the wall duration d will have passed if the clock runs at its speed, so
// that "expires in 30 seconds" means 30 seconds to the person who said it.
func (c *Clock) Deadline(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now().Add(time.Duration(float64(d) * c.speed))
}

// WaitUntil returns nil once the business time is t or later, following changes of speed and pauses, or ctx's error.
func (c *Clock) WaitUntil(ctx context.Context, t time.Time) error {
	for {
		c.mu.Lock()
		left := t.Sub(c.now())
		changed, paused := c.changed, c.paused
		wall := time.Duration(float64(left) / c.speed)
		c.mu.Unlock()
		if left <= 0 {
			return ctx.Err()
		}
		var tick <-chan time.Time
		if !paused {
			// A day at most, so that a far time cannot overflow the division above.
			timer := time.NewTimer(min(max(wall, time.Microsecond), 24*time.Hour))
			defer timer.Stop()
			tick = timer.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick:
		case <-changed:
		}
	}
}
