package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// notDropped is the condition that a chunk c is not dropped. A new chunk's id is higher than that of every other, and the last one that is
// dropped goes in the commit that forgets that they were, so that no new chunk is taken for one of them.
const notDropped = ` NOT EXISTS (SELECT 1 FROM dropped d WHERE d.day = c.day AND c.id <= d.last)`

// dropDays marks the days' chunks as dropped, which is soon done. sweep deletes them.
func (s *Store) dropDays(ctx context.Context, tx *sql.Tx, days []cim.Day) error {
	for _, day := range days {
		s.left = true
		if _, err := tx.ExecContext(ctx, `INSERT INTO dropped (day, last) SELECT day, max(id) FROM chunk WHERE day = ? GROUP BY day
			ON CONFLICT (day) DO UPDATE SET last = excluded.last`, day); err != nil {
			return fmt.Errorf("store %s: drop chunks of %v: %w", s.path, day, err)
		}
	}
	return nil
}

// sweep deletes dropped chunks, more of them than a commit of brought bytes adds.
func (s *Store) sweep(ctx context.Context, tx *sql.Tx, brought int) error {
	if !s.left {
		return nil
	}
	for budget := s.some + 2*brought; budget > 0; {
		var day, last int64
		err := tx.QueryRowContext(ctx, `SELECT day, last FROM dropped LIMIT 1`).Scan(&day, &last)
		if errors.Is(err, sql.ErrNoRows) {
			s.left = false
			return nil
		}
		var upto int64
		if err == nil {
			upto, budget, err = piece(ctx, tx, day, last, budget)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM chunk WHERE day = ? AND id <= ?`, day, upto)
		}
		if err == nil && upto == last {
			_, err = tx.ExecContext(ctx, `DELETE FROM dropped WHERE day = ?`, day)
		}
		if err != nil {
			return fmt.Errorf("store %s: dropped chunks: %w", s.path, err)
		}
	}
	return nil
}

// piece returns up to which chunk the budget lets a day's be deleted, and what is left of it.
func piece(ctx context.Context, tx *sql.Tx, day, last int64, budget int) (upto int64, left int, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, length(data) FROM chunk WHERE day = ? AND id <= ? ORDER BY id`, day, last)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells what went wrong
	for rows.Next() {
		if budget <= 0 {
			return upto, budget, nil
		}
		var size int
		if err := rows.Scan(&upto, &size); err != nil {
			return 0, 0, err
		}
		budget -= size + store.SweepRow
	}
	return last, budget, rows.Err()
}
