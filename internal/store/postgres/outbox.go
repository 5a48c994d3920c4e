package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putOut(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	if c.OutDone > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM outbox WHERE id <= $1`, int64(c.OutDone)); err != nil {
			return fmt.Errorf("store %s: outbox up to %d: %w", s.name, c.OutDone, err)
		}
	}
	for i := range c.Out {
		if _, err := tx.Exec(ctx, `INSERT INTO outbox (id, data) VALUES ($1,$2) ON CONFLICT (id) DO UPDATE SET data = excluded.data`,
			int64(c.Out[i].ID), c.Out[i].Data); err != nil {
			return fmt.Errorf("store %s: outbox: %w", s.name, err)
		}
	}
	return nil
}

// Outbox implements store.Store.
func (s *Store) Outbox(ctx context.Context, f func(store.Out) error) error {
	return s.each(ctx, func(rows pgx.Rows) error {
		var id int64
		var o store.Out
		if err := rows.Scan(&id, &o.Data); err != nil {
			return err
		}
		o.ID = uint64(id)
		return f(o)
	}, `SELECT id, data FROM outbox ORDER BY id`)
}
