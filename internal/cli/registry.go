package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

func newRegistryCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Usage points, meters, and which meter was where when",
		Long: `The registry holds usage points with their place in the grid, fuse, tariff and customer, meters as things, and which meter was
where when, with the registers at both ends. Changes are added, never overwritten: --known shows what was known at any time.
The columns of its CSV form are in docs/registry.md.`,
		Example: "  wattbus registry import usage-points.csv --dry-run\n  wattbus registry show --feeder F1\n  wattbus registry exchange UP4711 --old-import 12345678 --meter M1009999 --first-import 0",
	}
	cmd.AddCommand(newRegistryImport(a), newRegistryExport(a), newRegistryShow(a), newRegistryHistory(a), newRegistryExchange(a), newRegistryRetire(a))
	return cmd
}

func newRegistryImport(a *app) *cobra.Command {
	l := &look{app: a}
	var dryRun bool
	var by string
	cmd := &cobra.Command{
		Use:     "import FILE",
		Example: "  wattbus registry import grid.csv --dry-run\n  zcat grid.csv.gz | wattbus registry import -",
		Short:   "Import a CSV file, all of it or nothing; - reads standard input",
		Long: `Import a CSV file: all of it, or nothing if a single line is wrong. Every wrong line is told with its column and value. Lines
that say nothing new change nothing, so a file may be imported again.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, size := a.In, int64(-1)
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usagef("%v", err)
				}
				defer func() { _ = f.Close() }()
				st, err := f.Stat()
				if err != nil || !st.Mode().IsRegular() && st.IsDir() {
					return usagef("%s is no file", args[0])
				}
				if file = f; st.Mode().IsRegular() {
					size = st.Size()
				}
			}
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				p := newProgress(a.Err, "Importing")
				in := &counted{r: file, size: size, p: p}
				got, err := c.ImportRegistry(ctx, in, size, dryRun, by)
				p.clear()
				if err != nil {
					return importProblem(a, err)
				}
				return showImport(a, l.output, got)
			})
		},
	}
	l.flags(cmd, false)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check the file and count what would change, but change nothing")
	byFlag(cmd, &by)
	return cmd
}

func byFlag(cmd *cobra.Command, by *string) {
	cmd.Flags().StringVar(by, "by", os.Getenv("USER"), "who does it, for the history")
}

// counted tells how far a file was read.
type counted struct {
	r          io.Reader
	done, size int64
	p          *progress
}

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.done += int64(n)
	note := "bytes"
	if c.size > 0 && c.done >= c.size {
		note = "bytes; the centre checks them together"
	}
	c.p.update(c.done, max(c.size, c.done), note)
	return n, err
}

// counter tells how much was written.
type counter struct {
	w    io.Writer
	done int64
	p    *progress
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.done += int64(n)
	c.p.update(c.done, 0, "bytes")
	return n, err
}

// importProblem prints every wrong line, and returns the sum of them.
func importProblem(a *app, err error) error {
	var p *api.Problem
	if !errors.As(err, &p) || len(p.Errors) < 2 {
		return err
	}
	for _, e := range p.Errors {
		if e.Field == "" {
			fmt.Fprintln(a.Err, e.Detail)
			continue
		}
		between := " " // the value comes first
		if !strings.HasPrefix(e.Detail, `"`) {
			between = ": "
		}
		fmt.Fprintln(a.Err, e.Field+between+e.Detail)
	}
	q := *p
	q.Errors, q.Field = nil, ""
	return &q
}

func showImport(a *app, o output, got api.RegistryImport) error {
	if o.format == "json" {
		return write(a.Out, o, []api.RegistryImport{got}, nil)
	}
	type row struct {
		what string
		t    api.ImportTally
	}
	rows := []row{{"usage points", got.UsagePoints}, {"meters", got.Meters}, {"installations", got.Installations}}
	number := func(f func(api.ImportTally) int) func(row) string {
		return func(r row) string { return strconv.Itoa(f(r.t)) }
	}
	if err := write(a.Out, o, rows, []column[row]{
		{"what", func(r row) string { return r.what }},
		{"new", number(func(t api.ImportTally) int { return t.New })},
		{"changed", number(func(t api.ImportTally) int { return t.Changed })},
		{"unchanged", number(func(t api.ImportTally) int { return t.Unchanged })},
	}); err != nil || o.format == "csv" {
		return err
	}
	switch {
	case got.DryRun:
		fmt.Fprintf(a.Out, "%s lines are right; nothing was changed (--dry-run)\n", thousands(got.Lines))
	case got.Applied:
		fmt.Fprintf(a.Out, "%s lines imported\n", thousands(got.Lines))
	default:
		fmt.Fprintf(a.Out, "%s lines, all of which were known: nothing was changed\n", thousands(got.Lines))
	}
	return nil
}

func newRegistryExport(a *app) *cobra.Command {
	l := &look{app: a}
	var known, file string
	cmd := &cobra.Command{
		Use:     "export",
		Example: "  wattbus registry export --out grid.csv\n  wattbus registry export --known 2018-12-12T00:00:00Z",
		Short:   "Export the registry as the CSV that an import reads",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := parseTime("known", known); err != nil {
				return err
			}
			client, err := l.server.client()
			if err != nil {
				return err
			}
			if file == "" || file == "-" {
				return client.ExportRegistry(cmd.Context(), a.Out, known)
			}
			// Whole or not at all: an export that is cut leaves the file that was there.
			f, err := os.CreateTemp(dirOf(file), ".registry-*")
			if err != nil {
				return err
			}
			bar := newProgress(a.Err, "Exporting")
			out := &counter{w: f, p: bar}
			err = errors.Join(client.ExportRegistry(cmd.Context(), out, known), f.Chmod(0o644), f.Close())
			bar.clear()
			if err == nil {
				err = os.Rename(f.Name(), file)
			}
			if err != nil {
				_ = os.Remove(f.Name())
			}
			return err
		},
	}
	l.server.flags(cmd.Flags())
	cmd.Flags().StringVar(&known, "known", "", "as it was known at this time, RFC 3339 (default: now)")
	cmd.Flags().StringVar(&file, "out", "", "file to write (default, or -: standard output)")
	return cmd
}

func dirOf(file string) string {
	if i := strings.LastIndexByte(file, os.PathSeparator); i >= 0 {
		return file[:i+1]
	}
	return "."
}

func optionalNumber(cmd *cobra.Command, flag string, v uint64) *uint64 {
	if !cmd.Flags().Changed(flag) {
		return nil
	}
	return &v
}

func newRegistryExchange(a *app) *cobra.Command {
	l := &look{app: a}
	e := api.MeterExchange{}
	var at string
	var oldImport, oldExport, firstImport, firstExport uint64
	cmd := &cobra.Command{
		Use:     "exchange USAGE-POINT",
		Example: "  wattbus registry exchange UP4711 --old-import 12345678 --meter M1009999 --first-import 0 --reason age\n  wattbus registry exchange UP4711 --old-import 12345678   # taken out only",
		Short:   "Tell that the meter of a usage point was exchanged, or taken out",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTime("time", at)
			if err != nil {
				return err
			}
			if e.UsagePoint = args[0]; t != nil {
				e.Time = *t
			}
			e.OldImport, e.OldExport = optionalNumber(cmd, "old-import", oldImport), optionalNumber(cmd, "old-export", oldExport)
			e.FirstImport, e.FirstExport = optionalNumber(cmd, "first-import", firstImport), optionalNumber(cmd, "first-export", firstExport)
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				u, err := c.ExchangeMeter(ctx, e)
				if err != nil {
					return err
				}
				return showUsagePoint(a, l.output, u)
			})
		},
	}
	l.flags(cmd, false)
	f := cmd.Flags()
	f.StringVar(&at, "time", "", "when it was done, RFC 3339 (default: now)")
	f.Uint64Var(&oldImport, "old-import", 0, "final import register of the old meter, Wh")
	f.Uint64Var(&oldExport, "old-export", 0, "its final export register, Wh")
	f.StringVar(&e.Meter, "meter", "", "the new meter; none: the old one is taken out only")
	f.Uint64Var(&firstImport, "first-import", 0, "first import register of the new meter, Wh")
	f.Uint64Var(&firstExport, "first-export", 0, "its first export register, Wh")
	f.StringVar(&e.Serial, "serial", "", "its serial number")
	f.IntVar(&e.Dials, "dials", 0, "digits of its registers, kWh")
	f.StringVar(&e.Reason, "reason", "", "why")
	byFlag(cmd, &e.By)
	return cmd
}

func newRegistryRetire(a *app) *cobra.Command {
	l := &look{app: a}
	r := api.MeterRetirement{}
	var at string
	var oldImport, oldExport uint64
	cmd := &cobra.Command{
		Use:     "retire METER",
		Example: "  wattbus registry retire M1000317 --old-import 12345678 --reason scrapped",
		Short:   "Tell that a meter never comes back",
		Long: `Tell that a meter never comes back: it is taken out of its usage point if it is at one, no intervals are expected of it any more,
it is in no list, and what it still sends is ignored. Its values and its history stay.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTime("time", at)
			if err != nil {
				return err
			}
			if r.ID = args[0]; t != nil {
				r.Time = *t
			}
			r.OldImport, r.OldExport = optionalNumber(cmd, "old-import", oldImport), optionalNumber(cmd, "old-export", oldExport)
			return showOne(cmd, l, []column[api.Retired]{
				{"id", func(r api.Retired) string { return r.ID }},
				{"life", func(r api.Retired) string { return r.Life }},
				{"time", func(r api.Retired) string { return r.Time.Format(time.RFC3339) }},
			}, func(ctx context.Context, c *apiclient.Client) (api.Retired, error) {
				return c.RetireMeter(ctx, r)
			})
		},
	}
	l.flags(cmd, false)
	f := cmd.Flags()
	f.StringVar(&at, "time", "", "since when, RFC 3339 (default: now)")
	f.Uint64Var(&oldImport, "old-import", 0, "its final import register, Wh")
	f.Uint64Var(&oldExport, "old-export", 0, "its final export register, Wh")
	f.StringVar(&r.Reason, "reason", "", "why")
	byFlag(cmd, &r.By)
	return cmd
}
