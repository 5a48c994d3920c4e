package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/top"
)

// onScreen runs a command line as on a terminal of so many columns, by a clock that stands still.
func onScreen(t *testing.T, columns int, args ...string) (out, errs string, status int) {
	t.Helper()
	var o, e bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status = Main(ctx, args, Stdio{Out: &o, Err: &e, Columns: columns, Now: func() time.Time { return noon.Add(4 * time.Second) },
		Env: func(string) (string, bool) { return "", false }})
	return o.String(), e.String(), status
}

// What every look shows, on a terminal of 80 columns, as CSV and as JSON.
func TestLooksGolden(t *testing.T) {
	url, b := fixedCentre(t)
	fixedLists(t, b)
	looks := [][]string{{"meters"}, {"meters", "M1000317"}, {"meters", "M1000317", "--readings"}, {"sub-meters", "M1000317"}, {"sub-meters", "M1000317", "G0039001936990619"}, {"concentrators"}, {"outages"}, {"outages", "indices"}, {"outages", "indices", "--days"}, {"completeness"}, {"completeness", "--by", "concentrator"},
		{"commands"}, {"commands", "--open"}, {"audit", "list"}, {"audit", "list", "--origin", "asked"}, {"quarantine"}, {"groups"}, {"groups", "12"}, {"whoami"}, {"registry", "show"}, {"explain", "M1000317", "2018-12-12T11:00:00Z"},
		{"findings"}, {"edits"}, {"sums", "--by", "feeder"}, {"missing"}, {"consumers"}, {"runs"}, {"targets", "list"}, {"maintenance", "list"},
		{"outages", "list"}, {"outages", "show", "7264936160"}, {"commands", "101"}, {"commands", "progress", "101"}, {"audit", "head"}, {"edits", "7264936162"}, {"runs", "march"},
		{"registry", "show", "UP4711"}, {"registry", "history", "UP4711"}, {"firmware", "list"}, {"firmware", "show", "5f1d3c2b4a596877"}, {"firmware", "roll-outs"},
		{"firmware", "progress", "7264936170"}, {"firmware", "progress", "7264936170", "--meters"}}
	root, _ := newRoot(Stdio{})
	shown := map[*cobra.Command]bool{}
	for _, args := range looks {
		c, _, err := root.Find(args)
		if err != nil {
			t.Fatal(err)
		}
		shown[c] = true
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if name := commandPath(c); c.Flags().Lookup("server") != nil && !shown[c] && !others[name] && !acts[name] {
			t.Errorf("nothing here shows what %s does", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for _, format := range []string{"table", "wide", "csv", "json"} {
		var all strings.Builder
		for _, args := range looks {
			out, errs, status := onScreen(t, 80, append(args, "-o", format, "--server", url)...)
			if status != ExitDone || errs != "" {
				t.Fatalf("%v -o %s: status %d: %s", args, format, status, errs)
			}
			fmt.Fprintf(&all, "$ wattbus %s -o %s\n%s\n", strings.Join(args, " "), format, out)
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			switch format {
			case "table":
				for _, l := range lines {
					if top.Width(l) > 80 {
						t.Errorf("%v: %d columns: %s", args, top.Width(l), l)
					}
				}
			case "csv":
				if _, err := csv.NewReader(strings.NewReader(out)).ReadAll(); err != nil {
					t.Errorf("%v: no CSV: %v", args, err)
				}
			case "json":
				for _, l := range lines {
					if !json.Valid([]byte(l)) {
						t.Errorf("%v: no JSON: %s", args, l)
					}
				}
			}
		}
		golden(t, "looks-"+format, all.String())
	}
}

// Every --help, in one file.
func TestHelpGolden(t *testing.T) {
	var paths []string
	every(func(c *cobra.Command) {
		if !c.Hidden && c.Name() != "help" {
			paths = append(paths, strings.TrimPrefix(c.CommandPath(), "wattbus "))
		}
	})
	slices.Sort(paths)
	var all strings.Builder
	for _, p := range paths {
		out, errs, status := call(t, nil, append(strings.Fields(p), "--help")...)
		if status != ExitDone || errs != "" {
			t.Errorf("%s --help: status %d: %s", p, status, errs)
		}
		fmt.Fprintf(&all, "$ wattbus %s --help\n%s\n", p, out)
	}
	golden(t, "help-all", all.String())
}

// What is said of typing errors, and every exit status.
func TestStatusesGolden(t *testing.T) {
	url, b := fixedCentre(t)
	fixedLists(t, b)
	var all strings.Builder
	for _, tc := range []struct {
		args   []string
		status int
	}{
		{[]string{"read", "M1", "--wait"}, ExitDone},
		{[]string{"read", "M2", "--wait"}, ExitFailed},
		{[]string{"read", "M4", "--wait"}, ExitFailed},
		{[]string{"read", "M3", "--wait"}, ExitTimeout},
		{[]string{"read", "M9"}, ExitFailed},
		{[]string{"meters", "M9"}, ExitFailed},
		{[]string{"meters", "--state", "asleep"}, ExitUsage},
		{[]string{"meter", "--no"}, ExitUsage},
		{[]string{"metres"}, ExitUsage},
		{[]string{"outage"}, ExitUsage},
		{[]string{"comands"}, ExitUsage},
		{[]string{"registry", "improt"}, ExitUsage},
		{[]string{"meters", "-o", "yaml"}, ExitUsage},
		{[]string{"audit", "list", "--origin", "people"}, ExitUsage},
		{[]string{"completeness", "--by", "week"}, ExitUsage},
		{[]string{"export", "--month", "2018-11", "--out", "-"}, ExitUsage},
		{[]string{"firmware", "sign", "meter.bin", "--out", "-"}, ExitUsage},
		{[]string{"meters", "--sever", "x"}, ExitUsage},
		{[]string{"explain", "M1"}, ExitUsage},
	} {
		args := tc.args
		if tc.status != ExitUsage || tc.args[0] == "meters" && tc.args[1] == "--state" {
			args = append(slices.Clone(args), "--server", url)
		}
		out, errs, status := onScreen(t, 80, args...)
		if status != tc.status {
			t.Errorf("%v: status %d, want %d: %s", tc.args, status, tc.status, errs)
		}
		fmt.Fprintf(&all, "$ wattbus %s\n%s%s%d\n\n", strings.Join(tc.args, " "), out, errs, status)
	}
	golden(t, "statuses", all.String())
}

// Where there is nothing, a table says so to people, CSV is its head alone, and JSON is nothing at all.
func TestEmptyLists(t *testing.T) {
	url := emptyCentre(t)
	for _, args := range [][]string{{"meters"}, {"meters", "M1000317", "--readings"}, {"sub-meters", "M1000317"}, {"concentrators"}, {"outages"}, {"commands"}, {"audit", "list"}, {"quarantine"}, {"groups"}, {"registry", "show"},
		{"findings"}, {"edits"}, {"missing"}, {"consumers"}, {"runs"}, {"targets", "list"}, {"maintenance", "list"}, {"firmware", "list"}, {"firmware", "roll-outs"}, {"firmware", "progress", "7264936170", "--meters"}, {"registry", "history", "UP4711"}} {
		for format, ok := range map[string]func(string) bool{
			"table": func(s string) bool { return strings.HasSuffix(s, "\n(none)\n") },
			"json":  func(s string) bool { return s == "" },
			"csv": func(s string) bool {
				rows, err := csv.NewReader(strings.NewReader(s)).ReadAll()
				return err == nil && len(rows) == 1 && len(rows[0]) > 1
			},
		} {
			out, errs, status := onScreen(t, 80, append(args, "-o", format, "--server", url)...)
			if status != ExitDone || errs != "" || !ok(out) {
				t.Errorf("%v -o %s: status %d: %q %s", args, format, status, out, errs)
			}
		}
	}
}
