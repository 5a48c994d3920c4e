package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/store"
)

// putDrafts keeps what is needed to tell what was known before: drafts of open days, and moves of devices.
func (s *Store) putDrafts(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	for i := range c.Drafts {
		b := &c.Drafts[i]
		var err error
		if s.buf, err = store.AppendBlock(s.buf[:0], b); err != nil {
			return fmt.Errorf("store %s: draft of device %d: %w", s.path, b.Device, err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO draft (day, channel, device, recorded, length, missing, data) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			b.Day, b.Channel, b.Device, b.Recorded, b.Length, b.Missing, s.buf); err != nil {
			return fmt.Errorf("store %s: draft of device %d on %v: %w", s.path, b.Device, b.Day, err)
		}
	}
	for _, m := range c.Moves {
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO move (device, recorded, path) VALUES (?, ?, ?)`, m.Device, m.Recorded, m.Path); err != nil {
			return fmt.Errorf("store %s: move of device %d: %w", s.path, m.Device, err)
		}
	}
	return nil
}

// Paths implements store.Store.
func (s *Store) Paths(ctx context.Context, asKnown uint32, f func(uint32, string) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var device uint32
		var path string
		if err := r.Scan(&device, &path); err != nil {
			return err
		}
		return f(device, path)
	}, `SELECT d.device, coalesce((SELECT m.path FROM move m WHERE m.device = d.device AND m.recorded <= ?1 ORDER BY m.recorded DESC LIMIT 1), '')
		FROM (SELECT DISTINCT device FROM move WHERE recorded > ?1) d ORDER BY d.device`, asKnown)
}

// Moves implements store.Store.
func (s *Store) Moves(ctx context.Context, device, before uint32, limit int) ([]store.Move, error) {
	var out []store.Move
	err := s.each(ctx, func(r *sql.Rows) error {
		m := store.Move{Device: device}
		if err := r.Scan(&m.Recorded, &m.Path); err != nil {
			return err
		}
		out = append(out, m)
		return nil
	}, `SELECT recorded, path FROM move WHERE device = ?1 AND (?2 = 0 OR recorded < ?2) ORDER BY recorded DESC LIMIT ?3`, device, before, limit)
	return out, err
}

// blocksThen is Blocks as known at a time: the newest version of each day that was recorded by then, and first versions and
// drafts that were recorded later, of which store.Then picks.
func (s *Store) blocksThen(ctx context.Context, q store.BlockQuery, f func(*store.Block) error) error {
	var b store.Block
	var data sql.RawBytes
	then := store.NewThen(q.AsKnown, f)
	err := s.each(ctx, func(r *sql.Rows) error {
		b.Device, b.Channel = q.Device, q.Channel
		if err := r.Scan(&b.Day, &b.Version, &b.Length, &b.Recorded, &b.Missing, &data); err != nil {
			return err
		}
		if err := store.UnpackBlock(&b, data); err != nil {
			return fmt.Errorf("store %s: device %d on %v: %w", s.path, b.Device, b.Day, err)
		}
		return then.Add(&b)
	}, `WITH RECURSIVE days (d) AS (SELECT ?1 UNION ALL SELECT d + 1 FROM days WHERE d + 1 < ?2)
		SELECT b.day, b.version, b.length, b.recorded, b.missing, b.data FROM days CROSS JOIN block b
		WHERE b.day = days.d AND b.channel = ?3 AND b.device = ?4 AND b.version = (SELECT coalesce(max(v.version), 1) FROM block v
			WHERE v.day = days.d AND v.channel = ?3 AND v.device = ?4 AND v.recorded <= ?5)
		UNION ALL
		SELECT b.day, 0, b.length, b.recorded, b.missing, b.data FROM days CROSS JOIN draft b
		WHERE b.day = days.d AND b.channel = ?3 AND b.device = ?4 AND b.recorded = (SELECT min(v.recorded) FROM draft v
			WHERE v.day = days.d AND v.channel = ?3 AND v.device = ?4 AND v.recorded > ?5)
		ORDER BY 1, 4, 2`, q.From, q.To, q.Channel, q.Device, q.AsKnown)
	if err != nil {
		return err
	}
	return then.Close()
}
