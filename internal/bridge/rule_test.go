package bridge

import (
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	for line, want := range map[string]string{
		"#":                         `# out 0 "" ""`,
		"topic # both 2":            `# both 2 "" ""`,
		"a/+/b in 1 local/ remote/": `a/+/b in 1 local/ remote/`,
		`# out 1 "" site/`:          `# out 1 "" site/`,
		`"" out 1 here there`:       `"" out 1 here there`,
		"topic":                     `topic topic out 0 "" ""`,
		" #  in   1  x/   \"\" ":    `# in 1 x/ ""`,
		"$SYS/# in 0 up/":           `$SYS/# in 0 up/ ""`,
	} {
		r, err := ParseRule(line)
		if err != nil || r.String() != want {
			t.Errorf("%q: %s, %v; want %s", line, r, err, want)
		}
		if again, err := ParseRule(r.String()); err != nil || again != r {
			t.Errorf("%q: %v, %v", r, again, err)
		}
	}
	for line, want := range map[string]string{
		"":                "want PATTERN",
		"# up":            "direction",
		"# out 3":         "QoS",
		"# out x":         "QoS",
		"# out 1 a b c":   "want PATTERN",
		"a#":              "not a valid",
		"a/#/b":           "not a valid",
		"# out 1 a+/":     "wildcard",
		"# out 1 a":       "not a valid", // a#
		`"" both 1`:       "not a valid",
		"$share/g/x in 1": "no shared",
	} {
		if _, err := ParseRule(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func TestOverlap(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"a", "a"}: true, {"a", "b"}: false, {"#", "x/y"}: true, {"a/#", "a"}: true, {"a/#", "b/#"}: false, {"a/+", "+/b"}: true,
		{"a/+/c", "a/b"}: false, {"a/b", "a/b/#"}: true, {"a/b/c", "a/#"}: true, {"+", "a/b"}: false, {"up/#", "dn/#"}: false,
	} {
		if overlap(pair[0], pair[1]) != want || overlap(pair[1], pair[0]) != want {
			t.Errorf("%q and %q: want %v", pair[0], pair[1], want)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"#", `topic "" both 1 a b`, "a/# in 2 x/ y/", "# out 1 + b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := ParseRule(line)
		if err != nil {
			return
		}
		if again, err := ParseRule(r.String()); err != nil || again != r {
			t.Fatalf("%q becomes %q becomes %+v, %v", line, r, again, err)
		}
		if !overlap(r.Local+r.Pattern, r.Local+r.Pattern) {
			t.Fatalf("%q does not overlap itself", r)
		}
	})
}
