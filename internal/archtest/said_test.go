package archtest

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/mdms/vee"
)

// TestSentences: what the centre says by a code the console has by the same code, word for word, so that its translations are found.
func TestSentences(t *testing.T) {
	want := api.Sentences()
	for rule, texts := range vee.Sentences() {
		for i, text := range texts {
			want[fmt.Sprintf("finding.%s.%d", rule, i)] = text
		}
	}
	source, err := os.ReadFile("../../web/console/src/format/said.ts")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^  '([a-z0-9.-]+)': (?:'(.*)'|"(.*)"),$`).FindAllStringSubmatch(string(source), -1) {
		got[m[1]] = m[2] + m[3]
	}
	for code, text := range want {
		if got[code] != text {
			t.Errorf("%s: the console says %q, the centre %q", code, got[code], text)
		}
	}
	for code := range got {
		if _, ok := want[code]; !ok {
			t.Errorf("%s: only the console says it", code)
		}
	}
	for code := range want {
		if code != strings.ToLower(code) {
			t.Errorf("code %q", code)
		}
	}
}
