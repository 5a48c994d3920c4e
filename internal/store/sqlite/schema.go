package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the database to the newest version, a step per transaction, and refuses one that is newer than that.
func migrate(ctx context.Context, db *sql.DB, path string) error {
	steps, err := store.Steps(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	return migrateTo(ctx, db, path, steps)
}

func migrateTo(ctx context.Context, db *sql.DB, path string, steps []store.Step) error {
	for {
		done, err := migrateOnce(ctx, db, steps)
		if err != nil {
			return fmt.Errorf("store %s: %w", path, err)
		}
		if done {
			return nil
		}
	}
}

// migrateOnce applies the next step and notes it, both or neither. It reports whether there was none left.
func migrateOnce(ctx context.Context, db *sql.DB, steps []store.Step) (done bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("schema version: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	version, applied, err := schemaVersion(ctx, tx)
	if err != nil {
		return false, fmt.Errorf("schema version: %w", err)
	}
	left, err := store.StepsLeft(steps, version, applied)
	if err != nil || len(left) == 0 {
		return true, err
	}
	if err := apply(ctx, tx, left[0], version); err != nil {
		return false, fmt.Errorf("schema step %d, %s: %w", left[0].Number, left[0].Name, err)
	}
	return false, nil
}

// schemaVersion is 0 for a new database. It changes nothing.
func schemaVersion(ctx context.Context, tx *sql.Tx) (version int, applied map[int]string, err error) {
	var versions, names int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE name = 'schema_version'), count(*) FILTER (WHERE name = 'schema_step')
		FROM sqlite_master WHERE type = 'table'`).Scan(&versions, &names); err != nil {
		return 0, nil, err
	}
	if versions == 0 {
		return 0, nil, nil
	}
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&version); err != nil || names == 0 {
		return version, nil, err
	}
	applied = map[int]string{}
	rows, err := tx.QueryContext(ctx, `SELECT number, name FROM schema_step`)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells what went wrong
	for rows.Next() {
		var n int
		var name string
		if err := rows.Scan(&n, &name); err != nil {
			return 0, nil, err
		}
		applied[n] = name
	}
	return version, applied, rows.Err()
}

func apply(ctx context.Context, tx *sql.Tx, s store.Step, version int) error {
	for _, q := range []struct {
		text string
		args []any
	}{
		{`CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)`, nil},
		{`CREATE TABLE IF NOT EXISTS schema_step (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied INTEGER NOT NULL)`, nil},
		{s.SQL, nil},
		{`DELETE FROM schema_version`, nil},
		{`INSERT INTO schema_version VALUES (?)`, []any{max(version, s.Number)}},
		{`INSERT INTO schema_step VALUES (?, ?, ?)`, []any{s.Number, s.Name, time.Now().Unix()}},
	} {
		if _, err := tx.ExecContext(ctx, q.text, q.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
