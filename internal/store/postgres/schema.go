package postgres

import (
	"context"
	"embed"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock keeps two processes that start at once from migrating together.
const migrationLock = 0x77617474 // "watt"

// migrate brings the schema to the newest version, a step per transaction, and refuses one that is newer than that.
func (s *Store) migrate(ctx context.Context) error {
	steps, err := store.Steps(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store %s: %w", s.name, err)
	}
	return s.migrateTo(ctx, steps)
}

func (s *Store) migrateTo(ctx context.Context, steps []store.Step) error {
	for done := false; !done; {
		if err := s.inTx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
				return fmt.Errorf("store %s: schema version: %w", s.name, err)
			}
			version, applied, err := schemaVersion(ctx, tx)
			if err != nil {
				return fmt.Errorf("store %s: schema version: %w", s.name, err)
			}
			left, err := store.StepsLeft(steps, version, applied)
			if err != nil {
				return fmt.Errorf("store %s: %w", s.name, err)
			}
			if done = len(left) == 0; done {
				return nil
			}
			if err := apply(ctx, tx, left[0], version); err != nil {
				return fmt.Errorf("store %s: schema step %d, %s: %w", s.name, left[0].Number, left[0].Name, err)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// schemaVersion is 0 for a new schema. It changes nothing.
func schemaVersion(ctx context.Context, tx pgx.Tx) (version int, applied map[int]string, err error) {
	var versions, names bool
	if err := tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE relname = 'schema_version') > 0, count(*) FILTER (WHERE relname = 'schema_step') > 0
		FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'`).Scan(&versions, &names); err != nil {
		return 0, nil, err
	}
	if !versions {
		return 0, nil, nil
	}
	if err := tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&version); err != nil || !names {
		return version, nil, err
	}
	rows, err := tx.Query(ctx, `SELECT number, name FROM schema_step`)
	if err != nil {
		return 0, nil, err
	}
	applied = map[int]string{}
	var n int
	var name string
	_, err = pgx.ForEachRow(rows, []any{&n, &name}, func() error { applied[n] = name; return nil })
	return version, applied, err
}

// apply applies one step to a schema of the version and notes it.
func apply(ctx context.Context, tx pgx.Tx, s store.Step, version int) error {
	for _, q := range []struct {
		text string
		args []any
	}{
		{`CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)`, nil},
		{`CREATE TABLE IF NOT EXISTS schema_step (number integer PRIMARY KEY, name text NOT NULL, applied bigint NOT NULL)`, nil},
		{s.SQL, nil},
		{`DELETE FROM schema_version`, nil},
		{`INSERT INTO schema_version VALUES ($1)`, []any{max(version, s.Number)}},
		{`INSERT INTO schema_step VALUES ($1, $2, extract(epoch FROM now())::bigint)`, []any{s.Number, s.Name}},
	} {
		if _, err := tx.Exec(ctx, q.text, q.args...); err != nil {
			return err
		}
	}
	return nil
}
