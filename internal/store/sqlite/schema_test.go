package sqlite

import (
	"compress/gzip"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/storetest"
)

// TestOfEachVersion opens databases of every earlier version, and one that was made and filled by the last program that kept
// no names of its steps.
func TestOfEachVersion(t *testing.T) {
	steps, err := store.Steps(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(steps) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			db, err := open(t.Context(), path, 1, "_txlock=immediate")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(migrateTo(t.Context(), db, path, steps[:n]), db.Close()); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), Options{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			if err := storetest.PutSample(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			storetest.CheckSample(t, s)
			var id int
			if err := s.write.QueryRow(`PRAGMA application_id`).Scan(&id); err != nil || id != applicationID {
				t.Errorf("application id %#x, %v", id, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("with data", func(t *testing.T) {
		path := fixture(t, "version3.db.gz")
		for range 2 { // the second time nothing is left to do
			s, err := Open(t.Context(), Options{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			storetest.CheckSample(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStepIsAllOrNothing: of a step that fails nothing stays, and those before it do.
func TestStepIsAllOrNothing(t *testing.T) {
	path := fixture(t, "version3.db.gz")
	steps, err := store.Steps(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	n := steps[len(steps)-1].Number
	steps = append(steps, store.Step{Number: n + 1, Name: "good", SQL: `CREATE TABLE a (x); CREATE TABLE b (x)`},
		store.Step{Number: n + 2, Name: "bad", SQL: `CREATE TABLE c (x); DROP TABLE block; CREATE TABLE a (x)`})
	db, err := open(t.Context(), path, 1, "_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := migrateTo(t.Context(), db, path, steps); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("step %d, bad", n+2)) {
		t.Fatal(err)
	}
	var version int
	var tables string
	if err := db.QueryRow(`SELECT (SELECT version FROM schema_version),
		(SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master WHERE name IN ('a', 'b', 'c', 'block') ORDER BY name))`).
		Scan(&version, &tables); err != nil || version != n+1 || tables != "a b block" {
		t.Fatalf("version %d, tables %s, %v", version, tables, err)
	}
}

// TestRefusesOtherLine: a database whose step of a number is another one is left as it is.
func TestRefusesOtherLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE schema_step SET name = 'elsewhere' WHERE number = 2`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Path: path}); !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), `"elsewhere"`) {
		t.Fatal(err)
	}
}

// TestStepBetween: a step whose number lies below the last one that was applied is applied, and the version stays.
func TestStepBetween(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	steps, err := store.Steps(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	last := steps[len(steps)-1].Number
	late := append(steps[:len(steps):len(steps)], store.Step{Number: last + 3, Name: "three", SQL: `CREATE TABLE three (x)`})
	db, err := open(t.Context(), path, 1, "_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := migrateTo(t.Context(), db, path, late); err != nil {
		t.Fatal(err)
	}
	all := append(steps[:len(steps):len(steps)], store.Step{Number: last + 1, Name: "one", SQL: `CREATE TABLE one (x)`}, late[len(late)-1])
	for range 2 {
		if err := migrateTo(t.Context(), db, path, all); err != nil {
			t.Fatal(err)
		}
	}
	var version, tables int
	if err := db.QueryRow(`SELECT (SELECT version FROM schema_version), (SELECT count(*) FROM sqlite_master WHERE name IN ('one', 'three'))`).
		Scan(&version, &tables); err != nil || version != last+3 || tables != 2 {
		t.Fatalf("version %d, %d tables, %v", version, tables, err)
	}
}
