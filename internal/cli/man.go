package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan(a *app, root *cobra.Command) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [COMMAND]...",
		Short: "Write the manual page of a command, or of all",
		Long: `Write the manual page of a command, in roff for "man -l" and groff; without a command that of wattbus itself. With --dir there is a file
for every command, to be put where man looks, such as /usr/local/share/man/man1. The pages say what --help says.`,
		Example: "  wattbus man top | man -l -\n  wattbus man config check | groff -man -Tutf8 | less -R\n  wattbus man --dir /usr/local/share/man/man1",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			c, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, s := range documented(c) {
				names = append(names, s.Name()+"\t"+s.Short)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				target, rest, err := root.Find(args)
				if err != nil || len(rest) > 0 || len(args) > 0 && target == root {
					return usagef("there is no command %q", strings.Join(args, " "))
				}
				return writeMan(a.Out, target)
			}
			if len(args) > 0 {
				return usagef("flag --dir: writes the pages of all commands, want no COMMAND beside it")
			}
			return writeManDir(a, root, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write a file for every command into this directory")
	return cmd
}

// documented are the commands below cmd that have a page.
func documented(cmd *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range cmd.Commands() {
		if !c.Hidden && c.Name() != "help" {
			out = append(out, c)
		}
	}
	return out
}

func writeManDir(a *app, root *cobra.Command, dir string) error {
	n := 0
	var walk func(c *cobra.Command) error
	walk = func(c *cobra.Command) error {
		f, err := os.Create(filepath.Join(dir, manName(c)+".1"))
		if err != nil {
			return fmt.Errorf("flag --dir: %w", err)
		}
		if err = writeMan(f, c); err == nil {
			err = f.Close()
		} else {
			_ = f.Close()
		}
		if err != nil {
			return fmt.Errorf("flag --dir: %w", err)
		}
		n++
		for _, s := range documented(c) {
			if err := walk(s); err != nil {
				return err
			}
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("flag --dir: %w", err)
	}
	if err := walk(root); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.Out, "%d pages in %s\n", n, dir)
	return err
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// writeMan writes one page with the macros of man(7). It holds no date: the same program writes the same page.
func writeMan(w io.Writer, c *cobra.Command) error {
	m := &roff{}
	m.macro("TH", strings.ToUpper(manName(c)), "1", "", "wattbus "+versionText(), "wattbus")
	m.macro("SH", "NAME")
	m.text(manName(c) + " - " + lowerFirst(c.Short))
	m.macro("SH", "SYNOPSIS")
	if c.Runnable() && (c.Args != nil || !c.HasSubCommands()) || c.HasSubCommands() && strings.Contains(c.Use, "[") {
		m.macro("B", c.CommandPath())
		m.text(strings.TrimSpace(strings.TrimPrefix(c.UseLine(), c.CommandPath())))
	}
	if subs := documented(c); len(subs) > 0 {
		m.paragraph()
		m.macro("B", c.CommandPath())
		m.text("COMMAND [flags]")
	}
	m.macro("SH", "DESCRIPTION")
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	m.prose(long)
	m.commands(c)
	m.flags("OPTIONS", c.NonInheritedFlags())
	m.flags("OPTIONS OF ALL COMMANDS", c.InheritedFlags())
	if c.Example != "" {
		m.macro("SH", "EXAMPLES")
		m.verbatim(strings.Split(strings.TrimRight(c.Example, "\n"), "\n"))
	}
	m.macro("SH", "ENVIRONMENT")
	m.text("Every flag can be set as WATTBUS_<FLAG>, such as WATTBUS_LOG_LEVEL, and as a key of the file that --config or WATTBUS_CONFIG names. " +
		"The command line wins over the environment, which wins over the file. NO_COLOR leaves colours out.")
	m.macro("SH", "EXIT STATUS")
	for _, s := range [][2]string{{"0", "done"}, {"1", "failed or refused"}, {"2", "wrong use"}, {"3", "timed out"}} {
		m.item(s[0], s[1])
	}
	var also []string
	if c.HasParent() {
		also = append(also, manName(c.Parent()))
	}
	for _, s := range documented(c) {
		also = append(also, manName(s))
	}
	if len(also) > 0 {
		m.macro("SH", "SEE ALSO")
		for i, name := range also {
			end := ","
			if i == len(also)-1 {
				end = ""
			}
			m.macro("BR", name, "(1)"+end)
		}
	}
	_, err := io.WriteString(w, m.b.String())
	return err
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// roff is a page in the making.
type roff struct{ b strings.Builder }

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// quoted are the arguments of a macro.
var roffQuotes = strings.NewReplacer(`"`, `\(dq`)

func (m *roff) macro(name string, args ...string) {
	m.b.WriteString("." + name)
	for _, a := range args {
		m.b.WriteString(` "` + roffQuotes.Replace(roffEscapes.Replace(a)) + `"`)
	}
	m.b.WriteByte('\n')
}

func (m *roff) text(s string) {
	if s == "" {
		return
	}
	s = roffEscapes.Replace(s)
	if s[0] == '.' {
		s = `\&` + s
	}
	m.b.WriteString(s + "\n")
}

// paragraph begins one, where a heading or another beginning has not done so.
func (m *roff) paragraph() {
	before := strings.TrimSuffix(m.b.String(), "\n")
	last := before[strings.LastIndexByte(before, '\n')+1:]
	if last != ".PP" && !strings.HasPrefix(last, ".SH ") && !strings.HasPrefix(last, ".SS ") {
		m.macro("PP")
	}
}

// prose writes paragraphs that are filled; lines that are indented stay as they are.
func (m *roff) prose(s string) {
	for _, par := range strings.Split(strings.TrimSpace(s), "\n\n") {
		m.paragraph()
		var verbatim []string
		flush := func() {
			if len(verbatim) > 0 {
				m.verbatim(verbatim)
				verbatim = nil
			}
		}
		for l := range strings.SplitSeq(par, "\n") {
			if strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t") {
				verbatim = append(verbatim, l)
				continue
			}
			flush()
			m.text(l)
		}
		flush()
	}
}

func (m *roff) verbatim(lines []string) {
	m.paragraph()
	m.macro("RS")
	m.macro("nf")
	for _, l := range lines {
		m.text(strings.TrimRight(strings.TrimPrefix(strings.ReplaceAll(l, "\t", "    "), "  "), " "))
	}
	m.macro("fi")
	m.macro("RE")
}

func (m *roff) item(head, text string) {
	m.macro("TP")
	m.macro("B", head)
	m.text(text)
}

func (m *roff) commands(c *cobra.Command) {
	subs := documented(c)
	if len(subs) == 0 {
		return
	}
	m.macro("SH", "COMMANDS")
	one := func(group string) {
		for _, s := range subs {
			if s.GroupID == group {
				m.item(s.Name(), s.Short)
			}
		}
	}
	one("")
	for _, g := range c.Groups() {
		m.macro("SS", strings.TrimSuffix(g.Title, ":"))
		one(g.ID)
	}
}

func (m *roff) flags(title string, fs *pflag.FlagSet) {
	if !fs.HasAvailableFlags() {
		return
	}
	m.macro("SH", title)
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		head := "--" + f.Name
		if f.Shorthand != "" {
			head = "-" + f.Shorthand + ", " + head
		}
		if kind != "" {
			head += " " + kind
		}
		switch def := f.DefValue; {
		case def == "" || def == "[]" || def == "false" || def == "0" || def == "0s":
		case f.Value.Type() == "string":
			usage += fmt.Sprintf(" (default %q)", def)
		default:
			usage += " (default " + def + ")"
		}
		m.item(head, usage)
	})
}
