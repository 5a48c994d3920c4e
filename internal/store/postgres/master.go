package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

// putMasterData keeps memberships and what is new in the registry.
func (s *Store) putMasterData(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	for _, g := range c.Groups {
		var b pgx.Batch
		b.Queue(`DELETE FROM member WHERE number = $1`, g.Number)
		for _, m := range g.Members {
			b.Queue(`INSERT INTO member (number, device, confirmed) VALUES ($1,$2,$3)`, g.Number, m.Device, m.Confirmed)
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: group %d: %w", s.name, g.Number, err)
		}
	}
	for parts := c.Registry; len(parts) > 0; {
		// Some at a time, so that the statements of a large import do not lie in memory a second time.
		n := min(len(parts), 32)
		var b pgx.Batch
		for _, part := range parts[:n] {
			b.Queue(`INSERT INTO registry (data) VALUES ($1)`, part)
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: registry: %w", s.name, err)
		}
		parts = parts[n:]
	}
	return nil
}
