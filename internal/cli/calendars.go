package cli

import (
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/reload"
)

// loadCalendars reads the files of --calendars, and has them read again when they change.
func (o *centerOptions) loadCalendars(c *center) (func() export.CalendarSet, error) {
	if len(o.calendars) == 0 {
		return nil, nil
	}
	var now atomic.Pointer[export.CalendarSet]
	load := func() error {
		set, err := export.LoadCalendars(o.calendars...)
		if err == nil {
			now.Store(&set)
		}
		return err
	}
	if err := load(); err != nil {
		return nil, &usageError{err: err}
	}
	c.watch = append(c.watch, reload.Source{Name: "tariff calendars", Files: o.calendars, Load: load})
	return func() export.CalendarSet { return *now.Load() }, nil
}
