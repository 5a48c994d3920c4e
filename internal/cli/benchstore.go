package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/sqlite"
	"github.com/wattbus/wattbus/internal/storebench"
)

func newBenchStore(a *app) *cobra.Command {
	var out output
	var url, dir string
	var meters, length, past int
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Measure the store with a day of many meters: committed, sealed, validated, read, exported",
		Long: `Measure the store with a day of many meters on real load curves: how fast intervals are committed, synced; how long the
sealing of the day takes while the next one's come in, and its validation after that; what a sealed interval takes, and what of it is
for when each value came; how long single meters' days and months, the sums by slot and who lacks intervals take to read; and the
export of a million intervals. CPU is this process's, so without the server's for PostgreSQL.

The store must be empty: SQLite in a directory that is removed afterwards, or --store postgres://… for a database of yours.`,
		Example: "  wattbus bench store --meters 200000 --interval 15\n  wattbus bench store --store 'postgres://wattbus@/bench?host=/run/postgresql'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(a); err != nil {
				return err
			}
			if meters < 1000 || !slices.Contains([]int{1, 5, 15, 30, 60}, length) || past < 0 || past > 300 {
				return usagef("want at least 1000 meters, intervals of 1, 5, 15, 30 or 60 minutes and up to 300 days")
			}
			o := storebench.Options{Meters: meters, Length: uint16(length), Days: past, CommitRows: 50_000, SealRows: 5_000, CPU: ownCPU}
			return benchStore(cmd.Context(), a, out, o, url, dir)
		},
	}
	out.flag(cmd.Flags())
	f := cmd.Flags()
	f.IntVar(&meters, "meters", 200_000, "meters")
	f.IntVar(&length, "interval", 15, "minutes of an interval")
	f.IntVar(&past, "days", 29, "sealed days before, of a tenth of the meters")
	f.StringVar(&url, "store", "", "postgres://user:password@host:port/database (default: SQLite)")
	f.StringVar(&dir, "dir", "", "where to make the SQLite database (default: a directory for temporary files)")
	config.MarkSecret(f, "store")
	return cmd
}

func benchStore(ctx context.Context, a *app, out output, o storebench.Options, url, dir string) (err error) {
	var st store.Store
	if isPostgres(url) {
		st, err = postgres.Open(ctx, postgres.Options{URL: url, Ledger: true})
	} else {
		if dir, err = os.MkdirTemp(dir, "wattbus-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		st, err = sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "wattbus.db")})
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	bar := newProgress(a.Err, "bench")
	o.Store = st
	o.Progress = func(part string, done, total int64) { bar.update(done, total, part) }
	rows, err := storebench.Run(ctx, o)
	bar.clear()
	if err != nil {
		return err
	}
	return write(a.Out, out, rows, []column[storebench.Row]{
		{"what", func(r storebench.Row) string { return r.What }},
		{"value", func(r storebench.Row) string { return figure(r.Value) }},
		{"unit", func(r storebench.Row) string { return r.Unit }},
	})
}
