package cli

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	type row struct {
		N int    `json:"n"`
		S string `json:"s"`
	}
	items := []row{{1, "a, b"}, {1067040, ""}}
	columns := []column[row]{
		{"n", func(r row) string { return strconv.Itoa(r.N) }},
		{"text", func(r row) string { return r.S }},
	}
	for format, want := range map[string]string{
		"table": "N        TEXT\n1        a, b\n1067040  -\n",
		"csv":   "n,text\n1,\"a, b\"\n1067040,\n",
		"json":  "{\"n\":1,\"s\":\"a, b\"}\n{\"n\":1067040,\"s\":\"\"}\n",
	} {
		var b bytes.Buffer
		if err := write(&b, output{format: format}, items, columns); err != nil || b.String() != want {
			t.Errorf("%s: %q, %v; want %q", format, b.String(), err, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1067040: "1,067,040", -1000: "-1,000", -999: "-999"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
	for f, want := range map[float64]float64{0.99999: 99.9, 1: 100, 0: 0, 0.5: 50} {
		if got := floorPercent(f); got != want {
			t.Errorf("floorPercent(%v) = %v, want %v", f, got, want)
		}
	}
}

// Times are shown in the zone that is wanted, in tables and CSV; JSON stays as it is, and so does what is no time.
func TestTimes(t *testing.T) {
	items := []string{"2018-12-12T23:02:00Z", "from 2018-07-01T00:00:00Z on", "2018-12-12"}
	columns := []column[string]{{"id", func(string) string { return "1" }}, {"at", func(s string) string { return s }}}
	for times, want := range map[string]string{
		"utc":           "1   2018-12-12T23:02:00Z\n",
		"Europe/Zurich": "1   2018-12-13T00:02:00+01:00\n1   from 2018-07-01T02:00:00+02:00 on\n1   2018-12-12\n",
		"Asia/Tokyo":    "1   2018-12-13T08:02:00+09:00\n",
	} {
		o := output{format: "table", times: times}
		var b bytes.Buffer
		if err := o.check(&app{Stdio: Stdio{Out: &b, Env: func(string) (string, bool) { return "", false }}}); err != nil {
			t.Fatal(err)
		}
		if err := write(&b, o, items, columns); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %q, %v; want %q in it", times, b.String(), err, want)
		}
	}
	if _, errs, status := call(t, nil, "meters", "--times", "Mars"); status != ExitUsage || !strings.Contains(errs, `flag --times: value "Mars", want utc, local or the name of a time zone`) {
		t.Errorf("status %d, %s", status, errs)
	}
}
