package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putRuns(ctx context.Context, tx *sql.Tx, runs []store.Run) error {
	for i := range runs {
		r := &runs[i]
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO billing_run VALUES (?, ?, ?)`, r.Name, r.Recorded, r.Doc); err != nil {
			return fmt.Errorf("store %s: billing run %s: %w", s.path, r.Name, err)
		}
	}
	return nil
}

// BillingRun implements store.Store.
func (s *Store) BillingRun(ctx context.Context, name string) (store.Run, error) {
	r := store.Run{Name: name}
	err := s.read.QueryRowContext(ctx, `SELECT recorded, doc FROM billing_run WHERE name = ?`, name).Scan(&r.Recorded, &r.Doc)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("billing run %s: %w", name, store.ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("store %s: billing run %s: %w", s.path, name, err)
	}
	return r, nil
}

// BillingRuns implements store.Store.
func (s *Store) BillingRuns(ctx context.Context, f func(store.Run) error) error {
	return s.each(ctx, func(rows *sql.Rows) error {
		var r store.Run
		if err := rows.Scan(&r.Name, &r.Recorded, &r.Doc); err != nil {
			return err
		}
		return f(r)
	}, `SELECT name, recorded, doc FROM billing_run ORDER BY name`)
}
