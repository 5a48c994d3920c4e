package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

// ErrOtherCentre is returned when the bus is not that of the centre whose store is to be copied.
var ErrOtherCentre = errors.New("it is another centre's")

// Source is what is copied.
type Source struct {
	// Bus writes a backup of the bus, as bus.Backup does.
	Bus func(ctx context.Context, w io.Writer, progress func(done, total uint64)) error
	// Stream is the incarnation of the stream of batches that the bus has to have, if that is known: one of another centre would not
	// have what this centre's store lacks.
	Stream string
	// SQLite is the path of the store's file, or Postgres the URL of its database, of which pg_dump makes a copy. Neither: the
	// store is copied by other means, after the bus.
	SQLite, Postgres string
	Program          string // version, for the manifest
}

// Write makes a backup in the new directory to. It stands there under another name until it is whole and synced.
func Write(ctx context.Context, to string, src Source, progress Progress) (m Manifest, err error) {
	partial := to + ".partial"
	for _, dir := range []string{to, partial} {
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			return m, fmt.Errorf("backup: %s exists already: give another name, or remove it", dir)
		}
	}
	if err := os.MkdirAll(partial, 0o750); err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	m = Manifest{Format: format, Program: src.Program, Begun: time.Now().UTC()}
	if err := writeSynced(filepath.Join(partial, busFile), func(w io.Writer) error {
		return src.Bus(ctx, w, func(done, total uint64) { progress.tell("bus", int64(done), int64(total)) })
	}); err != nil {
		return m, err
	}
	if src.Stream != "" {
		stream, err := readBus(partial, func(bus.Kept) error { return nil })
		if err != nil {
			return m, err
		}
		if stream != src.Stream {
			return m, fmt.Errorf("backup: the bus that was copied is %s, that of the data directory is %s: %w", stream, src.Stream, ErrOtherCentre)
		}
	}
	names := []string{busFile}
	switch {
	case src.SQLite != "":
		names = append(names, sqliteFile)
		if err := sqlite.Copy(ctx, src.SQLite, filepath.Join(partial, sqliteFile), func(done, total int) {
			progress.tell("store", int64(done), int64(total))
		}); err != nil {
			return m, err
		}
	case src.Postgres != "":
		names = append(names, dumpFile)
		if err := postgres.Dump(ctx, src.Postgres, filepath.Join(partial, dumpFile)); err != nil {
			return m, err
		}
	}
	for i, name := range names {
		progress.tell("checksums", int64(i), int64(len(names)))
		if err := os.Chmod(filepath.Join(partial, name), 0o640); err != nil { // those that others made, too
			return m, fmt.Errorf("backup: %w", err)
		}
		f, err := sumFile(ctx, partial, name, nil)
		if err != nil {
			return m, err
		}
		m.Files = append(m.Files, f)
	}
	m.Ended = time.Now().UTC()
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	if err := writeSynced(filepath.Join(partial, manifestFile), func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err }); err != nil {
		return m, err
	}
	return m, moveDir(partial, to)
}

// writeSynced makes a file, which is on disk when it returns.
func writeSynced(path string, f func(io.Writer) error) (err error) {
	w, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := f(w); err != nil {
		return err
	}
	return w.Sync()
}

// moveDir gives a directory its name once what is in it is on disk.
func moveDir(from, to string) error {
	if err := syncDir(from); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return syncDir(filepath.Dir(to))
}
