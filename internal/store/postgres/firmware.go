package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putFirmware(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	var b pgx.Batch
	for i := range c.Images {
		m := &c.Images[i]
		b.Queue(`INSERT INTO image (id, recorded, doc, data) VALUES ($1,$2,$3,$4) ON CONFLICT DO NOTHING`, int64(m.ID), int64(m.Recorded), m.Doc, m.Data)
	}
	for _, id := range c.DropImages {
		b.Queue(`DELETE FROM image WHERE id = $1`, int64(id))
	}
	for i := range c.RollOuts {
		r := &c.RollOuts[i]
		b.Queue(`INSERT INTO roll_out (id, open, doc) VALUES ($1,$2,$3) ON CONFLICT (id) DO UPDATE SET open = excluded.open, doc = excluded.doc`, int64(r.ID), r.Open, r.Doc)
	}
	if b.Len() > 0 {
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: firmware: %w", s.name, err)
		}
	}
	for ms := c.RollOutMembers; len(ms) > 0; {
		n := min(len(ms), batchRows)
		var b pgx.Batch
		for i := range ms[:n] {
			m := &ms[i]
			b.Queue(`INSERT INTO roll_out_member (roll_out, device, state, reason, changed) VALUES ($1,$2,$3,$4,$5) ON CONFLICT (roll_out, device) DO UPDATE
				SET state = excluded.state, reason = excluded.reason, changed = excluded.changed`,
				int64(m.RollOut), int64(m.Device), int16(m.State), int16(m.Reason), int64(m.Changed))
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: devices of roll-outs: %w", s.name, err)
		}
		ms = ms[n:]
	}
	return nil
}

// Image implements store.Store.
func (s *Store) Image(ctx context.Context, id uint64) (store.Image, error) {
	m := store.Image{ID: id}
	err := s.read.QueryRow(ctx, `SELECT recorded, doc, data FROM image WHERE id = $1`, int64(id)).Scan(&m.Recorded, &m.Doc, &m.Data)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, fmt.Errorf("firmware image %016x: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return m, fmt.Errorf("store %s: firmware image %016x: %w", s.name, id, err)
	}
	return m, nil
}

// Images implements store.Store.
func (s *Store) Images(ctx context.Context, f func(store.Image) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var m store.Image
		var id int64
		if err := r.Scan(&id, &m.Recorded, &m.Doc); err != nil {
			return err
		}
		m.ID = uint64(id)
		return f(m)
	}, `SELECT id, recorded, doc FROM image ORDER BY recorded DESC, id`)
}

// RollOut implements store.Store.
func (s *Store) RollOut(ctx context.Context, id uint64) (store.RollOut, error) {
	r := store.RollOut{ID: id}
	if id > math.MaxInt64 {
		return r, fmt.Errorf("roll-out %d: %w", id, store.ErrNotFound)
	}
	err := s.read.QueryRow(ctx, `SELECT open, doc FROM roll_out WHERE id = $1`, int64(id)).Scan(&r.Open, &r.Doc)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("roll-out %d: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("store %s: roll-out %d: %w", s.name, id, err)
	}
	return r, nil
}

// RollOuts implements store.Store.
func (s *Store) RollOuts(ctx context.Context, before uint64, limit int, open bool) ([]store.RollOut, error) {
	var out []store.RollOut
	err := s.each(ctx, func(rows pgx.Rows) error {
		var r store.RollOut
		var id int64
		if err := rows.Scan(&id, &r.Open, &r.Doc); err != nil {
			return err
		}
		r.ID = uint64(id)
		out = append(out, r)
		return nil
	}, `SELECT id, open, doc FROM roll_out WHERE id < $1`+only(open, ` AND open`)+` ORDER BY id DESC LIMIT $2`, below(before), limit)
	return out, err
}

// RollOutMembers implements store.Store.
func (s *Store) RollOutMembers(ctx context.Context, rollOut uint64, f func(store.RollOutMember) error) error {
	if rollOut > math.MaxInt64 {
		return nil
	}
	return s.each(ctx, func(r pgx.Rows) error {
		m := store.RollOutMember{RollOut: rollOut}
		var device, changed int64
		var state, reason int16
		if err := r.Scan(&device, &state, &reason, &changed); err != nil {
			return err
		}
		m.Device, m.State, m.Reason, m.Changed = uint32(device), uint8(state), uint8(reason), uint32(changed)
		return f(m)
	}, `SELECT device, state, reason, changed FROM roll_out_member WHERE roll_out = $1 ORDER BY device`, int64(rollOut))
}
