package mdms

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseDeadline(t *testing.T) {
	for in, want := range map[string]string{"30m": "30m", "1800s": "30m", "90m": "1h30m", "2h": "2h", "24h": "1d", "3d": "3d", "45s": "45s", "1m30s": "1m30s",
		"06:00": "06:00@UTC", "06:05@Europe/Zurich": "06:05@Europe/Zurich", "0:00@Asia/Tokyo": "00:00@Asia/Tokyo"} {
		d, err := ParseDeadline(in)
		if err != nil || d.String() != want {
			t.Errorf("%s: %v, %v, want %s", in, d, err, want)
			continue
		}
		if again, err := ParseDeadline(d.String()); err != nil || again.String() != want {
			t.Errorf("%s: %v, %v", want, again, err)
		}
	}
	for _, in := range []string{"", "x", "d", "-1d", "31d", "999d", "0s", "-3m", "1ms", "24:00", "06:60", "06:00@", "06:00@Nowhere/Land", "06:00@Local", "30m@UTC",
		"06:00@../../etc/passwd", strings.Repeat("9", 1000), "6h 30m"} {
		if d, err := ParseDeadline(in); in != "06:00@" && (err == nil || !errors.Is(err, ErrDeadline) || len(err.Error()) > 300) {
			t.Errorf("%.40q: %v, %v", in, d, err)
		}
	}
	many := make([]Deadline, maxDeadlines+1)
	for i := range many {
		many[i].After = time.Duration(i+1) * time.Hour
	}
	if CheckDeadlines(many) == nil || CheckDeadlines(many[:maxDeadlines]) != nil || CheckDeadlines([]Deadline{many[0], many[0]}) == nil ||
		CheckDeadlines([]Deadline{{}}) == nil || CheckDeadlines(nil) != nil {
		t.Error("lists of deadlines are not checked")
	}
}

// TestDeadlinesPass: an interval's deadline has passed when passed says so, over the changes of clocks in zones that change them
// at night, at midnight so that there is none, and so that there are two.
func TestDeadlinesPass(t *testing.T) {
	const from, to = 1_514_764_800, 1_546_300_800 // 2018
	for _, word := range []string{"30m", "3d", "06:00", "06:00@Europe/Zurich", "00:30@America/Santiago", "06:00@America/Havana", "23:45@Asia/Kolkata"} {
		x, err := ParseDeadline(word)
		if err != nil {
			t.Fatal(err)
		}
		d := due{Deadline: x}
		last := int64(0)
		for end := uint32(from); end < to; end += 1800 {
			at := d.by(end)
			if at < last {
				t.Fatalf("%s: the deadline of %v is before that of the interval before it", word, unix(end))
			}
			last = at
			if x.passed(uint32(at)) < end || x.passed(uint32(at-1)) >= end {
				t.Fatalf("%s: %v is due %v, and has passed up to %v, a second before up to %v", word, unix(end), unix(uint32(at)), unix(x.passed(uint32(at))), unix(x.passed(uint32(at-1))))
			}
		}
	}
	d := due{Deadline: Deadline{After: 6 * time.Hour, Zone: must[*time.Location](t)(time.LoadLocation("Europe/Zurich"))}}
	for end, want := range map[string]string{"2018-10-27T22:00:00Z": "2018-10-28T05:00:00Z", "2018-10-27T22:00:01Z": "2018-10-29T05:00:00Z", "2018-10-28T23:00:00Z": "2018-10-29T05:00:00Z",
		"2018-03-24T10:00:00Z": "2018-03-25T04:00:00Z", "2018-03-25T22:00:00Z": "2018-03-26T04:00:00Z"} {
		e := must[time.Time](t)(time.Parse(time.RFC3339, end))
		if got := time.Unix(d.by(uint32(e.Unix())), 0).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%s: due %s, want %s", end, got, want)
		}
	}
}
