package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/backup"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/dirlock"
)

// backupOptions are the flags of backup and restore.
type backupOptions struct {
	app                    *app
	data, storeURL, busURL string
	busOnly, verify        bool
	server                 server
}

func newBackup(a *app) *cobra.Command {
	o := backupOptions{app: a}
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy what the centre keeps into a new directory, while it runs",
		Long: `Copy what the centre keeps into a new directory: the bus, and after it the store. Everything that the centre acknowledged
before the backup began is in it. Readings go on being taken; nothing waits.

Run it on the centre's machine: a SQLite store is copied from the data directory, the bus through the running centre's API
(--server), from a bus of your own (--bus), or, when no centre runs, from the data directory as well. Of a PostgreSQL store
pg_dump makes the copy; for one as large that you copy it otherwise (pg_basebackup, archived logs), take --bus-only first and
that copy afterwards.

The directory appears when the backup is whole. 'wattbus restore --verify DIR' reads all of it.`,
		Example: "  wattbus backup --data /var/lib/wattbus /backup/wattbus-$(date +%F)\n" +
			"  wattbus backup --data /var/lib/wattbus --store postgres://wattbus@db/wattbus /backup/wattbus-$(date +%F)",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.backup(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	o.flags(cmd, "of the centre")
	o.server.flags(f)
	f.StringVar(&o.busURL, "bus", "", "NATS server or cluster of the centre, nats://host:4222")
	f.BoolVar(&o.busOnly, "bus-only", false, "leave the store out; it is copied by other means afterwards")
	return cmd
}

func newRestore(a *app) *cobra.Command {
	o := backupOptions{app: a}
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Make a new data directory of a backup, or verify the backup",
		Long: `Verify a backup, and make a data directory of it in which a centre can be started. A directory that holds something is not
touched. What the backup's store had not consumed lies on the new bus and is consumed when the centre starts; what meters
measured since is fetched from them.

A dump of PostgreSQL is restored by pg_restore first: pg_restore --dbname=... DIR/store.pgdump; then name the database here
with --store.`,
		Example: "  wattbus restore --verify /backup/wattbus-2026-11-28\n  wattbus restore --data /var/lib/wattbus /backup/wattbus-2026-11-28",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.restore(cmd.Context(), args[0]) },
	}
	o.flags(cmd, "to be made; missing or empty")
	cmd.Flags().BoolVar(&o.verify, "verify", false, "read all of the backup and put nothing back")
	return cmd
}

func (o *backupOptions) flags(cmd *cobra.Command, which string) {
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "wattbus-data", "data directory "+which)
	f.StringVar(&o.storeURL, "store", "", "sqlite:PATH, or postgres://user:password@host:port/database (default: SQLite below --data)")
	config.MarkSecret(f, "store")
}

func (o *backupOptions) backup(ctx context.Context, to string) error {
	src := backup.Source{Program: versionText()}
	switch {
	case o.busOnly:
	case isPostgres(o.storeURL):
		src.Postgres = o.storeURL
	case o.storeURL != "":
		src.SQLite = strings.TrimPrefix(o.storeURL, "sqlite:")
	default:
		src.SQLite = filepath.Join(o.data, "wattbus.db")
	}
	release, err := o.source(ctx, &src)
	if err != nil {
		return err
	}
	bar := o.progress("backup")
	m, err := backup.Write(ctx, to, src, bar.tell)
	if errors.Is(err, backup.ErrOtherCentre) {
		err = fmt.Errorf("flag --server: %w; it has to name the centre that runs on %s", err, o.data)
	}
	if err = errors.Join(err, release()); err != nil {
		bar.clear()
		return err
	}
	size := int64(0)
	for _, f := range m.Files {
		size += f.Bytes
	}
	bar.finish(fmt.Sprintf("%s bytes", thousands(size)))
	fmt.Fprintln(o.app.Out, to)
	return nil
}

// source says how the bus is copied: from a bus of its own, through the running centre, or, if there is none, by opening it.
func (o *backupOptions) source(ctx context.Context, src *backup.Source) (release func() error, err error) {
	if o.busURL != "" {
		return o.openBus(ctx, src, bus.Options{URL: o.busURL})
	}
	dir := filepath.Join(o.data, "bus")
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("flag --data: no bus of a centre below %s: %w", o.data, err)
	}
	unlock, err := dirlock.Take(o.data)
	if err == nil {
		closeBus, err := o.openBus(ctx, src, bus.Options{Dir: dir})
		if err != nil {
			return nil, errors.Join(err, unlock())
		}
		return func() error { return errors.Join(closeBus(), unlock()) }, nil
	}
	if !errors.Is(err, dirlock.ErrInUse) {
		return nil, err
	}
	// Who may read the store need not be who may read the bus.
	if src.Stream, err = bus.Incarnation(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	client, err := o.server.client()
	if err != nil {
		return nil, err
	}
	src.Bus = func(ctx context.Context, w io.Writer, _ func(done, total uint64)) error {
		return client.BackupBus(ctx, w)
	}
	return func() error { client.Close(); return nil }, nil
}

func (o *backupOptions) openBus(ctx context.Context, src *backup.Source, bo bus.Options) (func() error, error) {
	log, err := o.app.logger()
	if err != nil {
		return nil, err
	}
	bo.Logger = log
	b, err := bus.Open(ctx, bo)
	if err != nil {
		return nil, err
	}
	src.Bus = b.Backup
	return b.Close, nil
}

func (o *backupOptions) restore(ctx context.Context, from string) error {
	title, action := "restore", "restored"
	if o.verify {
		title, action = "verify", "verified"
	}
	bar := o.progress(title)
	var c backup.Contents
	var err error
	if o.verify {
		c, err = backup.Verify(ctx, from, bar.tell)
	} else {
		log, lerr := o.app.logger()
		if lerr != nil {
			return lerr
		}
		to := backup.Target{Data: o.data, Logger: log}
		if isPostgres(o.storeURL) {
			to.Postgres = o.storeURL
		} else if o.storeURL != "" {
			return usagef("flag --store: a SQLite store is restored below --data; move it afterwards")
		}
		c, err = backup.Restore(ctx, from, to, bar.tell)
	}
	if err != nil {
		bar.clear()
		return err
	}
	bar.finish(fmt.Sprintf("%s sealed intervals, %s in chunks, %d batches, %d dead letters", thousands(c.Store.BlockIntervals), thousands(c.Store.ChunkIntervals), c.Batches, c.DeadLetters))
	fmt.Fprintf(o.app.Out, "%s: %s of %s\n", from, action, c.Begun.Format("2006-01-02 15:04:05Z"))
	if c.Store.Audit.Sequence > 0 {
		fmt.Fprintf(o.app.Out, "%s: its audit trail is whole; head %v\n", from, c.Store.Audit)
	}
	return nil
}

// backupBar is one bar for all parts of the work.
type backupBar struct{ *progress }

func (o *backupOptions) progress(title string) backupBar {
	return backupBar{newProgress(o.app.Err, title)}
}

func (b backupBar) tell(part string, done, total int64) { b.update(done, total, part) }
