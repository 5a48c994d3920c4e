package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/config"
)

// hint is what may help against an error, as the end of its sentence; "" where nothing comes to mind.
func (a *app) hint(cmd *cobra.Command, err error) string {
	var authority x509.UnknownAuthorityError
	var problem *api.Problem
	switch {
	case errors.As(err, &authority):
		return "; --ca names the file with the certificate of its authority"
	case errors.Is(err, apiclient.ErrNoAnswer) && errors.Is(err, http.ErrSchemeMismatch):
		return "; does its address begin with http:// ?"
	case errors.Is(err, apiclient.ErrNoAnswer) && errors.Is(err, syscall.ECONNREFUSED):
		return "; does it run there? \"wattbus up\" starts one to try, --server or WATTBUS_SERVER tells where yours is"
	case errors.As(err, &problem) && problem.Status == http.StatusUnauthorized:
		if token := cmd.Flags().Lookup("token"); token != nil && token.Value.String() != "" {
			return "; the token that was shown is none that it knows"
		}
		return "; here by --token, or WATTBUS_TOKEN in the environment (wattbus token makes one)"
	case errors.As(err, &problem) && strings.Contains(problem.Detail, "HTTP request to an HTTPS server"):
		return " Its address begins with https://."
	case errors.As(err, &problem) && problem.Status != http.StatusBadRequest && problem.Status != http.StatusNotFound:
		return ""
	}
	return a.meant(cmd, err.Error())
}

// hintWithin is how long an error waits for what the centre knows that looks like a name that it does not know.
const hintWithin = time.Second

// meant names what a mistyped argument or flag most likely was to be, of what a shell would have completed it with.
func (a *app) meant(cmd *cobra.Command, wrong string) string {
	if strings.Contains(wrong, "did you mean") {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), hintWithin)
	defer cancel()
	near := func(one completion, before []string, value string) string {
		told := value[strings.LastIndexAny(value, ":=,")+1:] // of path:C1/C7 or a list the error names the last part alone
		if one.ask == nil || len(value) < 2 || told == "" || !strings.Contains(wrong, told) {
			return ""
		}
		s := &asked{app: a, cmd: cmd, ctx: ctx, args: before}
		// The centre lists what contains what is asked for, so it is asked for the parts in which the mistake may not be.
		for _, part := range []string{value[:len(value)-1], value[:len(value)-2], value[1:], value[len(value)/2:]} {
			names := one.ask(s, part)
			for i := range names {
				names[i], _, _ = strings.Cut(names[i], "\t")
			}
			names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, ":") || strings.HasSuffix(name, "=") }) // the beginning of one
			switch best := config.Nearest(names, value); best {
			case "":
			case value:
				return ""
			default:
				return "; did you mean " + best + "?"
			}
		}
		return ""
	}
	args := cmd.Flags().Args()
	for i, value := range args {
		if hint := near(argCompletion(cmd, i), args[:i], value); hint != "" {
			return hint
		}
	}
	hint := ""
	cmd.Flags().Visit(func(f *pflag.Flag) {
		value := strings.Trim(f.Value.String(), "[]")
		if hint == "" && !config.Secret(f) {
			hint = near(flagCompletion(cmd, f), args, value)
		}
	})
	return hint
}

// namesMissing reports whether a file or directory is not there that the command line, the environment or the configuration names.
func namesMissing(cmd *cobra.Command, err error) bool {
	var p *fs.PathError
	if !errors.As(err, &p) || !errors.Is(p, fs.ErrNotExist) {
		return false
	}
	named := slices.ContainsFunc(cmd.Flags().Args(), func(arg string) bool { return strings.TrimPrefix(arg, "@") == p.Path })
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			named = named || slices.Contains(list.GetSlice(), p.Path)
			return
		}
		named = named || f.Value.String() == p.Path
	})
	return named
}
