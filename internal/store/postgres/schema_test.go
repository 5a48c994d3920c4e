package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/postgres/pgtest"
	"github.com/wattbus/wattbus/internal/store/storetest"
)

func schema(t *testing.T, name string) postgres.Options {
	t.Helper()
	need(t)
	url, err := pgtest.Schema(t.Context(), os.Getenv(serverEnv), name)
	if err != nil {
		t.Fatal(err)
	}
	return postgres.Options{URL: url}
}

// migrated returns a store whose schema has the steps and no more.
func migrated(t *testing.T, o postgres.Options, steps []store.Step) (*postgres.Store, error) {
	t.Helper()
	s, err := postgres.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s, s.MigrateTo(t.Context(), steps)
}

// TestOfEachVersion opens schemas of every earlier version, and one that was made and filled by the last program that kept
// no names of its steps.
func TestOfEachVersion(t *testing.T) {
	need(t)
	steps, err := postgres.SchemaSteps()
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(steps) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			o := schema(t, fmt.Sprintf("version%d", n))
			s, err := migrated(t, o, steps[:n])
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			if s, err = postgres.Open(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if err := storetest.PutSample(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			storetest.CheckSample(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("with data", func(t *testing.T) {
		o := schema(t, "fixture")
		text, err := os.ReadFile(filepath.Join("testdata", "version1.sql"))
		if err != nil {
			t.Fatal(err)
		}
		conn := connectTo(t, "fixture")
		if _, err := conn.Exec(t.Context(), string(text)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time nothing is left to do
			s, err := postgres.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			storetest.CheckSample(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := intervals(t, conn); len(got) == 0 {
			t.Fatal("the view intervals is empty")
		}
	})
}

// TestStepIsAllOrNothing: of a step that fails nothing stays, and those before it do.
func TestStepIsAllOrNothing(t *testing.T) {
	need(t)
	steps, err := postgres.SchemaSteps()
	if err != nil {
		t.Fatal(err)
	}
	n := steps[len(steps)-1].Number
	steps = append(steps, store.Step{Number: n + 1, Name: "good", SQL: `CREATE TABLE a (x int); CREATE TABLE b (x int)`},
		store.Step{Number: n + 2, Name: "bad", SQL: `CREATE TABLE c (x int); DROP TABLE member; CREATE TABLE a (x int)`})
	s, err := migrated(t, schema(t, "halfway"), steps)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("step %d, bad", n+2)) {
		t.Fatal(err)
	}
	defer s.Close()
	var version int
	var tables string
	if err := connectTo(t, "halfway").QueryRow(t.Context(), `SELECT (SELECT version FROM schema_version), (SELECT string_agg(relname, ' ' ORDER BY relname)
		FROM pg_class WHERE relnamespace = 'halfway'::regnamespace AND relname IN ('a', 'b', 'c', 'member'))`).Scan(&version, &tables); err != nil ||
		version != n+1 || tables != "a b member" {
		t.Fatalf("version %d, tables %s, %v", version, tables, err)
	}
}

// TestRefusesOtherLine: a schema whose step of a number is another one is left as it is.
func TestRefusesOtherLine(t *testing.T) {
	o := schema(t, "otherline")
	s, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := connectTo(t, "otherline").Exec(t.Context(), `UPDATE schema_step SET name = 'elsewhere' WHERE number = 2`); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(t.Context(), o); !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), `"elsewhere"`) {
		t.Fatal(err)
	}
}

// TestSameSteps: a change has the same number and name in both backends.
func TestSameSteps(t *testing.T) {
	ours, err := postgres.SchemaSteps()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := store.Steps(os.DirFS("../sqlite"), "migrations")
	if err != nil {
		t.Fatal(err)
	}
	for i := range max(len(ours), len(theirs)) {
		if i >= len(ours) || i >= len(theirs) || ours[i].Name != theirs[i].Name {
			t.Fatalf("step %d: only in one of the backends, or under two names", i+1)
		}
	}
}
