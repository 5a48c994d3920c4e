package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestMan(t *testing.T) {
	for _, name := range []string{"disconnect", "targets"} {
		out, errs, status := call(t, nil, "man", name)
		if status != ExitDone || errs != "" {
			t.Fatalf("status %d: %s", status, errs)
		}
		golden(t, "man-"+name, regexp.MustCompile(`"wattbus [^"]*" "wattbus"`).ReplaceAllString(out, `"wattbus 1.2.3" "wattbus"`))
	}
	for _, wrong := range [][]string{{"man", "mann"}, {"man", "top", "x"}, {"man", "--dir", t.TempDir(), "top"}} {
		if _, errs, status := call(t, nil, wrong...); status != ExitUsage {
			t.Errorf("%v: status %d, %s", wrong, status, errs)
		}
	}
	if _, errs, status := call(t, nil, "man", "--dir", "/dev/null/x"); status != ExitFailed || !strings.Contains(errs, "flag --dir") {
		t.Errorf("status %d, %s", status, errs)
	}
}

// There is a page for every command, each refers to pages that are there, and groff has nothing to say about any.
func TestManPages(t *testing.T) {
	dir := t.TempDir()
	if _, errs, status := call(t, nil, "man", "--dir", filepath.Join(dir, "man1")); status != ExitDone {
		t.Fatalf("status %d: %s", status, errs)
	}
	dir = filepath.Join(dir, "man1")
	root, _ := newRoot(Stdio{})
	root.InitDefaultCompletionCmd()
	want := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		want[manName(c)+".1"] = true
		for _, s := range documented(c) {
			walk(s)
		}
	}
	walk(root)
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d pages for %d commands, %v", len(files), len(want), err)
	}
	refers := regexp.MustCompile(`(?m)^\.BR "(.*?)" `)
	for _, file := range files {
		if !want[filepath.Base(file)] {
			t.Errorf("page %s is of no command", file)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range refers.FindAllStringSubmatch(string(text), -1) {
			if other := strings.ReplaceAll(m[1], `\-`, "-") + ".1"; !want[other] {
				t.Errorf("page %s refers to %s, which is not there", file, other)
			}
		}
	}
	if mandoc, err := exec.LookPath("mandoc"); err == nil { // a second opinion, where there is one
		out, _ := exec.Command(mandoc, append([]string{"-T", "lint", "-W", "warning"}, files...)...).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "missing date") { // the same program writes the same page
				t.Errorf("mandoc: %s", line)
			}
		}
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(need(t, "groff"), append([]string{"-man", "-ww", "-Kutf8", "-Tutf8", "-z"}, files...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Errorf("groff: %v, %s", err, errs.String())
	}
}
