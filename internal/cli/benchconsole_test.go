package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestConsoleFigures(t *testing.T) {
	var told bytes.Buffer
	b := &consoleBench{bench: &bench{app: &app{Stdio: Stdio{Err: &told}}}}
	b.progress = newProgress(&told, "Console")
	b.row(consoleFigure{What: "within", Value: 90, Worst: 99, Limit: 100, Unit: "ms"},
		consoleFigure{What: "beyond", Value: 90, Worst: 101, Limit: 100, Unit: "ms", Main: 12, Note: "why"},
		consoleFigure{What: "not there", Value: 20_000, Unit: "ms", Failed: 1},
		consoleFigure{What: "no limit", Value: 5, Unit: "1/s"})
	for i, want := range []string{`"within_limit":true`, `"within_limit":false`, `"within_limit":false`, `"unit":"1/s"}`} {
		if text, err := json.Marshal(b.rows[i]); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
	}
	for _, want := range []string{"within: 90, at worst 99 ms, limit 100  ok\n", "beyond: 90, at worst 101 ms, limit 100  MISSED why\n", "not there: 20,000 ms  MISSED\n", "no limit: 5 1/s\n"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%q is not told:\n%s", want, told.String())
		}
	}
}
