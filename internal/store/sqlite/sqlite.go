package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	// The driver registers itself as "sqlite".
	_ "modernc.org/sqlite"

	"github.com/wattbus/wattbus/internal/store"
)

// Options say where the database is.
type Options struct {
	Path    string // of the file; its directory is made. Beside it stand -wal and -shm while it is open
	Readers int    // connections that read; 0: as many as there are CPUs, at least 2

	vfs   string // of SQLite, for tests
	sweep int    // bytes, for tests; 0: store.SweepBytes
}

// Store is the SQLite backend of store.Store.
type Store struct {
	path  string
	some  int     // bytes of dropped chunks that a commit deletes
	write *sql.DB // one connection
	read  *sql.DB
	mu    sync.Mutex // held by whoever writes, so that a commit waits here and not in a busy loop
	stmts statements
	buf   []byte // packing space, under mu
	left  bool   // there may be dropped chunks, under mu
}

var _ store.Store = (*Store)(nil)

// Open opens or makes the database and brings its schema up to date.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Path == "" {
		return nil, errors.New("store: path is empty, want the name of a database file")
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o750); err != nil {
		return nil, fmt.Errorf("store: directory: %w", err)
	}
	if o.Readers <= 0 {
		o.Readers = max(2, runtime.NumCPU())
	}
	if err := checkOurs(ctx, o.Path); err != nil {
		return nil, err
	}
	s := &Store{path: o.Path, left: true, some: cmp.Or(o.sweep, store.SweepBytes)}
	vfs := ""
	if o.vfs != "" {
		vfs = "&vfs=" + o.vfs
	}
	var err error
	if s.write, err = open(ctx, o.Path, 1, "_txlock=immediate"+vfs); err != nil {
		return nil, err
	}
	if err = migrate(ctx, s.write, o.Path); err == nil {
		if s.read, err = open(ctx, o.Path, o.Readers, "_pragma=query_only(1)"+vfs); err == nil {
			err = s.stmts.prepare(ctx, s.write)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func open(ctx context.Context, path string, conns int, extra string) (*sql.DB, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(2000)" +
		"&_pragma=cache_size(-16000)&" + extra
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: open: %w", path, err), db.Close())
	}
	return db, nil
}

// Close ends all connections; it waits for a commit under way.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stmts.close()
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	errs = append(errs, s.write.Close()) // last: it folds the write-ahead log into the database
	return errors.Join(errs...)
}

// inTx runs f in the only write transaction.
func (s *Store) inTx(ctx context.Context, f func(*sql.Tx) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.left = s.left || err != nil }() // what was swept is back
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store %s: begin: %w", s.path, err)
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store %s: commit: %w", s.path, err)
	}
	return nil
}

// each calls f for every row of a query.
func (s *Store) each(ctx context.Context, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("store %s: %w", s.path, err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells what went wrong
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Size implements store.Store.
func (s *Store) Size(ctx context.Context) (store.Size, error) {
	var z store.Size
	err := s.read.QueryRowContext(ctx, `SELECT
		(SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()),
		coalesce((SELECT sum(length(data)) FROM block), 0), coalesce((SELECT sum(1440 / length) FROM block), 0),
		coalesce((SELECT sum(length(data)) FROM day_slot), 0),
		coalesce((SELECT sum(length(data)) FROM chunk c WHERE`+notDropped+`), 0), coalesce((SELECT sum(intervals) FROM chunk c WHERE`+notDropped+`), 0)`).
		Scan(&z.Bytes, &z.BlockBytes, &z.BlockIntervals, &z.SlotBytes, &z.ChunkBytes, &z.ChunkIntervals)
	if err != nil {
		return z, fmt.Errorf("store %s: size: %w", s.path, err)
	}
	if fi, err := os.Stat(s.path + "-wal"); err == nil {
		z.Bytes += fi.Size()
	}
	return z, nil
}
