package tariff

import (
	"os"
	"testing"
	"time"
)

func example(t testing.TB) *Calendar {
	t.Helper()
	c, err := Load("../../examples/tariff-day-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHolidays(t *testing.T) {
	c := example(t)
	for d, want := range map[string]string{
		"2026-01-01": "New Year", "2026-04-03": "Good Friday", "2026-04-06": "Easter Monday", "2026-05-14": "Ascension Day",
		"2026-05-25": "Whit Monday", "2026-09-20": "Day of Prayer", "2026-06-12": "Works for the new substation", "2027-06-12": "",
		"2019-04-19": "Good Friday", "2024-03-29": "Good Friday", "2026-04-04": "", "2026-12-26": "St Stephen",
	} {
		if got := c.Holiday(date(t, d)); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
	if got := c.DayType(date(t, "2026-12-25")); got != "rest" {
		t.Errorf("Christmas is of type %s", got)
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct{ key, rule, date string }{
		{"rule", "1st monday of september", "2026-09-07"},
		{"rule", "last mon of may", "2026-05-25"},
		{"rule", "last sat of dec", "2026-12-26"},
		{"rule", "4th thu of november", "2026-11-26"},
		{"rule", "mon on-or-before 05-24", "2026-05-18"},
		{"rule", "sat on-or-after 06-20", "2026-06-20"},
		{"easter", "-47", "2026-02-17"},
		{"date", "02-29", "2028-02-29"},
		{"date", "2026-07-03", "2026-07-03"},
	} {
		h := holiday{name: "x"}
		var err error
		switch c.key {
		case "rule":
			h.rule, err = weekdayRule(c.rule)
		case "easter":
			h.rule, err = easterRule(c.rule)
		case "date":
			h.rule, err = dateRule(c.rule)
		}
		if err != nil {
			t.Fatal(err)
		}
		d := date(t, c.date)
		if !h.falls(d) || h.falls(d-1) || h.falls(d+1) {
			t.Errorf("%s %q does not fall on %s only", c.key, c.rule, c.date)
		}
	}
	rule, err := dateRule("02-29")
	if err != nil {
		t.Fatal(err)
	}
	if h := (holiday{rule: rule}); h.falls(date(t, "2027-03-01")) || h.falls(date(t, "2027-02-28")) {
		t.Error("02-29 falls on another day in a year that has none")
	}
	for _, c := range []struct{ observed, holiday, day string }{
		{observedMonday, "12-26", "2026-12-28"},  // a Saturday
		{observedNearest, "07-04", "2026-07-03"}, // a Saturday
		{observedNearest, "07-04", "2027-07-05"}, // a Sunday
		{observedSunday, "05-03", "2026-05-04"},  // a Sunday
		{observedNearest, "01-01", "2021-12-31"}, // of the year to come
	} {
		rule, err := dateRule(c.holiday)
		if err != nil {
			t.Fatal(err)
		}
		if h := (holiday{rule: rule, observed: c.observed}); !h.falls(date(t, c.day)) {
			t.Errorf("%s, observed %s, is no holiday on %s", c.holiday, c.observed, c.day)
		}
	}
}

// Stretches agree with the clock on the wall, minute by minute, over days on which clocks change.
func TestStretchesFollowTheClock(t *testing.T) {
	c := example(t)
	for _, name := range []string{"Europe/Zurich", "Australia/Lord_Howe", "America/St_Johns", "America/Sao_Paulo", "Asia/Kathmandu"} {
		z := zone(t, name)
		for _, day := range []string{"2018-02-17", "2018-11-03", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2028-02-28"} {
			from, to := z.Start(date(t, day)), z.Start(date(t, day)+3)
			at, i := from, 0
			st := c.Stretches(z, from, to)
			for ; at < to; at += 60 {
				for st[i].To <= at {
					i++
				}
				if st[i].From > at {
					t.Fatalf("%s: %v is in no stretch", name, z.Time(at))
				}
				if want := c.wall(z, at); st[i].TOU != want {
					t.Fatalf("%s: %v is %s, want %s", name, z.Time(at), c.TOU[st[i].TOU], c.TOU[want])
				}
			}
			if st[0].From != from || st[len(st)-1].To != to {
				t.Fatalf("%s: stretches of [%d, %d) are [%d, %d)", name, from, to, st[0].From, st[len(st)-1].To)
			}
		}
	}
}

// wall looks a TOU up the plain way: by the hands of the clock.
func (c *Calendar) wall(z *Zone, at int64) int {
	h, m, _ := z.Time(at).Clock()
	d := z.Date(at)
	for _, s := range c.times[c.seasonOf(d)*len(c.types)+c.typeOf(d)] {
		if s.from <= h*3600+m*60 && h*3600+m*60 < s.to {
			return s.tou
		}
	}
	return -1
}

func TestStretchesOfALongDay(t *testing.T) {
	c, z := example(t), zone(t, "Europe/Zurich")
	sum := map[int]int64{}
	d := date(t, "2026-10-26") // Monday behind the change of the clocks
	for _, s := range c.Stretches(nil, z.Start(d-1), z.Start(d+1)) {
		sum[s.TOU] += s.To - s.From
	}
	// Sunday: 25 hours low. Monday in winter: 8 low, 13 high, 3 peak.
	if sum[0] != 33*3600 || sum[1] != 13*3600 || sum[2] != 3*3600 {
		t.Errorf("seconds by TOU: %v", sum)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("../../examples/tariff-day-night.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("name: a\nzone: UTC\ntou: [x]\nday-types: [{name: d, days: [mon,tue,wed,thu,fri,sat,sun]}]\nperiods: [{day-type: d, times: [{from: 00:00, to: 24:00, tou: x}]}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("name: 1\n---\n"))
	f.Add([]byte("- 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f.yaml", text)
		if err != nil {
			return
		}
		z := zone(t, "Europe/Zurich")
		from := z.Start(DateOf(2026, time.March, 28))
		end := from
		for _, s := range c.Stretches(z, from, from+5*86400) {
			if s.From != end || s.To <= s.From || s.TOU < 0 || s.TOU >= len(c.TOU) {
				t.Fatalf("stretch %+v behind %d", s, end)
			}
			end = s.To
		}
		if end != from+5*86400 {
			t.Fatalf("stretches end at %d", end)
		}
	})
}
