package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/store"
)

// putMasterData keeps memberships and what is new in the registry.
func (s *Store) putMasterData(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	for _, g := range c.Groups {
		if _, err := tx.ExecContext(ctx, `DELETE FROM member WHERE number = ?`, g.Number); err != nil {
			return fmt.Errorf("store %s: group %d: %w", s.path, g.Number, err)
		}
		for _, m := range g.Members {
			if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO member VALUES (?, ?, ?)`, g.Number, m.Device, m.Confirmed); err != nil {
				return fmt.Errorf("store %s: group %d: member %s: %w", s.path, g.Number, m.Device, err)
			}
		}
	}
	for _, part := range c.Registry {
		if _, err := tx.ExecContext(ctx, `INSERT INTO registry (data) VALUES (?)`, part); err != nil {
			return fmt.Errorf("store %s: registry: %w", s.path, err)
		}
	}
	return nil
}
