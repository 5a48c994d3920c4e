package tariff

import (
	"testing"
	"time"
)

func TestClockRules(t *testing.T) {
	for _, c := range []struct {
		zone       string
		std, plus  int64
		start, end uint32
	}{
		// last Sunday of March 02:00, of October 03:00
		{"Europe/Zurich", 3600, 3600, 3<<28 | 7<<25 | 7<<17 | 2<<12, 10<<28 | 7<<25 | 7<<17 | 3<<12},
		// second Sunday of March, first of November, 02:00
		{"America/New_York", -18000, 3600, 3<<28 | 3<<25 | 7<<17 | 2<<12, 11<<28 | 2<<25 | 7<<17 | 2<<12},
		// first Sundays of October and April, by half an hour
		{"Australia/Lord_Howe", 37800, 1800, 10<<28 | 2<<25 | 7<<17 | 2<<12, 4<<28 | 2<<25 | 7<<17 | 2<<12},
		{"Asia/Tokyo", 9 * 3600, 0, 0xFFFFFFFF, 0xFFFFFFFF},
	} {
		r := zone(t, c.zone).Rules(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).Unix())
		if r.Standard != c.std || r.Offset != c.plus || r.Start.ESPI() != c.start || r.End.ESPI() != c.end {
			t.Errorf("%s: %+v, start %08X end %08X, want %08X and %08X", c.zone, r, r.Start.ESPI(), r.End.ESPI(), c.start, c.end)
		}
	}
}
