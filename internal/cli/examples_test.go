package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	fences      = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```|(^(?:    [^\n]*\n)+)")
	remark      = regexp.MustCompile(`\s{2,}\w.*$`) // what a command is for, behind it
	quoted      = regexp.MustCompile(`'[^']*'|"[^"]*"`)
	substituted = regexp.MustCompile(`\$\([^)]*\)`)
)

// What stands behind "wattbus" in the lines of a shell's text, each as words.
func commandLines(text string) (out [][]string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	text = substituted.ReplaceAllString(quoted.ReplaceAllString(text, "Q"), "Q")
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " #")
		line = remark.ReplaceAllString(strings.TrimSpace(line), "")
		for _, piece := range regexp.MustCompile(`[|;&()<>]+`).Split(line, -1) {
			words := strings.Fields(piece)
			for i, w := range words {
				if (w == "wattbus" || strings.HasSuffix(w, "/wattbus")) && (i == 0 || words[i-1] == "sudo" || words[i-1] == "run" || strings.Contains(words[i-1], "=")) {
					out = append(out, words[i+1:])
					break
				}
			}
		}
	}
	return out
}

// Every command line in a help, in the README and in the documents has commands and flags that there are, and as many arguments as they take.
func TestExamplesParse(t *testing.T) {
	found := map[string]int{}
	try := func(where string, lines [][]string) {
		for _, words := range lines {
			found[where]++
			root, _ := newRoot(Stdio{Out: io.Discard, Err: io.Discard})
			cmd, args, err := root.Find(words)
			if err == nil && cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				t.Errorf("%s: wattbus %s: no such command", where, strings.Join(words, " "))
				continue
			}
			if err == nil {
				err = cmd.ParseFlags(args)
			}
			if err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if err != nil && !strings.Contains(err.Error(), "help requested") {
				t.Errorf("%s: wattbus %s: %v", where, strings.Join(words, " "), err)
			}
		}
	}
	every(func(c *cobra.Command) {
		try(c.CommandPath()+" --help", commandLines(c.Example))
		for line := range strings.Lines(c.Long) {
			if strings.HasPrefix(line, "  ") {
				line = remark.ReplaceAllString(strings.TrimSpace(line), "")
				try(c.CommandPath()+" --help", commandLines(line))
			}
		}
	})
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../../README.md", "../../ARCHITECTURE.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range fences.FindAllStringSubmatch(string(text), -1) {
			try(filepath.Base(file), commandLines(block[1]+block[2]))
		}
	}
	for where, least := range map[string]int{"README.md": 12, "security.md": 5, "wattbus broker --help": 5} {
		if found[where] < least {
			t.Errorf("%s: %d command lines were found, of %d at least", where, found[where], least)
		}
	}
}
