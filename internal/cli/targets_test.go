package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// numbered are n ids, a line each.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "M%d\n", i)
	}
	return b.String()
}

func TestTargets(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "@" + path
	}
	twelve := uint32(12)
	for given, want := range map[string]api.Target{
		"M1":                             {Meter: "M1"},
		"M1,M2":                          {Meters: []string{"M1", "M2"}},
		"path:C1":                        {Path: "C1"},
		"group:12":                       {Group: &twelve},
		"-":                              {Meters: []string{"M7", "M8"}},
		"query:feeder=F 12,state=online": {Query: &api.TargetQuery{Feeder: "F 12", State: "online"}},
		file("lines", "# the first street\nM1\n\n  M2 \r\nM3"):                        {Meters: []string{"M1", "M2", "M3"}},
		file("sheet.csv", "\ufeffstreet,Meter,since\n\"Main, 1\",M4,2020\nSide,M5\n"): {Meters: []string{"M4", "M5"}},
		file("one.csv", "id\nM6\n"):                                                   {Meter: "M6"},
	} {
		got, err := readTarget(given, strings.NewReader("M7\nM8\n"))
		if err != nil || !reflect.DeepEqual(got.Target, want) {
			t.Errorf("%q: %+v, %v, want %+v", given, got.Target, err, want)
		}
	}
	for given, want := range map[string]string{
		"query:":                                "want path=",
		"query:feder=F1":                        "feder=F1",
		"query:tag=a,tag=b":                     "twice",
		"@" + dir + "/none":                     "no such file",
		file("empty", "# none\n"):               "no meter in it",
		file("wrong", "M1\na/b\n"):              "line 2",
		file("wide", "x,y\nM1,M2\n"):            "none of them named meter",
		file("short", "a,b,meter\n1,2,M1\n3\n"): "line 3",
		"M1,,M/":                                "line 3",
		file("several", "meter\nM1\na/b\nM2\nM1\n\"x\n"):                   "several: 3 of 5 lines are wrong; nothing was sent\n  line 3: ",
		file("twice", "meter\nM1\na/b\nM1\n"):                              "\n  line 4: M1 stands in line 2 already",
		file("semi.csv", "\ufeffmeter;name\r\nM1;a\r\n"):                   "semi.csv: the columns are parted by ';', want commas",
		file("tabs.txt", "meter\tname\nM1\ta\n"):                           "the columns are parted by '\\t', want commas",
		file("utf16.txt", "\xff\xfem\x00e\x00t\x00e\x00r\x00\r\x00\n\x00"): "utf16.txt: it is no text in UTF-8",
		file("long", "meter\n"+numbered(20_001)):                           "long: 20001 meters, want 20000 at most in one command; nothing was sent",
		"group:0":                                                          "group",
	} {
		if _, err := readTarget(given, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", given, err, want)
		}
	}
	if _, err := readTarget("-", nil); err == nil {
		t.Error("without standard input")
	}
}

func TestStart(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for given, want := range map[string]time.Time{"+90m": now.Add(90 * time.Minute), "2026-12-12T18:00:00Z": time.Date(2026, 12, 12, 18, 0, 0, 0, time.UTC)} {
		if got, err := parseStart(given, now); err != nil || got == nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", given, got, err)
		}
	}
	for _, bad := range []string{"+", "+-1m", "tomorrow", "+1"} {
		if _, err := parseStart(bad, now); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// What the centre finds wrong with a meter is told with its line, all of it.
func TestListPlaces(t *testing.T) {
	list, err := readTarget("-", strings.NewReader("name,meter\n\nx,M1\ny,M2\nz,M3\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := render(list.place(&api.Problem{Title: "Not found", Status: 404, Detail: "2 of 3 meters are wrong; nothing was sent to any", Errors: []api.FieldError{
		{Field: "target.meters[0]", Detail: `no meter "M1" is known`}, {Field: "target.meters[2]", Detail: `no meter "M3" is known`}}}))
	want := "Not found: 2 of 3 meters are wrong; nothing was sent to any\n  standard input, line 3: no meter \"M1\" is known\n  standard input, line 5: no meter \"M3\" is known"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	got = render(list.place(&api.Problem{Title: "Not found", Status: 404, Field: "target.meters[1]", Detail: "not there"}))
	if got != "Not found: standard input, line 4: not there" {
		t.Error(got)
	}
	const wrong = `"x": want a number`
	got = render(&api.Problem{Title: "Bad request", Status: 400, Field: "line 2, fuse", Detail: wrong + "; nothing was changed", Errors: []api.FieldError{{Field: "line 2, fuse", Detail: wrong}}})
	if got != `Bad request: line 2, fuse: "x": want a number; nothing was changed` {
		t.Errorf("what is wrong alone is told as %s", got)
	}
}
