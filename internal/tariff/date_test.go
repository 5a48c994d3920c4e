package tariff

import (
	"testing"
	"time"
)

func zone(t testing.TB, name string) *Zone {
	t.Helper()
	z, err := LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func date(t testing.TB, s string) Date {
	t.Helper()
	d, err := ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDaysAreAsLongAsTheClocksMakeThem(t *testing.T) {
	for _, c := range []struct {
		zone, date, start string
		length            time.Duration
	}{
		{"Europe/Zurich", "2026-01-15", "2026-01-14T23:00:00Z", 24 * time.Hour},
		{"Europe/Zurich", "2026-03-29", "2026-03-28T23:00:00Z", 23 * time.Hour},
		{"Europe/Zurich", "2026-10-25", "2026-10-24T22:00:00Z", 25 * time.Hour},
		{"Europe/Zurich", "2024-02-29", "2024-02-28T23:00:00Z", 24 * time.Hour},
		{"Asia/Tokyo", "2026-03-29", "2026-03-28T15:00:00Z", 24 * time.Hour},
		{"Asia/Kathmandu", "2026-03-29", "2026-03-28T18:15:00Z", 24 * time.Hour},
		{"Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", 24*time.Hour + 30*time.Minute},
		{"Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z", 23*time.Hour + 30*time.Minute},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23 * time.Hour}, // midnight does not exist
		{"America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00Z", 25 * time.Hour}, // 23:00 to 24:00 twice
		{"America/St_Johns", "2006-10-29", "2006-10-29T02:30:00Z", 25 * time.Hour},  // at 00:01 back to 23:01 of the day before
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0},                   // the day that Samoa left out
		{"UTC", "1970-01-01", "1970-01-01T00:00:00Z", 24 * time.Hour},
	} {
		z, d := zone(t, c.zone), date(t, c.date)
		if got := time.Unix(z.Start(d), 0).UTC().Format(time.RFC3339); got != c.start || z.Length(d) != c.length {
			t.Errorf("%s %s begins %s and takes %v, want %s and %v", c.zone, c.date, got, z.Length(d), c.start, c.length)
		}
	}
}

// Every instant belongs to one day, and days follow each other without a gap, in zones that do odd things.
func TestDaysTileTime(t *testing.T) {
	for _, name := range []string{"Europe/Zurich", "Australia/Lord_Howe", "America/Sao_Paulo", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca", "Asia/Gaza"} {
		z := zone(t, name)
		for d := date(t, "2005-01-01"); d < date(t, "2012-02-01"); d++ {
			a, b := z.Start(d), z.Start(d+1)
			if b < a {
				t.Fatalf("%s: %v begins after %v", name, d, d+1)
			}
			if a < b && (z.Date(a) != d || z.Date(b-1) != d || z.Date((a+b)/2) != d) {
				t.Fatalf("%s: %v: its instants belong to %v, %v, %v", name, d, z.Date(a), z.Date((a+b)/2), z.Date(b-1))
			}
		}
	}
}

func TestUnknownZone(t *testing.T) {
	for _, name := range []string{"", "Local", "Europe/Zürich", "../etc/passwd", "CEST+2"} {
		if _, err := LoadZone(name); err == nil {
			t.Errorf("zone %q was loaded", name)
		}
	}
}
