package device

import "github.com/wattbus/wattbus/internal/clock"

// WithClock gives a device of a test its time.
func WithClock(o Options, c *clock.Clock) Options {
	o.clock = c
	return o
}
