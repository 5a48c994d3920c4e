package vee

import (
	"fmt"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	r, err := Load("r.yaml", []byte("zone: Europe/Zurich\nholidays: [2026-12-25]\nspike:\n  severity: suspect\n  ratio: 2.5\nestimation:\n  after: 96h\n  suspect: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Severity[Spike] != Suspect || r.SpikeRatio != 2.5 || r.EstimateAfter.Hours() != 96 || !r.EstimateSuspect || !r.Holiday("2026-12-25") || r.Location().String() != "Europe/Zurich" {
		t.Errorf("%+v", r)
	}
	if r.ID() == Default().ID() || len(r.ID()) != 12 {
		t.Errorf("id %q", r.ID())
	}
	again, err := Load("again", []byte(r.String()))
	if err != nil || again.ID() != r.ID() {
		t.Errorf("what a rule set writes of itself does not read as the same: %v", err)
	}
	empty, err := Load("empty", nil)
	if err != nil || empty.ID() != Default().ID() {
		t.Errorf("an empty file is not the defaults: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"spikes: 1\n":                               `r.yaml:1: there is no "spikes"; allowed are zone, holidays, duplicate, clock`,
		"spike:\n  ration: 2\n":                     `r.yaml:2: there is no "spike.ration" in spike; allowed are severity, ratio, floor`,
		"spike:\n  ratio: many\n":                   `r.yaml:2: spike.ratio is "many", want a number from 0.1 to 1000 ((highest - third-highest) / third-highest`,
		"spike:\n  ratio: -1\n":                     `spike.ratio is "-1", want a number from`,
		"spike:\n  ratio: .nan\n":                   `spike.ratio is ".nan"`,
		"spike:\n  ratio: NaN\n":                    `spike.ratio is "NaN"`,
		"spike:\n  ratio: [1]\n":                    `spike.ratio is a list or a mapping, want a number`,
		"spike: 3\n":                                `r.yaml:1: spike is "3", want keys with values`,
		"- a\n":                                     `want keys with values`,
		"spike:\n  severity: bad\n":                 `spike.severity is "bad", want one of off, info, warning, suspect, failed`,
		"spike:\n  ratio: 2\n  ratio: 3\n":          `spike`,
		"zone: Nowhere/Land\n":                      `zone is "Nowhere/Land", want the IANA name`,
		"zone: [a]\n":                               `zone is a list`,
		"holidays: 2026-12-25\n":                    `holidays is "2026-12-25", want a list`,
		"holidays: [Christmas]\n":                   `holidays: "Christmas" is no date`,
		"zero:\n  for: 36\n":                        `zero.for is "36", want a duration such as 36h or 90m, from 1h0m0s`,
		"estimation:\n  suspect: maybe\n":           `estimation.suspect is "maybe", want true or false`,
		"estimation:\n  minSamples: 5\n":            `estimation.minSamples is 5, want at most estimation.samples, which is 3`,
		"estimation:\n  prolongedAfter: 9\n":        `want at most estimation.cap`,
		"highlow:\n  low: 1\n  high: 1\n":           `highlow.low is 1, want less than highlow.high`,
		"profile:\n  weekday: [1, 2]\n":             `profile.weekday has 2 weights`,
		"profile:\n  weekday: [1, x]\n":             `profile.weekday is "x", want a number`,
		"a: b: c":                                   `r.yaml: yaml`,
		"spike: &a\n  ratio: 2\nhighlow: *a\n":      `highlow is "a"`,
		"#" + strings.Repeat("x", maxFile):          `a rule set has at most`,
		"zone: UTC\nzone: UTC\n":                    `zone`,
		"profile:\n  weekend: [" + zeros() + "0]\n": `profile.weekend has 24 weights with the sum 0`,
	} {
		if _, err := Load("r.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v\nwant an error with %q", text, err, want)
		}
	}
}

// TestAllErrorsAtOnce: who mends a file learns at once of all that is wrong in it.
func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Load("r.yaml", []byte("zone: Mars\nspike:\n  ratio: many\n  severity: bad\nspikes: 1\nzero: 3\nholidays: [x, 2026-12-25, y]\nhighlow:\n  low: 1\n  high: 1\n"))
	want := []string{`r.yaml:3: spike.ratio is "many", want a number`, `r.yaml:4: spike.severity is "bad", want one of`, `r.yaml:5: there is no "spikes"`,
		`r.yaml:6: zero is "3", want keys`, `r.yaml:1: zone is "Mars", want the IANA name`, `r.yaml:7: holidays: "x" is no date`, `r.yaml:7: holidays: "y" is no date`,
		`r.yaml:9: highlow.low is 1, want less than`}
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, w := range want {
		if i >= len(lines) || !strings.HasPrefix(lines[i], w) {
			t.Errorf("line %d of\n%v\nwant %s", i+1, err, w)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d errors, want %d:\n%v", len(lines), len(want), err)
	}
	many := ""
	for i := range maxErrors + 5 {
		many += fmt.Sprintf("rule%d: 1\n", i)
	}
	_, err = Load("r.yaml", []byte(many))
	if err == nil || strings.Count(err.Error(), "\n") != maxErrors || !strings.HasSuffix(err.Error(), "r.yaml: 5 more things are wrong") {
		t.Errorf("too many: %v", err)
	}
	if _, err := Load("r.yaml", []byte("zone: UTC\n---\nzone: UTC\n")); err == nil || !strings.Contains(err.Error(), "several documents") {
		t.Errorf("two documents: %v", err)
	}
}

func zeros() string { return strings.Repeat("0, ", 23) }

func FuzzLoad(f *testing.F) {
	f.Add([]byte("spike:\n  ratio: 2.5\n"))
	f.Add([]byte(Default().String()))
	f.Add([]byte("holidays: [2026-12-25]\nzero: {for: 48h}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Load("f", text)
		if err != nil {
			return
		}
		again, err := Load("again", []byte(r.String()))
		if err != nil || again.ID() != r.ID() {
			t.Fatalf("%v; wrote:\n%s", err, r)
		}
	})
}
