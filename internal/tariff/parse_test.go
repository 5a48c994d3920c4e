package tariff

import (
	"errors"
	"os"
	"strings"
	"testing"
)

const whole = `name: flat
zone: Europe/Zurich
tou: [low, high]
day-types:
  - {name: all, days: [mon, tue, wed, thu, fri, sat, sun]}
periods:
  - day-type: all
    times:
      - {from: 00:00, to: 06:00, tou: low}
      - {from: 06:00, to: 24:00, tou: high}
`

// One wrong file per rule: what is changed, and what the error must say, with its line.
func TestErrorsSayWhereAndWhat(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"06:00, to: 24:00", "07:00, to: 24:00", "c.yaml:10: periods[0].times: 06:00 to 07:00 is missing"},
		{"06:00, to: 24:00", "05:30, to: 24:00", "c.yaml:10: periods[0].times: 05:30 to 06:00 is there twice, also in line 9"},
		{"to: 24:00", "to: 23:00", "c.yaml:10: periods[0].times: 23:00 to 24:00 is missing"},
		{"from: 00:00", "from: 00:30", "c.yaml:9: periods[0].times: 00:00 to 00:30 is missing"},
		{"to: 24:00", "to: 25:00", `c.yaml:10: periods[0].times[1].to: "25:00" is no time of the day`},
		{"to: 24:00", "to: 6:00", `"6:00" is no time of the day, want one such as 06:00`},
		{"06:00, to: 24:00", "06:00, to: 02:00", "c.yaml:10: periods[0].times[1]: from 06:00 to 02:00 is no time; divide"},
		{"tou: high}", "tou: hihg}", `c.yaml:10: periods[0].times[1].tou: "hihg" is no name in tou`},
		{"Europe/Zurich", "Europe/Zurick", `c.yaml:2: zone: "Europe/Zurick" is no time zone`},
		{"name: flat", "name: flat\nname: flat2", "stands there twice, first in line 1"},
		{"name: flat\n", "", "c.yaml:1: name: is missing"},
		{"name: flat", "name: a/b", `c.yaml:1: name: "a/b", want at most 64 letters`},
		{"tou: [low, high]", "tou: [low, low, high]", `c.yaml:3: tou[1]: "low" stands there twice`},
		{"tou: [low, high]", "tou: [low, high, total]", `"total" is the name of the sum`},
		{"tou: [low, high]", "tou: []", "c.yaml:3: tou: 0 names, want 1 to 63"},
		{", sun]", "]", "c.yaml:5: day-types: sun is in no day type"},
		{", sun]", ", sun, mon]", "mon is in all and in all: each day must be in one type only"},
		{", sun]", ", sunday]", `day-types[0].days[6]: "sunday", want some of sun, mon`},
		{"name: flat", "name: flat\nholidays: [{name: X, date: 12-25}]", "holiday is in no day type"},
		{"name: flat", "name: flat\nholidays: [{name: X, date: 13-25}]", `c.yaml:2: holidays[0].date: "13-25" is no date`},
		{"name: flat", "name: flat\nholidays: [{name: X, date: 2026-02-29}]", `holidays[0].date: "2026-02-29" is no date`},
		{"name: flat", "name: flat\nholidays: [{name: X, easter: soon}]", `holidays[0].easter: "soon" is no distance from Easter`},
		{"name: flat", "name: flat\nholidays: [{name: X, rule: 5th mon of may}]", `holidays[0].rule: "5th mon of may" is no rule`},
		{"name: flat", "name: flat\nholidays: [{name: X}]", "holidays[0]: want one of date, easter, rule; 0 are there"},
		{"name: flat", "name: flat\nholidays: [{name: X, easter: 1, date: 12-25, observed: tuesday}]", "2 are there"},
		{"name: flat", "name: flat\nseasons: [{name: a, from: 01-01, to: 02-28}, {name: b, from: 03-01, to: 12-31}]", "c.yaml:2: seasons: 02-29 is in no season"},
		{"name: flat", "name: flat\nseasons: [{name: a, from: 01-01, to: 03-01}, {name: b, from: 03-01, to: 12-31}]", "03-01 is in a and b"},
		{"name: flat", "name: flat\nseasons: [{name: a, from: 01-01, to: 02-30}]", `seasons[0].to: "02-30" is no day of the year`},
		{"name: flat", "name: flat\nseasons: [{name: a, from: 01-01, to: 06-30}, {name: b, from: 07-01, to: 12-31}]\n#", ""},
		{"name: flat", "name: flat\nvalid: {from: 2026-01-01, to: 2026-01-01}", "c.yaml:2: valid: from 2026-01-01 to 2026-01-01 is no time"},
		{"name: flat", "name: flat\nvalid: {from: 01.01.2026}", `valid.from: "01.01.2026" is no date, want one such as`},
		{"name: flat", "name: flat\ndemand: [{name: x, window: 7m}]", `c.yaml:2: demand[0].window: "7m", want whole minutes that divide a day`},
		{"name: flat", "name: flat\ndemand: [{name: x, window: 30m, sliding: maybe}]", `demand[0].sliding: "maybe", want true or false`},
		{"name: flat", "name: flat\ncolour: red", "c.yaml:2: colour: unknown key, want name, zone"},
		{"day-type: all", "day-type: al", `c.yaml:7: periods[0].day-type: "al" is no day type of this file`},
		{"day-type: all", "day-type: all\n    season: spring", `c.yaml:8: periods[0].season: "spring" is no season of this file`},
		{"periods:", "periods:\n  - {day-type: all, times: [{from: 00:00, to: 24:00, tou: low}]}", "day type all has times already, in line 7"},
		{"days: [mon, ", "days: [", "mon is in no day type"},
		{whole, "", "c.yaml:1: calendar: the file is empty"},
		{whole, "- a\n", "c.yaml:1: calendar: want keys and values"},
		{whole, "name: [", "c.yaml: yaml:"},
		{whole, whole + "---\n" + whole, "several documents"},
		{whole, "name: a\nzone: UTC\ntou: &x [*x]\n", "c.yaml:"},
	} {
		text := strings.Replace(whole, c.old, c.new, 1)
		_, err := Parse("c.yaml", []byte(text))
		switch {
		case c.want == "" && err == nil:
		case err == nil:
			t.Errorf("%q instead of %q: no error, want %q", c.new, c.old, c.want)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%q instead of %q: error %q, want %q", c.new, c.old, err, c.want)
		}
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Parse("c.yaml", []byte(strings.NewReplacer("Europe/Zurich", "Mars", "name: flat", "name: a b").Replace(whole)))
	var first *Error
	if !errors.As(err, &first) || first.Line != 1 || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("errors are\n%v\nwant two, the first in line 1", err)
	}
	// What holds when is read whatever is wrong elsewhere; a name is not missed that could not be read.
	_, err = Parse("c.yaml", []byte(strings.NewReplacer("Europe/Zurich", "Mars", "low, high]", "low, high, total]", "to: 06:00", "to: 6", "day-type: all", "season: x\n    day-type: y").Replace(whole)))
	for _, want := range []string{"c.yaml:2: zone", "c.yaml:3: tou[2]", `c.yaml:7: periods[0].season: "x"`, `c.yaml:8: periods[0].day-type: "y"`, `c.yaml:10: periods[0].times[0].to: "6"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n != 4 {
		t.Errorf("%d errors:\n%v", n+1, err)
	}
	_, err = Parse("c.yaml", []byte(whole+"holidays: ["+strings.Repeat("{name: X, date: no},", 25)+"]\n"))
	if err == nil || !strings.HasSuffix(err.Error(), "c.yaml: 6 more things are wrong") {
		t.Errorf("too many: %v", err)
	}
}

func TestLoadFailures(t *testing.T) {
	if _, err := Load("testdata/absent.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := Parse("c.yaml", make([]byte, maxFile+1)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("large file: %v", err)
	}
}
