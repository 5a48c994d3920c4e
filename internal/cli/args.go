package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// checkArgs makes wrong arguments of any command a wrong use, which says what to give.
func checkArgs(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		checkArgs(c)
	}
	if inner := cmd.Args; inner != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if inner(c, args) != nil { // the library counts "arg(s)"
				return &usageError{err: argsError(c, args), hint: c.CommandPath()}
			}
			return nil
		}
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{err: unknownCommand(c, args[0]), hint: c.CommandPath()}
			}
			return c.Help()
		}
		cmd.Args = cobra.ArbitraryArgs
		cmd.Annotations = map[string]string{doesNothing: "true"}
	}
}

// argsError says what arguments a command takes, what it was given in their place, and how it is done right.
func argsError(c *cobra.Command, args []string) error {
	if n := c.ArgsLenAtDash(); n >= 0 {
		args = args[:n]
	}
	given := "none was given"
	switch len(args) {
	case 0:
	case 1:
		given = fmt.Sprintf("%q alone was given", args[0])
	default:
		given = fmt.Sprintf("%d arguments were given", len(args))
	}
	_, names, _ := strings.Cut(c.Use, " ")
	names, _, _ = strings.Cut(names, " --") // flags are none
	var err error
	switch {
	case names != "":
		err = fmt.Errorf("want %s, but %s", names, given)
	case len(args) == 0:
		return errors.New("want an argument") // no command of this program
	case c.HasSubCommands():
		return unknownCommand(c, args[0])
	default:
		err = fmt.Errorf("%q was given, but %q takes flags only", args[0], c.CommandPath())
	}
	if one := example(c); one != "" {
		return fmt.Errorf("%w; for example: %s", err, one)
	}
	return err
}

// example is the first of a command's examples that begins with an argument, or the first; "" where it has none.
func example(c *cobra.Command) (first string) {
	for line := range strings.Lines(c.Example) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  ") // what it is for stands behind it
		if rest, ok := strings.CutPrefix(line, c.CommandPath()+" "); ok && !strings.HasPrefix(rest, "-") {
			return line
		}
		if first == "" {
			first = line
		}
	}
	return first
}
