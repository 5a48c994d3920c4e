package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/config"
)

// The exit statuses of every command.
const (
	ExitDone    = 0
	ExitFailed  = 1 // failed or refused
	ExitUsage   = 2 // wrong use
	ExitTimeout = 3
)

// Stdio is what a command reads and writes. Err also carries logs and progress, so that Out can be piped.
type Stdio struct {
	In       io.Reader // nil: nothing to read
	Out, Err io.Writer
	Env      func(string) (string, bool)
	Now      func() time.Time // of people; nil: time.Now
	Columns  int              // of the terminal that Out is; 0: Out knows whether it is one
}

// OS is the process's own Stdio.
func OS() Stdio { return Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.LookupEnv} }

// Main runs the command line args (without the program's name) until it is done or ctx ends, and returns the exit status.
func Main(ctx context.Context, args []string, stdio Stdio) int {
	root, a := newRoot(stdio)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		a.completeAll(root) // only a shell asks for it
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = a.helps.err
	}
	if err == nil {
		return ExitDone
	}
	nameFlags(cmd, err)
	if !errors.Is(err, errReported) {
		text := render(err)
		first, more, several := strings.Cut(text, "\n")
		if first += a.hint(cmd, err); several {
			first += "\n" + more
		}
		fmt.Fprintln(stdio.Err, "wattbus: "+first)
	}
	var usage *usageError
	var problem *api.Problem
	switch {
	case errors.As(err, &usage):
		if usage.hint != "" {
			fmt.Fprintf(stdio.Err, "See '%s --help'.\n", usage.hint)
		}
		return ExitUsage
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	case errors.As(err, &problem) && problem.Status == 400, namesMissing(cmd, err):
		return ExitUsage
	}
	return ExitFailed
}

// written keeps why something could not be written: the library that writes helps does not ask.
type written struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (w *written) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// nameFlags has a refusal of the centre name the flags by which somebody gave what is refused, in place of the fields of the API.
func nameFlags(cmd *cobra.Command, err error) {
	var p *api.Problem
	if cmd == nil || !errors.As(err, &p) {
		return
	}
	flag := func(field string) string {
		var name strings.Builder
		for _, r := range field { // oldImport: old-import
			if r >= 'A' && r <= 'Z' {
				name.WriteByte('-')
				r += 'a' - 'A'
			}
			name.WriteRune(r)
		}
		for _, name := range []string{name.String(), name.String() + "s"} { // meter: meters
			if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
				return "--" + f.Name
			}
		}
		return field
	}
	p.Field = flag(p.Field)
	for i, e := range p.Errors {
		p.Errors[i].Field = flag(e.Field)
	}
}

// errTimeout ends a command whose wait was in vain; errReported one that said itself what is wrong.
var (
	errTimeout  = errors.New("timed out")
	errReported = errors.New("reported already")
)

// usageError is a wrong use of the command line.
type usageError struct {
	err  error
	hint string // the command whose help tells more
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{err: fmt.Errorf(format, args...)} }

func render(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "timed out: " + err.Error()
	}
	if errors.Is(err, context.Canceled) { // by Ctrl-C, or who else ends processes
		return strings.ReplaceAll(err.Error(), context.Canceled.Error(), "interrupted")
	}
	var problem *api.Problem
	if !errors.As(err, &problem) {
		return err.Error()
	}
	var told []string
	for _, e := range problem.Errors {
		// One alone stands there already, perhaps with what came of it behind.
		if e.Field != problem.Field || e.Detail != problem.Detail && !strings.HasPrefix(problem.Detail, e.Detail+"; ") {
			told = append(told, e.Field+": "+e.Detail)
		}
	}
	return err.Error() + toldLines(told, len(told))
}

// app is what all commands share.
type app struct {
	Stdio
	configFile string
	logLevel   string
	logFormat  string
	helps      *written // where helps and completions are written to
}

func newRoot(stdio Stdio) (*cobra.Command, *app) {
	a := &app{Stdio: stdio, helps: &written{Writer: stdio.Out}}
	root := &cobra.Command{
		Use:   "wattbus",
		Short: "A smart-meter system on an event bus",
		Long: `wattbus connects smart meters to their centre by an event bus, end to end:

  meter ──MQTT──> concentrator ──bridge──> concentrator ──bridge──> centre ──> page, API, other systems
        <────────────────────── commands travel the same way back ──────────────────────────────────

Start here:
  wattbus up                        the whole system in one process, on the data of 494 real households
  wattbus meters                    what the centre knows of the meters
  wattbus read M1000317             ask a meter for its registers now
  wattbus disconnect M1000317 --wait

Every flag can also be set in the environment (WATTBUS_<FLAG>, such as WATTBUS_HTTP) or in a YAML file given with
--config, where it is a key of the same name. The command line wins over the environment, which wins over the file;
"wattbus config check" shows what is in force, and from where.

Times are RFC 3339, such as 2018-12-12T06:00:00Z, and durations have a unit, such as 30s, 5m or 24h.

Exit status: 0 done, 1 failed or refused, 2 wrong use, such as of a file that is not there, 3 timed out.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.applyConfig(cmd)
		},
	}
	root.SetOut(a.helps)
	root.SetErr(stdio.Err)
	p := root.PersistentFlags()
	p.StringVar(&a.configFile, "config", "", "YAML file whose keys are flags (also WATTBUS_CONFIG)")
	p.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
	p.StringVar(&a.logFormat, "log-format", "text", "text or json")
	root.Flags().Bool("version", false, "print the version")
	root.Version = strings.TrimSuffix(versionLine(), "\n") // has the flag looked at
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err: flagError(cmd, err), hint: cmd.CommandPath()}
	})
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run a part of the system:"},
		&cobra.Group{ID: "do", Title: "Drive meters:"},
		&cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "tool", Title: "Measure and check:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", newUp(a), newCenter(a), newConcentrator(a), newGateway(a), newMeter(a), newFleet(a), newBroker(a))
	add("do", append(newControls(a), newEdit(a), newDecide(a, true), newDecide(a, false), newWithdraw(a), newMaintenance(a), newFirmware(a))...)
	add("look", append(newLooks(a), newExport(a))...)
	add("tool", newBackup(a), newRestore(a), newBench(a), newPlan(a), newConfig(a, root), newFormat(a), newPasswd(a), newToken(a), newKeys(a), newMan(a, root), newVersion(a))
	root.SetHelpCommandGroupID("tool")
	root.SetCompletionCommandGroupID("tool")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for shell, example := range map[string]string{
		"":           "  source <(wattbus completion bash)",
		"bash":       "  source <(wattbus completion bash)\n  wattbus completion bash > /etc/bash_completion.d/wattbus",
		"zsh":        "  wattbus completion zsh > \"${fpath[1]}/_wattbus\"",
		"fish":       "  mkdir -p ~/.config/fish/completions\n  wattbus completion fish > ~/.config/fish/completions/wattbus.fish",
		"powershell": "  wattbus completion powershell | Out-String | Invoke-Expression",
	} {
		if c, _, err := root.Find(strings.Fields("completion " + shell)); err == nil {
			c.Example = example
			if shell == "bash" {
				completeBash(root, c)
			}
		}
	}
	checkArgs(root)
	checkTopic(root)
	return root, a
}

// checkTopic has help refuse what is no command.
func checkTopic(root *cobra.Command) {
	help, _, err := root.Find([]string{"help"})
	if err != nil || help == root {
		return
	}
	help.Args = func(_ *cobra.Command, args []string) error {
		if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
			return &usageError{err: fmt.Errorf("there is no command %q", strings.Join(args, " ")), hint: root.CommandPath()}
		}
		return nil
	}
}

// flagError says what a flag wants where the library says which function could not read it, and which one may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if args := cmd.Flags().Args(); errors.As(err, &unknown) && cmd.Annotations[doesNothing] != "" && len(args) > 0 {
		return unknownCommand(cmd, args[0]) // whose flag it would be
	}
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		return fmt.Errorf("%w%s", err, config.Suggest(cmd.Flags(), unknown.GetSpecifiedName()))
	}
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	want := config.Wanted(invalid.GetFlag(), err)
	if want == "" {
		return err
	}
	return fmt.Errorf("%s: want %s", strings.TrimSuffix(err.Error(), ": "+errors.Unwrap(err).Error()), want)
}

// doesNothing is an annotation of commands that only have others below them.
const doesNothing = "does nothing by itself"

// elsewhere is what does what people look for under another name.
var elsewhere = map[string]string{
	"readings": "wattbus meters ID --readings", "intervals": "wattbus meters ID --readings", "values": "wattbus meters ID --readings",
	"bill": "wattbus export --what determinants", "bills": "wattbus export --what determinants", "billing": "wattbus export --what determinants",
	"determinants": "wattbus export --what determinants", "registers": "wattbus export --what registers", "changes": "wattbus export --what changes",
	"import": "wattbus registry import", "exchange": "wattbus registry exchange", "retire": "wattbus registry retire", "usage-points": "wattbus registry show",
	"calendar": "wattbus config check calendar", "vee": "wattbus config check vee",
}

// unknownCommand says that a command has no such subcommand, and which one may have been meant.
func unknownCommand(c *cobra.Command, name string) error {
	err := fmt.Errorf("unknown command %q for %q", name, c.CommandPath())
	if other := elsewhere[name]; other != "" && !c.HasParent() {
		return fmt.Errorf("%w; %q does that", err, other)
	}
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
	}
	return err
}

// applyConfig fills the command's flags from the environment and the file.
func (a *app) applyConfig(cmd *cobra.Command) error {
	if s, ok := a.Env("WATTBUS_CONFIG"); ok && a.configFile == "" {
		a.configFile = s
	}
	foreign := allFlags(cmd.Root())
	if err := config.Apply(cmd.Flags(), a.Env, a.configFile, func(k string) bool { return foreign[k] }); err != nil {
		return &usageError{err: err}
	}
	if _, err := a.logger(); err != nil {
		return err
	}
	return nil
}

func allFlags(cmd *cobra.Command) map[string]bool {
	names := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { names[f.Name] = true })
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cmd)
	delete(names, "help")
	delete(names, "version")
	return names
}

// now is the time by the clock of the people who look.
func (a *app) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// colours reports whether w is a terminal that may show colours (no-color.org).
func (a *app) colours(w io.Writer) bool {
	_, tty := terminal(w)
	if no, ok := a.Env("NO_COLOR"); ok && no != "" {
		return false
	}
	kind, _ := a.Env("TERM")
	return tty && kind != "dumb"
}

// columns is how wide the terminal is that Out is; 0 if it is none.
func (a *app) columns() int {
	if a.Columns > 0 {
		return a.Columns
	}
	if width, tty := terminal(a.Out); tty {
		return width
	}
	return 0
}

// terminal reports whether w is a terminal, and how wide.
func terminal(w io.Writer) (width int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 80, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	return width, true
}
