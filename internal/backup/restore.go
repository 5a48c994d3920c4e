package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

// Contents is what a backup was found to hold.
type Contents struct {
	Manifest
	Store       store.Size // only of a SQLite store
	Batches     int        // on the bus
	DeadLetters int
	PutBack     int // batches that the store had not consumed, and are on the new bus
}

// Verify reads all of a backup: checksums, the messages of the bus, and a SQLite store's pages, chunks and blocks.
func Verify(ctx context.Context, dir string, progress Progress) (c Contents, err error) {
	if c.Manifest, err = readManifest(dir); err != nil {
		return c, err
	}
	if err := checkSums(ctx, dir, &c.Manifest, progress); err != nil {
		return c, err
	}
	if _, err := readBus(dir, func(k bus.Kept) error {
		if k.Dead {
			c.DeadLetters++
			return nil
		}
		c.Batches++
		_, err := bus.DecodeBatch(k.Data)
		return err
	}); err != nil {
		return c, err
	}
	if !c.has(sqliteFile) {
		return c, nil
	}
	// A database that is opened gets files beside it: not in the backup.
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".wattbus-verify-")
	if err != nil {
		return c, fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := copyFile(ctx, filepath.Join(dir, sqliteFile), filepath.Join(tmp, sqliteFile)); err != nil {
		return c, err
	}
	progress.tell("store", 0, 1)
	c.Store, err = sqlite.Verify(ctx, filepath.Join(tmp, sqliteFile))
	return c, err
}

func readBus(dir string, f func(bus.Kept) error) (stream string, err error) {
	r, err := os.Open(filepath.Join(dir, busFile))
	if err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return bus.ReadBackup(r, f)
}

// Target is where a backup is put back.
type Target struct {
	Data string // the centre's data directory; it must be missing or empty
	// Postgres is the URL of the database into which the store's dump was restored. A SQLite store goes into Data.
	Postgres string
	Logger   *slog.Logger
}

// Restore verifies a backup and makes a data directory of it, of which nothing is to be seen before it is whole.
func Restore(ctx context.Context, from string, to Target, progress Progress) (c Contents, err error) {
	if entries, err := os.ReadDir(to.Data); err == nil && len(entries) > 0 {
		return c, fmt.Errorf("backup: directory %s is not empty: a centre's data is not overwritten, give another directory", to.Data)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return c, fmt.Errorf("backup: %w", err)
	}
	work := filepath.Clean(to.Data) + ".restoring"
	if _, err := os.Lstat(work); !errors.Is(err, os.ErrNotExist) {
		return c, fmt.Errorf("backup: %s exists already, of a restore that was cut short: remove it", work)
	}
	if c, err = Verify(ctx, from, progress); err != nil {
		return c, err
	}
	if c.has(sqliteFile) != (to.Postgres == "") {
		return c, fmt.Errorf("backup %s: its store is %s: restore that first and name the database with --store, if and only if it is PostgreSQL", from, storeKind(&c))
	}
	if err := os.MkdirAll(work, 0o750); err != nil {
		return c, fmt.Errorf("backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	var st store.Store
	if to.Postgres == "" {
		path := filepath.Join(work, sqliteFile)
		if err := copyFile(ctx, filepath.Join(from, sqliteFile), path); err != nil {
			return c, err
		}
		st, err = sqlite.Open(ctx, sqlite.Options{Path: path})
	} else {
		st, err = postgres.Open(ctx, postgres.Options{URL: to.Postgres, Ledger: true})
	}
	if err != nil {
		return c, err
	}
	if err := errors.Join(putBack(ctx, from, work, st, to.Logger, &c, progress), st.Close()); err != nil {
		return c, err
	}
	if err := os.Remove(to.Data); err != nil && !errors.Is(err, os.ErrNotExist) {
		return c, fmt.Errorf("backup: %w", err)
	}
	return c, moveDir(work, to.Data)
}

func storeKind(c *Contents) string {
	switch {
	case c.has(sqliteFile):
		return "SQLite"
	case c.has(dumpFile):
		return "a dump of PostgreSQL"
	}
	return "not in it"
}

// putBack makes a bus and commits to it what the store has not consumed.
func putBack(ctx context.Context, from, work string, st store.Store, log *slog.Logger, c *Contents, progress Progress) (err error) {
	b, err := bus.Open(ctx, bus.Options{Dir: filepath.Join(work, "bus"), Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	stream, err := readBus(from, func(bus.Kept) error { return nil })
	if err != nil {
		return err
	}
	have, err := st.Sequence(ctx, stream)
	if err != nil {
		return err
	}
	done := 0
	_, err = readBus(from, func(k bus.Kept) error {
		done++
		progress.tell("bus", int64(done), int64(c.Batches+c.DeadLetters))
		if !k.Dead && k.Sequence <= have {
			return nil
		}
		if !k.Dead {
			c.PutBack++
		}
		return b.PutBack(ctx, k)
	})
	return err
}

func copyFile(ctx context.Context, from, to string) (err error) {
	r, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return writeSynced(to, func(w io.Writer) error {
		for {
			if _, err := io.CopyN(w, r, 16<<20); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	})
}
