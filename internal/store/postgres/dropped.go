package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// notDropped is the condition that a chunk c is not dropped.
const notDropped = ` NOT EXISTS (SELECT 1 FROM dropped d WHERE d.day = c.day AND c.id <= d.last)`

// dropDays marks the days' chunks as dropped, which is soon done. sweep deletes them.
func (s *Store) dropDays(ctx context.Context, tx pgx.Tx, days []cim.Day) error {
	for _, day := range days {
		s.left = true
		if _, err := tx.Exec(ctx, `INSERT INTO dropped (day, last) SELECT $1::int, id FROM (SELECT id FROM chunk WHERE day = $1::int ORDER BY id DESC LIMIT 1) c
			ON CONFLICT (day) DO UPDATE SET last = excluded.last`, int32(day)); err != nil {
			return fmt.Errorf("store %s: drop chunks of %v: %w", s.name, day, err)
		}
	}
	return nil
}

// sweep deletes dropped chunks, more of them than a commit of brought bytes adds.
func (s *Store) sweep(ctx context.Context, tx pgx.Tx, brought int) error {
	if !s.left {
		return nil
	}
	for budget := s.some + 2*brought; budget > 0; {
		var day int32
		var last, upto int64
		err := tx.QueryRow(ctx, `SELECT day, last FROM dropped LIMIT 1`).Scan(&day, &last)
		if errors.Is(err, pgx.ErrNoRows) {
			s.left = false
			return nil
		}
		if err == nil {
			upto, budget, err = piece(ctx, tx, day, last, budget)
		}
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM chunk WHERE day = $1 AND id <= $2`, day, upto)
		}
		if err == nil && upto == last {
			_, err = tx.Exec(ctx, `DELETE FROM dropped WHERE day = $1`, day)
		}
		if err != nil {
			return fmt.Errorf("store %s: dropped chunks: %w", s.name, err)
		}
	}
	return nil
}

// sweepRows is how many chunks are looked at together.
const sweepRows = 500

// piece returns up to which chunk the budget lets a day's be deleted, and what is left of it.
func piece(ctx context.Context, tx pgx.Tx, day int32, last int64, budget int) (upto int64, left int, err error) {
	rows, err := tx.Query(ctx, `SELECT id, length(data) FROM chunk WHERE day = $1 AND id <= $2 ORDER BY id LIMIT $3`, day, last, sweepRows)
	if err != nil {
		return 0, 0, err
	}
	n, more := 0, false
	var id int64
	var size int
	if _, err := pgx.ForEachRow(rows, []any{&id, &size}, func() error {
		if n++; budget <= 0 {
			more = true
			return nil
		}
		upto = id
		budget -= size + store.SweepRow
		return nil
	}); err != nil {
		return 0, 0, err
	}
	if more || n == sweepRows {
		return upto, budget, nil
	}
	return last, budget, nil
}
