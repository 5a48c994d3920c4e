package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/auth"
)

func newToken(a *app) *cobra.Command {
	var (
		rights string
		remove bool
	)
	cmd := &cobra.Command{
		Use:   "token FILE NAME",
		Short: "Make a token of the API for a person or a program, or take one back",
		Long: `Make a token of the API for a person or a program and put its name, rights and hash into a file for "wattbus center --tokens".
The token is printed once and stands nowhere else. Whoever is there already gets a new token with the rights named now, and the old one ends. What is asked
for with a token is kept under its name: who wants somebody else to decide needs two of them.

Rights, with commas between; each but view implies view:

  view      look at everything
  operate   commands to meters
  edit      groups, the registry, values
  approve   decide on what somebody else asked for
  admin     backups
  all       all of these

A centre that runs reads the file again within a few seconds, or at SIGHUP.`,
		Example: "  wattbus token tokens alice --rights operate,edit\n  wattbus token tokens grafana --rights view > grafana.token\n  wattbus token tokens alice --delete",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			file, name := args[0], args[1]
			check := auth.CheckTokenName
			if remove {
				check = auth.CheckUser
			}
			if err := check(name); err != nil {
				return &usageError{err: err}
			}
			if remove {
				deleted, err := auth.DeleteUser(file, name)
				if err == nil && !deleted {
					err = fmt.Errorf("%s holds no %q", file, name)
				}
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.Out, "%s taken out of %s\n", name, file)
				return err
			}
			may, err := api.ParseRights(rights)
			if err != nil {
				return usagef("flag --rights: %v", err)
			}
			token, added, err := auth.NewToken(file, name, may)
			if err != nil {
				return err
			}
			what := "has a new token in"
			if added {
				what = "added to"
			}
			fmt.Fprintf(a.Err, "%s %s %s, with the rights %s; the token, which is not shown again:\n", name, what, file, rights)
			_, err = fmt.Fprintln(a.Out, token)
			return err
		},
	}
	cmd.Flags().StringVar(&rights, "rights", "view", "what it may do, with commas between")
	cmd.Flags().BoolVar(&remove, "delete", false, "take it out of the file")
	return cmd
}

func newWhoami(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "whoami",
		Short:   "Show whose token this is, and what it may do",
		Example: "  wattbus whoami --token \"$TOKEN\"",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return showOne(cmd, l, []column[api.Principal]{
			{"name", func(p api.Principal) string { return p.Name }},
			{"rights", func(p api.Principal) string {
				words := make([]string, len(p.Rights))
				for i, r := range p.Rights {
					words[i] = string(r)
				}
				return strings.Join(words, ",")
			}},
		}, func(ctx context.Context, c *apiclient.Client) (api.Principal, error) {
			return c.Me(ctx)
		})
	}
	l.flags(cmd, false)
	return cmd
}
