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
	// Dropped chunks are left to many commits, so that the suite meets them.
	return sqlite.Open(ctx, sqlite.Sweeping(sqlite.Options{Path: filepath.Join(dir, "deep er", "wattbus.db")}, 2000))
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

// BenchmarkSeal seals 5,000 days of 96 quarter hours at a time, synced.
func BenchmarkSeal(b *testing.B) {
	s, err := open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	blocks := make([]store.Block, 5000)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		for i := range blocks {
			k := &blocks[i]
			if n == 0 {
				*k = store.Block{Day: 17833, Length: 15, Version: 1, Recorded: 17834 * 86400, HasReg: true, Wh: make([]uint32, 96), Quality: make([]cim.Quality, 96), Came: make([]byte, 58)}
				for j := range k.Wh {
					k.Wh[j], k.Quality[j] = uint32(i*31+j*17)%450, cim.Raw
				}
			}
			k.Device, k.Register = uint32(n*len(blocks)+i), uint64(i)*1e6
			if i%1000 == 7 {
				k.Missing, k.Wh[9], k.Quality[9] = 1, cim.NoValue, cim.Missing
			}
		}
		if _, err := s.Commit(b.Context(), &store.Commit{Stream: "S", Sequence: uint64(n + 1), Blocks: blocks}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(blocks)), "ns/block")
}
