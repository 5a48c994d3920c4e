package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putInterruptions(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	put := tx.StmtContext(ctx, s.stmts.interruption)
	for i := range c.Interruptions {
		k := &c.Interruptions[i]
		if _, err := put.ExecContext(ctx, int64(k.ID), int64(k.Case), k.Device, k.Start, k.End, k.Flags); err != nil {
			return fmt.Errorf("store %s: interruption %d: %w", s.path, k.ID, err)
		}
	}
	for i := range c.Maintenance {
		w := &c.Maintenance[i]
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO maintenance (id, start, finish, doc) VALUES (?, ?, ?, ?)`, int64(w.ID), w.Start, w.End, w.Doc); err != nil {
			return fmt.Errorf("store %s: maintenance window %d: %w", s.path, w.ID, err)
		}
	}
	return nil
}

// Outage implements store.Store.
func (s *Store) Outage(ctx context.Context, id uint64) (store.Outage, error) {
	o := store.Outage{ID: id}
	if id > math.MaxInt64 {
		return o, fmt.Errorf("outage %d: %w", id, store.ErrNotFound)
	}
	err := s.read.QueryRowContext(ctx, `SELECT start, finish, doc FROM outage WHERE id = ?`, int64(id)).Scan(&o.Start, &o.End, &o.Doc)
	if errors.Is(err, sql.ErrNoRows) {
		return o, fmt.Errorf("outage %d: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return o, fmt.Errorf("store %s: outage %d: %w", s.path, id, err)
	}
	return o, nil
}

// Interruptions implements store.Store.
func (s *Store) Interruptions(ctx context.Context, q store.InterruptionQuery, f func(store.Interruption) error) error {
	where, args := `start >= ? AND start < ?`, []any{q.From, q.To}
	switch {
	case q.Open:
		where, args = `finish = 0`, nil
	case q.Case != 0:
		where, args = `outage = ? AND outage <> 0`, []any{int64(q.Case)} // the second half is what the index is over
	}
	limit := int64(q.Limit)
	if limit == 0 {
		limit = math.MaxInt64
	}
	return s.each(ctx, func(r *sql.Rows) error {
		var k store.Interruption
		var id, outage int64
		if err := r.Scan(&id, &outage, &k.Device, &k.Start, &k.End, &k.Flags); err != nil {
			return err
		}
		k.ID, k.Case = uint64(id), uint64(outage)
		return f(k)
	}, `SELECT id, outage, device, start, finish, flags FROM interruption WHERE `+where+` AND id > ? ORDER BY id LIMIT ?`,
		append(args, int64(min(q.After, math.MaxInt64)), limit)...)
}

// Maintenance implements store.Store.
func (s *Store) Maintenance(ctx context.Context, before uint64, limit int, endsAfter uint32) ([]store.Maintenance, error) {
	var out []store.Maintenance
	err := s.each(ctx, func(r *sql.Rows) error {
		var w store.Maintenance
		var id int64
		if err := r.Scan(&id, &w.Start, &w.End, &w.Doc); err != nil {
			return err
		}
		w.ID = uint64(id)
		out = append(out, w)
		return nil
	}, `SELECT id, start, finish, doc FROM maintenance WHERE id < ? AND (? = 0 OR finish > ?) ORDER BY id DESC LIMIT ?`, below(before), endsAfter, endsAfter, limit)
	return out, err
}
