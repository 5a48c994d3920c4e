package auth

import (
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/topic"
)

// TestCoversAndOverlaps compares both with the definition, over all filters and
// names of up to three levels of a small alphabet.
func TestCoversAndOverlaps(t *testing.T) {
	var names, filters []string
	levels := []string{"a", "b", "", "$S"}
	wild := append([]string{"+", "#"}, levels...)
	var build func(prefix []string, alphabet []string, out *[]string, depth int)
	build = func(prefix, alphabet []string, out *[]string, depth int) {
		for _, l := range alphabet {
			s := append(append([]string{}, prefix...), l)
			if text := strings.Join(s, "/"); text != "" && topic.CheckFilter(text) == nil {
				*out = append(*out, text)
			}
			if depth > 1 && l != "#" {
				build(s, alphabet, out, depth-1)
			}
		}
	}
	names = []string{""}
	build(nil, levels, &names, 4) // one level more than the filters, for '#'
	build(nil, wild, &filters, 3)
	match := map[string][]bool{}
	for _, f := range filters {
		for _, n := range names {
			match[f] = append(match[f], topic.Match(f, n))
		}
	}
	for _, f := range filters {
		for _, g := range filters {
			covers, overlaps := true, false
			for i := range names {
				covers = covers && (match[f][i] || !match[g][i])
				overlaps = overlaps || match[f][i] && match[g][i]
			}
			got := Covers(f, g)
			if got && !covers {
				t.Errorf("%q is said to cover %q", f, g)
			}
			// What needs other names to be told apart than this alphabet has may be
			// refused, such as "#" by nothing else.
			if !got && covers && !strings.ContainsAny(g, "+#") {
				t.Errorf("%q is said not to cover %q", f, g)
			}
			if o := Overlaps(f, g); o != overlaps {
				t.Errorf("%q and %q: overlap %v", f, g, o)
			}
		}
	}
	if !Covers("a/#", "a/+/b") || !Covers("a/#", "a/#") || !Covers("+/b", "+/b") || Covers("+/b", "#") {
		t.Error("wildcards")
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{"a/b": "a/b", "$share/g/a/#": "a/#", "$share/g": "$share/g", "$share/g/": "$share/g/", "$SYS/#": "$SYS/#"} {
		if got := plain(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
