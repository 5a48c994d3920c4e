package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/mdms/vee"
)

func newConfig(a *app, root *cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Example: "  wattbus config check center wattbus.yaml",
		Short:   "Check a configuration file",
	}
	var quiet bool
	check := &cobra.Command{
		Use: "check COMMAND|calendar|vee [FILE] [-- FLAGS]", DisableFlagsInUseLine: true,
		Short: "Check FILE as the --config of COMMAND, as a tariff calendar or as a rule set, and print what would be in force",
		Long: `Check FILE as the --config of COMMAND (up, center, concentrator, …) together with the environment and the flags behind --, and
print the values that would be in force, secrets hidden, each with where it is from if it is no default. The command line wins over the
environment, which wins over the file. Without FILE it is the one that WATTBUS_CONFIG names, or none. Nothing is started.

"config check calendar FILE" checks a tariff calendar instead and prints its times of use day by day, for a year from today or from
the beginning of the calendar; docs/billing.md describes the file.

"config check vee FILE" checks a rule set of validation and estimation and prints all of it; docs/vee.md describes it.`,
		Example: "  wattbus config check center wattbus.yaml\n" +
			"  wattbus config check center wattbus.yaml -- --http 127.0.0.1:9000\n" +
			"  wattbus config check calendar examples/tariff-day-night.yaml\n" +
			"  wattbus config check vee rules.yaml",
		Args: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				args = args[:n]
			}
			return cobra.RangeArgs(1, 2)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var given []string
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				args, given = args[:n], args[n:]
			}
			file := a.configFile
			if len(args) > 1 {
				file = args[1]
			}
			switch {
			case (args[0] == "calendar" || args[0] == "vee") && (file == "" || given != nil):
				return usagef("want a FILE and no flags behind it: config check %s FILE", args[0])
			case args[0] == "calendar":
				return checkCalendar(a, file, quiet)
			case args[0] == "vee":
				return checkRules(a, file, quiet)
			}
			target, _, err := root.Find([]string{args[0]})
			if err != nil || target == root {
				return usagef("unknown command %q, want one of this program such as up or center, or calendar or vee", args[0])
			}
			foreign := allFlags(root)
			flags := target.Flags()
			flags.AddFlagSet(root.PersistentFlags())
			if err := target.ParseFlags(given); err != nil {
				return &usageError{err: flagError(target, err), hint: target.CommandPath()}
			}
			if rest := flags.Args(); len(rest) > 0 {
				return usagef("argument %q: want only flags behind --", rest[0])
			}
			from, err := config.ApplyFrom(flags, a.Env, file, func(k string) bool { return foreign[k] })
			if err != nil {
				return &usageError{err: err}
			}
			if quiet {
				return nil
			}
			if w := warnUnreachable(flags); w != "" {
				fmt.Fprintln(a.Err, "warning: "+w)
			}
			_, err = fmt.Fprint(a.Out, config.Report(flags, from))
			return err
		},
	}
	check.Flags().BoolVarP(&quiet, "quiet", "q", false, "print errors only")
	cmd.AddCommand(check)
	return cmd
}

// checkRules checks a rule set of package vee and prints all of it, as it would be in force.
func checkRules(a *app, file string, quiet bool) error {
	rules, err := loadRules(file)
	if err != nil {
		return &usageError{err: err}
	}
	if !quiet {
		_, err = fmt.Fprintf(a.Out, "# rule set %s\n%s", rules.ID(), rules)
	}
	return err
}

// loadRules reads a rule set; "" is the default one.
func loadRules(file string) (*vee.Rules, error) {
	if file == "" {
		return vee.Default(), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("rule set: %w", err)
	}
	return vee.Load(file, text)
}
