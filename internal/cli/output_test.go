package cli

import (
	"bytes"
	"strconv"
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
