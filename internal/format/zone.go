package format

import (
	"fmt"
	"time"
)

// Zone reads the time zone of a declaration: an offset such as +09:00, or a name such as Europe/Zurich. Local is none: it would be
// another one on every machine.
func Zone(s string) (*time.Location, error) {
	if t, err := time.Parse("-07:00", s); err == nil {
		_, off := t.Zone()
		return time.FixedZone(s, off), nil
	}
	loc, err := time.LoadLocation(s)
	if err != nil || s == "Local" {
		return nil, fmt.Errorf("%q, want an offset such as +09:00, or a name such as Europe/Zurich", s)
	}
	return loc, nil
}
