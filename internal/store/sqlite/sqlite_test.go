package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/sqlite"
	"github.com/wattbus/wattbus/internal/store/storetest"
)

func open(ctx context.Context, dir string) (store.Store, error) {
	return sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "deep er", "wattbus.db")})
}

func TestMain(m *testing.M) {
	storetest.Main(open)
	goleak.VerifyTestMain(m)
}

func TestContract(t *testing.T) { storetest.Run(t, open) }

func TestRefusesNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s, err := open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "deep er", "wattbus.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE schema_version SET version = 1000`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "schema version 1000") {
		t.Fatalf("opened: %v", err)
	}
}

// edit runs a statement on the database file in dir.
func edit(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesForeignDatabases(t *testing.T) {
	for name, made := range map[string]string{
		"with tables":  `CREATE TABLE bookmarks (url TEXT)`,
		"with an id":   `PRAGMA application_id = 7`,
		"with its own": `CREATE TABLE schema_version (v); CREATE TABLE bookmarks (url TEXT)`,
		"half ours":    `PRAGMA application_id = 7; CREATE TABLE schema_version (version INTEGER)`,
	} {
		path := filepath.Join(t.TempDir(), "x.db")
		edit(t, path, made)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sqlite.Open(t.Context(), sqlite.Options{Path: path}); !errors.Is(err, store.ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file was changed, %v", name, err)
		}
	}
}

// TestTakesItsOwnHalfDatabase opens one whose making was cut short, as programs before there were steps could leave it.
func TestTakesItsOwnHalfDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	edit(t, path, `CREATE TABLE schema_version (version INTEGER NOT NULL)`)
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesWhatIsNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Options{Path: path}); err == nil {
		t.Fatal("opened")
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Options{}); err == nil {
		t.Fatal("opened without a path")
	}
}

// BenchmarkCommit commits 5,000 live readings at a time, synced.
func BenchmarkCommit(b *testing.B) {
	s, err := open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c := store.Chunk{Day: 17833, Rows: make([]store.Row, 5000)}
	for i := range c.Rows {
		c.Rows[i] = store.Row{Device: uint32(i), Length: 30, Quality: cim.Raw, Start: c.Day.Start(), Wh: uint32(i % 900), Register: uint64(i) * 1001, HasReg: true}
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := s.Commit(b.Context(), &store.Commit{Stream: "S", Sequence: uint64(n + 1), Chunks: []store.Chunk{c}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/reading")
}
