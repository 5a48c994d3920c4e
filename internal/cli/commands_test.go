package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// every calls f with each command that does something.
func every(f func(c *cobra.Command)) {
	root, _ := newRoot(Stdio{})
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, s := range c.Commands() {
			f(s)
			walk(s)
		}
	}
	walk(root)
}

// Every --help has an example that calls the command by its name.
func TestExamples(t *testing.T) {
	every(func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		if !strings.Contains(c.Example, c.CommandPath()) && !c.HasSubCommands() {
			t.Errorf("%s: --help has no example", c.CommandPath())
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Short) > 110 {
			t.Errorf("%s: short text %q", c.CommandPath(), c.Short)
		}
	})
}

// others write files, answer to nothing, or are a picture.
var others = map[string]bool{"audit export": true, "audit verify": true, "backup": true, "export": true, "gateway": true, "outages events": true, "registry export": true, "top": true}

// acts change something or follow by themselves.
var acts = map[string]bool{"approve": true, "reject": true, "withdraw": true, "edit": true, "read": true, "profile": true, "ping": true, "disconnect": true, "reconnect": true,
	"commands approve": true, "commands reject": true, "commands cancel": true, "commands watch": true, "maintenance add": true, "maintenance end": true,
	"firmware approve": true, "firmware cancel": true, "firmware delete": true, "firmware pause": true, "firmware reject": true, "firmware resume": true, "firmware roll-out": true, "firmware upload": true,
	"quarantine release": true, "registry exchange": true, "registry import": true, "registry retire": true, "targets replay": true,
	"events": true, "outages cause": true, "outages watch": true, "whoami": true}

// Every command that asks the centre shows tables, JSON and CSV, and every one that looks has --watch.
func TestLooks(t *testing.T) {
	every(func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "wattbus ")
		if c.Flags().Lookup("server") == nil || others[name] {
			return
		}
		out := c.Flags().Lookup("output")
		if out == nil {
			t.Errorf("%s: no --output", c.CommandPath())
		} else if !strings.Contains(out.Usage, "csv") {
			t.Errorf("%s: --output: %s", c.CommandPath(), out.Usage)
		}
		if (c.Flags().Lookup("watch") == nil) != acts[name] {
			t.Errorf("%s: --watch: %v", c.CommandPath(), !acts[name])
		}
	})
}
