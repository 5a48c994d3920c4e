package postgres_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/storetest"
)

// TestDump dumps a store, loses it, and restores it with PostgreSQL's own program.
func TestDump(t *testing.T) {
	o := schema(t, "dumped")
	for _, program := range []string{"pg_dump", "pg_restore"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("WATTBUS_CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	s, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.PutSample(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "store.pgdump")
	if err := postgres.Dump(t.Context(), o.URL, file); err != nil {
		t.Fatal(err)
	}
	if _, err := connectTo(t, "dumped").Exec(t.Context(), `DROP SCHEMA dumped CASCADE`); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("pg_restore", "--dbname="+os.Getenv(serverEnv), file).CombinedOutput(); err != nil {
		t.Fatalf("pg_restore: %v: %s", err, out)
	}
	if s, err = postgres.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	storetest.CheckSample(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Dump(t.Context(), "postgres://u:hush@127.0.0.1:1/x", file+"2"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("a server that is not there: %v", err)
	}
}
