package format

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestError(t *testing.T) {
	e := At("import", 12, ErrValue, "digit 0x%x", 0xc)
	if got, want := e.Error(), "import at offset 12: digit 0xc: value outside its range"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e.Line = 3
	if got, want := e.Error(), "import in line 3 at offset 12: digit 0xc: value outside its range"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if Reason(fmt.Errorf("x: %w", e)) != "value" || Reason(errors.New("x")) != "other" {
		t.Error("reasons")
	}
	for _, r := range reasons {
		if Reason(r.err) != r.name {
			t.Error(r.name)
		}
	}
}

func TestZone(t *testing.T) {
	for s, off := range map[string]int{"+09:00": 9 * 3600, "-03:30": -12600, "Asia/Tokyo": 9 * 3600, "UTC": 0} {
		l, err := Zone(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := time.Unix(0, 0).In(l).Zone(); got != off {
			t.Errorf("%s: %d s, want %d", s, got, off)
		}
	}
	for _, s := range []string{"Local", "Mars", "+9"} {
		if _, err := Zone(s); err == nil {
			t.Error(s)
		}
	}
}

// A local time that comes twice is taken for its first pass in every zone, and one that never comes is none.
func TestLocal(t *testing.T) {
	for _, tc := range []struct{ zone, local, first, second string }{
		{"Europe/Zurich", "2026-10-25 01:59", "2026-10-24T23:59:00Z", "2026-10-24T23:59:00Z"},
		{"Europe/Zurich", "2026-10-25 02:00", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
		{"Europe/Zurich", "2026-10-25 02:59", "2026-10-25T00:59:00Z", "2026-10-25T01:59:00Z"},
		{"Europe/Zurich", "2026-10-25 03:00", "2026-10-25T02:00:00Z", "2026-10-25T02:00:00Z"},
		{"Europe/Zurich", "2026-03-29 01:59", "2026-03-29T00:59:00Z", "2026-03-29T00:59:00Z"},
		{"Europe/Zurich", "2026-03-29 02:30", "", ""},
		{"Europe/Zurich", "2026-03-29 03:00", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"},
		{"America/New_York", "2026-11-01 01:30", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"},
		{"Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"},
		{"Europe/Zurich", "2060-10-31 02:30", "2060-10-31T00:30:00Z", "2060-10-31T01:30:00Z"},
		{"+09:00", "2026-02-29 12:00", "", ""},
		{"UTC", "2026-02-28 12:00", "2026-02-28T12:00:00Z", "2026-02-28T12:00:00Z"},
	} {
		zone, err := Zone(tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		var y, mo, d, h, mi int
		if _, err := fmt.Sscanf(tc.local, "%d-%d-%d %d:%d", &y, &mo, &d, &h, &mi); err != nil {
			t.Fatal(err)
		}
		first, again, ok := Local(y, mo, d, h, mi, 0, zone)
		if ok != (tc.first != "") {
			t.Errorf("%s %s: %v, %v", tc.zone, tc.local, first, ok)
		}
		if !ok {
			continue
		}
		if a, b := time.Unix(first, 0).UTC().Format(time.RFC3339), time.Unix(again, 0).UTC().Format(time.RFC3339); a != tc.first || b != tc.second {
			t.Errorf("%s %s: %s and %s, want %s and %s", tc.zone, tc.local, a, b, tc.first, tc.second)
		}
	}
}
