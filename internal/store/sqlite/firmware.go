package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putFirmware(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	for i := range c.Images {
		m := &c.Images[i]
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO image (id, recorded, doc, data) VALUES (?, ?, ?, ?)`, int64(m.ID), m.Recorded, m.Doc, m.Data); err != nil {
			return fmt.Errorf("store %s: firmware image %016x: %w", s.path, m.ID, err)
		}
	}
	for _, id := range c.DropImages {
		if _, err := tx.ExecContext(ctx, `DELETE FROM image WHERE id = ?`, int64(id)); err != nil {
			return fmt.Errorf("store %s: drop firmware image %016x: %w", s.path, id, err)
		}
	}
	for i := range c.RollOuts {
		r := &c.RollOuts[i]
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO roll_out (id, open, doc) VALUES (?, ?, ?)`, int64(r.ID), r.Open, r.Doc); err != nil {
			return fmt.Errorf("store %s: roll-out %d: %w", s.path, r.ID, err)
		}
	}
	if len(c.RollOutMembers) == 0 {
		return nil
	}
	put := tx.StmtContext(ctx, s.stmts.rollOutMember)
	for i := range c.RollOutMembers {
		m := &c.RollOutMembers[i]
		if _, err := put.ExecContext(ctx, int64(m.RollOut), m.Device, m.State, m.Reason, m.Changed); err != nil {
			return fmt.Errorf("store %s: device %d of roll-out %d: %w", s.path, m.Device, m.RollOut, err)
		}
	}
	return nil
}

// Image implements store.Store.
func (s *Store) Image(ctx context.Context, id uint64) (store.Image, error) {
	m := store.Image{ID: id}
	err := s.read.QueryRowContext(ctx, `SELECT recorded, doc, data FROM image WHERE id = ?`, int64(id)).Scan(&m.Recorded, &m.Doc, &m.Data)
	if errors.Is(err, sql.ErrNoRows) {
		return m, fmt.Errorf("firmware image %016x: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return m, fmt.Errorf("store %s: firmware image %016x: %w", s.path, id, err)
	}
	return m, nil
}

// Images implements store.Store.
func (s *Store) Images(ctx context.Context, f func(store.Image) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
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
	err := s.read.QueryRowContext(ctx, `SELECT open, doc FROM roll_out WHERE id = ?`, int64(id)).Scan(&r.Open, &r.Doc)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("roll-out %d: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("store %s: roll-out %d: %w", s.path, id, err)
	}
	return r, nil
}

// RollOuts implements store.Store.
func (s *Store) RollOuts(ctx context.Context, before uint64, limit int, open bool) ([]store.RollOut, error) {
	var out []store.RollOut
	where := ``
	if open {
		where = ` AND open <> 0`
	}
	err := s.each(ctx, func(rows *sql.Rows) error {
		var r store.RollOut
		var id int64
		if err := rows.Scan(&id, &r.Open, &r.Doc); err != nil {
			return err
		}
		r.ID = uint64(id)
		out = append(out, r)
		return nil
	}, `SELECT id, open, doc FROM roll_out WHERE id < ?`+where+` ORDER BY id DESC LIMIT ?`, below(before), limit)
	return out, err
}

// RollOutMembers implements store.Store.
func (s *Store) RollOutMembers(ctx context.Context, rollOut uint64, f func(store.RollOutMember) error) error {
	if rollOut > math.MaxInt64 {
		return nil
	}
	return s.each(ctx, func(r *sql.Rows) error {
		m := store.RollOutMember{RollOut: rollOut}
		if err := r.Scan(&m.Device, &m.State, &m.Reason, &m.Changed); err != nil {
			return err
		}
		return f(m)
	}, `SELECT device, state, reason, changed FROM roll_out_member WHERE roll_out = ? ORDER BY device`, int64(rollOut))
}
