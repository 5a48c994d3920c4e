package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putAllowances(ctx context.Context, tx *sql.Tx, as []store.Allowance) error {
	for _, a := range as {
		query, args := `INSERT OR REPLACE INTO allowance (name, doc) VALUES (?, ?)`, []any{a.Name, a.Doc}
		if a.Doc == nil {
			query, args = `DELETE FROM allowance WHERE name = ?`, args[:1]
		}
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("store %s: allowance %s: %w", s.path, a.Name, err)
		}
	}
	return nil
}

// Allowances implements store.Store.
func (s *Store) Allowances(ctx context.Context) ([]store.Allowance, error) {
	var out []store.Allowance
	err := s.each(ctx, func(rows *sql.Rows) error {
		var a store.Allowance
		if err := rows.Scan(&a.Name, &a.Doc); err != nil {
			return err
		}
		out = append(out, a)
		return nil
	}, `SELECT name, doc FROM allowance ORDER BY name`)
	return out, err
}
