package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// call runs a command line with an empty environment, except for the given pairs.
func call(t *testing.T, env map[string]string, args ...string) (out, errs string, status int) {
	t.Helper()
	var o, e bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	status = Main(ctx, args, Stdio{Out: &o, Err: &e, Now: func() time.Time { return noon.Add(4 * time.Second) },
		Env: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	return o.String(), e.String(), status
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if that is meant, run the test with -update:\n%s", path, got)
	}
}

func TestGolden(t *testing.T) {
	for name, args := range map[string][]string{
		"help":            {"--help"},
		"help-up":         {"up", "--help"},
		"help-center":     {"center", "--help"},
		"help-disconnect": {"disconnect", "--help"},
		"plan":            {"plan", "--meters", "1000000"},
		"plan-json":       {"plan", "--meters", "80000000", "-o", "json"},
	} {
		out, errs, status := call(t, nil, args...)
		if status != ExitDone || errs != "" {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
		golden(t, name, out)
	}
}

func TestWrongUse(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"metres"}, `unknown command "metres" for "wattbus"; did you mean meter or meters?`},
		{[]string{"metres", "--limit", "3"}, `unknown command "metres" for "wattbus"; did you mean meter or meters?`},
		{[]string{"meters", "M1", "--as-known-at", "2026-01-01T00:00:00Z"}, `flag --as-known-at is about a meter's intervals: add --readings`},
		{[]string{"readings", "M1", "--from", "x"}, `unknown command "readings" for "wattbus"; "wattbus meters ID --readings" does that`},
		{[]string{"registry", "shw", "--limit", "3"}, `unknown command "shw" for "wattbus registry"`},
		{[]string{"outages", "7", "--colour", "red"}, "unknown flag: --colour"},
		{[]string{"help", "metres"}, `there is no command "metres"`},
		{[]string{"completion", "tcsh"}, `unknown command "tcsh" for "wattbus completion"`},
		{[]string{"meter"}, "flag --id: give the meter an id, such as M1"},
		{[]string{"config", "chck"}, `unknown command "chck" for "wattbus config"`},
		{[]string{"up", "--meters", "many"}, `invalid argument "many" for "--meters" flag: want a whole number`},
		{[]string{"registry", "exchange", "UP1", "--old-import", "-5"}, `invalid argument "-5" for "--old-import" flag: want a whole number from 0 on`},
		{[]string{"registry", "retire", "M1", "--old-import", "99999999999999999999"}, `flag: want a whole number from 0 on that is not so large`},
		{[]string{"plan", "--days", "x"}, `flag: want a whole number`},
		{[]string{"explain", "M1"}, `want METER TIME, but "M1" alone was given; for example: wattbus explain M1000317 2018-`},
		{[]string{"explain", "M1", "yesterday"}, `TIME: "yesterday", want RFC 3339 such as`},
		{[]string{"up", "--meters", "0"}, "flag --meters: value 0, want 1 to 100000"},
		{[]string{"up", "--data", "main_test.go"}, "flag --data: main_test.go is a file, want a directory"},
		{[]string{"up", "--speed", "0"}, "flag --speed: value 0, want 0.1 to 3600"},
		{[]string{"fleet", "--concentrator", "mqtt://127.0.0.1:1", "--make-keys"}, "flag --make-keys: it needs --key-file"},
		{[]string{"fleet", "--concentrator", "mqtt://127.0.0.1:1", "--key-file", "no/such/file"}, "flag --key-file: open no/such/file"},
		{[]string{"fleet", "--concentrator", "mqtt://127.0.0.1:1", "--meters", "2", "--key-file", os.DevNull}, "holds no key of any of the 2 meters, such as M1000317; see --make-keys"},
		{[]string{"outages", "cause", "7", "flood"}, `category "flood", want one of equipment, lightning, planned`},
		{[]string{"outages", "indices", "--baseline-to", "2018"}, `flag --baseline-to: value "2018" is not an RFC 3339 time`},
		{[]string{"up", "--operator-budget", "many"}, "flag --operator-budget: "},
		{[]string{"up", "--nonsense"}, "unknown flag: --nonsense"},
		{[]string{"up", "--metres", "3"}, "unknown flag: --metres; did you mean --meters?"},
		{[]string{"read"}, "want TARGET, but none was given; for example: wattbus read M1000317\n"},
		{[]string{"config", "check"}, "want COMMAND|calendar|vee [FILE] [-- FLAGS], but none was given; for example: wattbus config check center wattbus.yaml\n"},
		{[]string{"config", "check", "center", "a", "b", "--", "--http", "x"}, "but 3 arguments were given"},
		{[]string{"meters", "M1", "M2"}, "want [ID], but 2 arguments were given; for example: wattbus meters M"},
		{[]string{"center", "x"}, `"x" was given, but "wattbus center" takes flags only; for example: wattbus center --data /var/lib/wattbus`},
		{[]string{"keys", "add", "keys"}, `want FILE NAME…, but "keys" alone was given`},
		{[]string{"meters", "--version"}, "unknown flag: --version"},
		{[]string{"read", "group:x"}, `target "group:x": want group: and a number`},
		{[]string{"read", "group:0"}, `target "group:0": want group: and a number of 32 bits from 1 on`},
		{[]string{"groups", "0", "M1"}, `group "0": want a number of 32 bits, from 1 on`},
		{[]string{"meters", "--limit", "-1"}, "flag --limit: value -1, want 1 or more, or 0 for all"},
		{[]string{"commands", "--limit", "-1"}, "flag --limit: value -1"},
		{[]string{"outages", "--limit", "-1"}, "flag --limit: value -1"},
		{[]string{"groups", "12", ","}, `members: "," names no meter; --empty empties the group`},
		{[]string{"groups", "12", "M1", "--watch"}, "flag --watch: shows groups, want no members beside it"},
		{[]string{"read", "path:"}, `target "path:": want path: and concentrator ids`},
		{[]string{"read", "-M1"}, "unknown shorthand flag"},
		{[]string{"read", "M 1"}, `target "M 1": want a meter's id, path:C1/C7 or group:12`},
		{[]string{"profile", "M1", "--from", "yesterday"}, `flag --from: value "yesterday" is not an RFC 3339 time`},
		{[]string{"meters", "-o", "xml"}, `flag --output: value "xml", want table, wide, json or csv`},
		{[]string{"meters", "--server", "ftp://x"}, "flag --server"},
		{[]string{"center", "--token", "pässword"}, "flag --token: want letters without accents"},
		{[]string{"center", "--roles", "mdsm"}, `flag --roles: "mdsm", want some of eeb, mdms, web`},
		{[]string{"center", "--data", t.TempDir(), "--mqtt", "0.0.0.0:0"}, "flag --mqtt: 0.0.0.0:0 can be reached from other machines"},
		{[]string{"center", "--data", t.TempDir(), "--mqtt", "1883"}, `flag --mqtt: value "1883", want HOST:PORT`},
		{[]string{"concentrator", "--upstream", "mqtt://127.0.0.1:1"}, "flag --id"},
		{[]string{"concentrator", "--id", "meter", "--upstream", "mqtt://127.0.0.1:1"}, `flag --id: id "meter" is a reserved word`},
		{[]string{"concentrator", "--id", "C1"}, "flag --upstream: name the centre"},
		{[]string{"meter", "--id", "M1", "--interval", "7"}, "flag --interval: value 7, want a divisor of a day"},
		{[]string{"meter", "--id", "M1", "--household", "1"}, `flag --household: there is no household "1"`},
		{[]string{"concentrator", "--id", "C1", "--upstream", "mqtt://127.0.0.1:1", "--upstream", "tcp://127.0.0.1:2"}, `flag --upstream: server URL tcp://127.0.0.1:2: scheme "tcp"`},
		{[]string{"concentrator", "--id", "C1", "--upstream", "mqtt://127.0.0.1:1", "--batch-count", "70000"}, "batch of 70000 messages: want 1 to 65535"},
		{[]string{"concentrator", "--id", "C1", "--upstream", "mqtt://127.0.0.1:1", "--mqtt", "127.0.0.1:0", "--sn", "0.0.0.0:0"}, "flag --sn: 0.0.0.0:0 can be reached"},
		{[]string{"gateway"}, "flag --server: name the MQTT server"},
		{[]string{"gateway", "--server", "tcp://x"}, `scheme "tcp"`},
		{[]string{"gateway", "--server", "mqtt://127.0.0.1:1", "--sn", "1894"}, "flag --sn: value"},
		{[]string{"gateway", "--server", "mqtt://127.0.0.1:1", "--anonymous", "abc"}, `"abc", want ID=TOPIC or a topic name of two characters`},
		{[]string{"gateway", "--server", "mqtt://127.0.0.1:1", "--anonymous", "2=x"}, "id 2 is up/meter/<client id>/reading by the contract"},
		{[]string{"gateway", "--server", "mqtt://127.0.0.1:1", "--anonymous", "0=x"}, "want 1 to 65534"},
		{[]string{"gateway", "--server", "mqtt://127.0.0.1:1", "--anonymous", "700=x/+"}, `"700=x/+"`},
		{[]string{"gateway", "--server", "mqtt://127.0.0.1:1", "--anonymous", "700=x,700=y"}, "is there twice"},
		{[]string{"fleet"}, "give either --concentrator or --stand-in"},
		{[]string{"plan", "--interval", "7"}, "flag --interval: value 7, want a divisor of a day"},
		{[]string{"broker", "--log-level", "loud"}, `flag --log-level: value "loud", want debug, info, warn or error`},
		{[]string{"broker", "--bridge-topic", "#"}, "flag --bridge-topic: needs --bridge-upstream"},
		{[]string{"broker", "--bridge-upstream", "mqtt://h"}, "flag --bridge-topic: say what is bridged"},
		{[]string{"broker", "--bridge-upstream", "mqtt://h", "--bridge-topic", "# sideways"}, `direction "sideways", want out, in or both`},
		{[]string{"broker", "--bridge-upstream", "mqtt://h", "--bridge-topic", "#", "--bridge-mqtt-version", "4"}, `value "4", want 3.1, 3.1.1 or 5`},
		{[]string{"concentrator", "--id", "C1", "--upstream", "mqtt://127.0.0.1:1", "--mqtt-version", "6"}, `flag --mqtt-version: value "6"`},
		{[]string{"broker", "--clock", "x"}, "unknown flag: --clock"},
		{[]string{"broker", "--mqtt", "127.0.0.1:0", "--max-keep-alive", "90ms"}, "flag --max-keep-alive: value 90ms, want whole seconds up to 65535s"},
		{[]string{"broker", "--mqtt", "127.0.0.1:0", "--max-packet-size", "-1"}, "flag --max-packet-size: value -1, want 1 to 268435455"},
		{[]string{"broker", "--max-retained", "0"}, "flag --max-retained: value 0, want 1 or more"},
		{[]string{"broker", "--session-expiry", "0"}, "flag --session-expiry: value 0s, want a time such as 1h"},
		{[]string{"broker", "--mqtt", "127.0.0.1:0", "--response-topics", "a/#"}, "flag --response-topics: value a/#, want a topic without wildcards"},
		{[]string{"broker", "--mqtt", "127.0.0.1:99999"}, `flag --mqtt: value "127.0.0.1:99999", want a port from 1 to 65535`},
		{[]string{"broker", "--mqtt", "127.0.0.1:0", "--metrics", "127.0.0.1:99999"}, `flag --metrics: value "127.0.0.1:99999", want a port from 1 to 65535`},
		{[]string{"broker", "--redirect", "xx"}, `flag --redirect: value "xx", want HOST:PORT`},
		{[]string{"broker", "--bridge-upstream", "mqtt://h:99999", "--bridge-topic", "#"}, "port 99999, want 1 to 65535"},
		{[]string{"broker", "--bridge-upstream", "mqtt://h", "--bridge-topic", `# out 1 "`}, `quote in ": want "" for nothing`},
		{[]string{"meter", "--id", "M1", "--clock", "x"}, `flag --clock: clock "x": no '@'`},
	} {
		_, errs, status := call(t, nil, tc.args...)
		if status != ExitUsage || !strings.Contains(errs, tc.want) {
			t.Errorf("%v: status %d, %q; want %d and %q", tc.args, status, errs, ExitUsage, tc.want)
		}
	}
}

// --version is what many ask a program first. A release that is in the environment under that name is nothing to it.
func TestVersion(t *testing.T) {
	want, _, _ := call(t, nil, "version")
	if out, errs, status := call(t, nil, "--version"); status != ExitDone || errs != "" || out != want || !strings.HasPrefix(out, "wattbus "+versionText()) {
		t.Errorf("status %d, %q and %q, want %q", status, out, errs, want)
	}
	if out, errs, status := call(t, map[string]string{"WATTBUS_VERSION": "1.2"}); status != ExitDone || !strings.Contains(out, "--version") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

// No command says with the library's words what arguments it wants.
func TestArguments(t *testing.T) {
	root, _ := newRoot(Stdio{Out: io.Discard, Err: io.Discard})
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		for n := range 6 {
			err := c.ValidateArgs(slices.Repeat([]string{"x"}, n))
			var usage *usageError
			switch {
			case err == nil || c.Name() == "help":
			case !errors.As(err, &usage) || usage.hint == "":
				t.Errorf("%s with %d: %v is no wrong use", c.CommandPath(), n, err)
			case strings.Contains(err.Error(), "arg(s)"), strings.HasPrefix(err.Error(), "unknown command") && !c.HasSubCommands(), !strings.Contains(err.Error(), "; for example: ") && !c.HasSubCommands() && !c.Hidden:
				t.Errorf("%s with %d: %v", c.CommandPath(), n, err)
			}
		}
	}
	walk(root)
}

func TestConfigCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wattbus.yaml")
	text := "data: /var/lib/wattbus\nhttp: 127.0.0.1:9000\ntoken: hush\nid: C1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, status := call(t, map[string]string{"WATTBUS_MQTT": "127.0.0.1:2883"}, "config", "check", "center", file)
	if status != ExitDone {
		t.Fatalf("status %d: %s", status, errs)
	}
	golden(t, "config-check", strings.ReplaceAll(out, file, "wattbus.yaml"))
	if strings.Contains(out, "hush") {
		t.Error("the token is shown")
	}
	out, errs, status = call(t, map[string]string{"WATTBUS_MQTT": "127.0.0.1:2883", "WATTBUS_CONFIG": file}, "config", "check", "center", "--", "--mqtt", "127.0.0.1:3883")
	if status != ExitDone || !strings.Contains(out, "mqtt: 127.0.0.1:3883  # command line\n") || !strings.Contains(out, "http: 127.0.0.1:9000  # "+file+":2\n") {
		t.Errorf("with flags: status %d: %s%s", status, out, errs)
	}
	for _, wrong := range [][]string{{"calendar"}, {"center", "--", "x"}, {"center", "--", "--htpp", "x"}, {"centr", file}} {
		if _, errs, status := call(t, nil, append([]string{"config", "check"}, wrong...)...); status != ExitUsage {
			t.Errorf("%v: status %d: %s", wrong, status, errs)
		}
	}
	if err := os.WriteFile(file, []byte("htpp: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, status = call(t, nil, "config", "check", "center", file)
	if status != ExitUsage || !strings.Contains(errs, `:1: unknown key "htpp"; did you mean "http"?`) {
		t.Errorf("status %d: %s", status, errs)
	}
	_, errs, status = call(t, map[string]string{"WATTBUS_CONFIG": file}, "version")
	if status != ExitUsage || !strings.Contains(errs, `unknown key "htpp"`) {
		t.Errorf("file from the environment: status %d: %s", status, errs)
	}
}

func TestServerDown(t *testing.T) {
	_, errs, status := call(t, nil, "meters", "--server", "http://127.0.0.1:1")
	if status != ExitFailed || !strings.Contains(errs, "http://127.0.0.1:1") {
		t.Errorf("status %d: %s", status, errs)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, _, status := call(t, nil, "completion", shell); status != ExitDone || !strings.Contains(out, "wattbus") {
			t.Errorf("%s: status %d", shell, status)
		}
	}
}

// full is a device on which there is no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// A help, a completion or a manual page that could not be written is told.
func TestFullOutput(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help", "read"}, {"registry", "--help"}, {"completion", "bash"}, {"completion", "zsh"}, {"man"}, {"version"}, {"--version"}} {
		var errs strings.Builder
		status := Main(t.Context(), args, Stdio{Out: full{}, Err: &errs, Env: func(string) (string, bool) { return "", false }})
		if status != ExitFailed || errs.String() != "wattbus: no space left on device\n" {
			t.Errorf("%v: status %d: %s", args, status, &errs)
		}
	}
}

// A refusal of the centre names the flag that is wrong, and what was no flag by its field.
func TestRefusalsNameFlags(t *testing.T) {
	root, _ := newRoot(Stdio{Out: io.Discard, Err: io.Discard})
	cmd, _, err := root.Find([]string{"registry", "exchange"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags([]string{"--old-import", "5"}); err != nil {
		t.Fatal(err)
	}
	p := &api.Problem{Title: "Bad request", Field: "oldImport", Detail: "too low", Errors: []api.FieldError{{Field: "oldImport", Detail: "too low"}, {Field: "firstImport", Detail: "is missing"}, {Field: "id", Detail: "is not known"}}}
	nameFlags(cmd, fmt.Errorf("told: %w", p))
	if got, want := render(p), "Bad request: --old-import: too low\n  firstImport: is missing\n  id: is not known"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestElsewhere: what is named in the place of a command that there is not exists, and its flags do.
func TestElsewhere(t *testing.T) {
	root, _ := newRoot(Stdio{Out: io.Discard, Err: io.Discard})
	for name, line := range elsewhere {
		if c, _, err := root.Find([]string{name}); err == nil && c != root {
			t.Errorf("%s is a command", name)
		}
		words := strings.Fields(line)[1:]
		c, rest, err := root.Find(words)
		if err != nil || c == root {
			t.Errorf("%s: %q: %v", name, line, err)
			continue
		}
		if err := c.ParseFlags(rest); err != nil {
			t.Errorf("%s: %q: %v", name, line, err)
		}
	}
}
