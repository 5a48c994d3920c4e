package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putInterruptions(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	var b pgx.Batch
	for i := range c.Interruptions {
		k := &c.Interruptions[i]
		b.Queue(`INSERT INTO interruption (id, outage, device, start, finish, flags) VALUES ($1,$2,$3,$4,$5,$6) ON CONFLICT (id) DO UPDATE
			SET outage = excluded.outage, device = excluded.device, start = excluded.start, finish = excluded.finish, flags = excluded.flags`,
			int64(k.ID), int64(k.Case), int64(k.Device), int64(k.Start), int64(k.End), int16(k.Flags))
	}
	for i := range c.Maintenance {
		w := &c.Maintenance[i]
		b.Queue(`INSERT INTO maintenance (id, start, finish, doc) VALUES ($1,$2,$3,$4)
			ON CONFLICT (id) DO UPDATE SET start = excluded.start, finish = excluded.finish, doc = excluded.doc`, int64(w.ID), int64(w.Start), int64(w.End), w.Doc)
	}
	if b.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("store %s: interruptions and maintenance: %w", s.name, err)
	}
	return nil
}

// Outage implements store.Store.
func (s *Store) Outage(ctx context.Context, id uint64) (store.Outage, error) {
	o := store.Outage{ID: id}
	if id > math.MaxInt64 {
		return o, fmt.Errorf("outage %d: %w", id, store.ErrNotFound)
	}
	err := s.read.QueryRow(ctx, `SELECT start, finish, doc FROM outage WHERE id = $1`, int64(id)).Scan(&o.Start, &o.End, &o.Doc)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, fmt.Errorf("outage %d: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return o, fmt.Errorf("store %s: outage %d: %w", s.name, id, err)
	}
	return o, nil
}

// Interruptions implements store.Store.
func (s *Store) Interruptions(ctx context.Context, q store.InterruptionQuery, f func(store.Interruption) error) error {
	where, args := ` AND start >= $3 AND start < $4`, []any{int64(q.From), int64(q.To)}
	switch {
	case q.Open:
		where, args = ` AND finish = 0`, nil
	case q.Case != 0:
		where, args = ` AND outage = $3 AND outage <> 0`, []any{int64(q.Case)} // the second half is what the index is over
	}
	limit := int64(q.Limit)
	if limit == 0 {
		limit = math.MaxInt64
	}
	args = append([]any{int64(min(q.After, math.MaxInt64)), limit}, args...)
	return s.each(ctx, func(r pgx.Rows) error {
		var k store.Interruption
		var id, outage int64
		var flags int16
		if err := r.Scan(&id, &outage, &k.Device, &k.Start, &k.End, &flags); err != nil {
			return err
		}
		k.ID, k.Case, k.Flags = uint64(id), uint64(outage), uint8(flags)
		return f(k)
	}, `SELECT id, outage, device, start, finish, flags FROM interruption WHERE id > $1`+where+` ORDER BY id LIMIT $2`, args...)
}

// Maintenance implements store.Store.
func (s *Store) Maintenance(ctx context.Context, before uint64, limit int, endsAfter uint32) ([]store.Maintenance, error) {
	var out []store.Maintenance
	err := s.each(ctx, func(r pgx.Rows) error {
		var w store.Maintenance
		var id int64
		if err := r.Scan(&id, &w.Start, &w.End, &w.Doc); err != nil {
			return err
		}
		w.ID = uint64(id)
		out = append(out, w)
		return nil
	}, `SELECT id, start, finish, doc FROM maintenance WHERE id < $1`+only(endsAfter != 0, ` AND finish > $3`)+` ORDER BY id DESC LIMIT $2`,
		append([]any{below(before), limit}, after(endsAfter)...)...)
	return out, err
}

func after(endsAfter uint32) []any {
	if endsAfter == 0 {
		return nil
	}
	return []any{int64(endsAfter)}
}
