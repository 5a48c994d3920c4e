package archtest

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	maps.DeleteFunc(want, func(code, _ string) bool { return refused(code) }) // said as it comes where the page is English
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

// TestAuditActions: each action that goes into the audit trail has a sentence, and each such sentence an action.
func TestAuditActions(t *testing.T) {
	used := map[string]bool{}
	find := func(dir, prefix, pattern string, except ...string) {
		t.Helper()
		re, n := regexp.MustCompile(pattern), len(used)
		for _, text := range goSources(t, dir) {
			for _, m := range re.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(except, m[1]) {
					used[prefix+m[1]] = true
				}
			}
		}
		if len(used) == n {
			t.Fatalf("no actions found in %s by %s", dir, pattern)
		}
	}
	find("../mdms", "", `"((?:group|edit|run|maintenance|outage|registry|quarantine|centre|rules|firmware)\.[a-z-]+)"`, "centre.totals", "quarantine.disconnected")
	find("../mdms/command", "command.", `e\.note\([^"]*?, "([a-z-]+)"`)
	find("../mdms/firmware", "rollout.", `e\.note\(r, "([a-z]+)"`)
	find("../web", "rollout.", `\{"([a-z]+)", "[A-Z][a-z]+ a roll-out"`)
	for _, state := range []string{api.CommandQueued, api.CommandSent, api.CommandDelivered, api.CommandDone, api.CommandRefused, api.CommandFailed,
		api.CommandExpired, api.CommandCancelled, api.VerifyDone, api.VerifyContradicted, api.VerifyUnanswered} {
		used["command."+state] = true
	}
	said := map[string]bool{}
	for code := range api.Sentences() {
		if action, ok := strings.CutPrefix(code, "audit."); ok {
			said[action] = true
		}
	}
	for action := range used {
		if !said[action] {
			t.Errorf("the action %s has no sentence audit.%s in internal/api/said.go", action, action)
		}
	}
	for _, action := range slices.Sorted(maps.Keys(said)) {
		if !used[action] {
			t.Errorf("nothing does %s, for which there is a sentence", action)
		}
	}
}

// TestLetterReasons: the console has a word for each reason of dead letters.
func TestLetterReasons(t *testing.T) {
	words, err := os.ReadFile("../../web/console/src/format/words.ts")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(words), "const letterReasons: Record<string, string> = {\n")
	table, _, _ := strings.Cut(rest, "\n};")
	n := 0
	for dir, pattern := range map[string]string{"../eeb": `reason[A-Z]\w+ += "(\w+)"`, "../record": `\{Err\w+, "(\w+)"\}`, "../format": `\{Err\w+, "(\w+)"\}`, "../seal": `\{Err\w+, "(\w+)"\}`,
		"../bus": `Reason: +"(\w+)"`, "../connector": `Reason: +"(\w+)"`} {
		for path, text := range goSources(t, dir) {
			for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
				if n++; !regexp.MustCompile(`(?m)^ *` + m[1] + `: '`).MatchString(table) {
					t.Errorf("%s: the reason %s has no word in web/console/src/format/words.ts", path, m[1])
				}
			}
		}
	}
	if n < 24 {
		t.Errorf("only %d reasons were found", n)
	}
}

// goSources are the texts of a directory's Go files and of those below it, without tests.
func goSources(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		out[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
