package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putRuns(ctx context.Context, tx pgx.Tx, runs []store.Run) error {
	for i := range runs {
		r := &runs[i]
		if _, err := tx.Exec(ctx, `INSERT INTO billing_run (name, recorded, doc) VALUES ($1,$2,$3) ON CONFLICT DO NOTHING`, r.Name, r.Recorded, r.Doc); err != nil {
			return fmt.Errorf("store %s: billing run %s: %w", s.name, r.Name, err)
		}
	}
	return nil
}

// BillingRun implements store.Store.
func (s *Store) BillingRun(ctx context.Context, name string) (store.Run, error) {
	r := store.Run{Name: name}
	err := s.read.QueryRow(ctx, `SELECT recorded, doc FROM billing_run WHERE name = $1`, name).Scan(&r.Recorded, &r.Doc)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("billing run %s: %w", name, store.ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("store %s: billing run %s: %w", s.name, name, err)
	}
	return r, nil
}

// BillingRuns implements store.Store.
func (s *Store) BillingRuns(ctx context.Context, f func(store.Run) error) error {
	return s.each(ctx, func(rows pgx.Rows) error {
		var r store.Run
		if err := rows.Scan(&r.Name, &r.Recorded, &r.Doc); err != nil {
			return err
		}
		return f(r)
	}, `SELECT name, recorded, doc FROM billing_run ORDER BY name COLLATE "C"`)
}
