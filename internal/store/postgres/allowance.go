package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putAllowances(ctx context.Context, tx pgx.Tx, as []store.Allowance) error {
	for _, a := range as {
		query, args := `INSERT INTO allowance (name, doc) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc`, []any{a.Name, a.Doc}
		if a.Doc == nil {
			query, args = `DELETE FROM allowance WHERE name = $1`, args[:1]
		}
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return fmt.Errorf("store %s: allowance %s: %w", s.name, a.Name, err)
		}
	}
	return nil
}

// Allowances implements store.Store.
func (s *Store) Allowances(ctx context.Context) ([]store.Allowance, error) {
	var out []store.Allowance
	err := s.each(ctx, func(rows pgx.Rows) error {
		var a store.Allowance
		if err := rows.Scan(&a.Name, &a.Doc); err != nil {
			return err
		}
		out = append(out, a)
		return nil
	}, `SELECT name, doc FROM allowance ORDER BY name COLLATE "C"`)
	return out, err
}
