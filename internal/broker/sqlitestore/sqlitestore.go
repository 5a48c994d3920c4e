package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	// The driver registers itself as "sqlite".
	_ "modernc.org/sqlite"

	"github.com/wattbus/wattbus/internal/broker"
)

// FileName is what the database is called in a data directory.
const FileName = "sessions.db"

// Store is a broker.SessionStore.
type Store struct {
	path string
	db   *sql.DB // one connection
	mu   sync.Mutex
	st   statements
}

var _ broker.SessionStore = (*Store)(nil)

// Open opens or makes the database; its directory is made. Beside it stand -wal and -shm
// while it is open. It refuses what is damaged, newer or another program's, with
// ErrCorrupt, ErrNewer or ErrForeign, and leaves it as it is.
func Open(ctx context.Context, path string) (*Store, error) {
	if path == "" {
		return nil, errors.New("broker store: path is empty, want the name of a database file")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("broker store: directory: %w", err)
	}
	version, err := check(ctx, path)
	if err != nil {
		return nil, err
	}
	// FULL: a commit is on the disk when it returns.
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-8000)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("broker store %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	s := &Store{path: path, db: db}
	if err = migrate(ctx, db, version); err == nil {
		err = s.st.prepare(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("broker store %s: open: %w", path, err), s.Close())
	}
	return s, nil
}

// Close ends the use of the database; it waits for a commit under way.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.close()
	return s.db.Close() // folds the write-ahead log into the database
}
