package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putOut(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	if c.OutDone > 0 {
		if _, err := tx.ExecContext(ctx, `DELETE FROM outbox WHERE id <= ?`, int64(c.OutDone)); err != nil {
			return fmt.Errorf("store %s: outbox up to %d: %w", s.path, c.OutDone, err)
		}
	}
	for i := range c.Out {
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO outbox VALUES (?, ?)`, int64(c.Out[i].ID), c.Out[i].Data); err != nil {
			return fmt.Errorf("store %s: outbox: %w", s.path, err)
		}
	}
	return nil
}

// Outbox implements store.Store.
func (s *Store) Outbox(ctx context.Context, f func(store.Out) error) error {
	return s.each(ctx, func(rows *sql.Rows) error {
		var id int64
		var o store.Out
		if err := rows.Scan(&id, &o.Data); err != nil {
			return err
		}
		o.ID = uint64(id)
		return f(o)
	}, `SELECT id, data FROM outbox ORDER BY id`)
}
