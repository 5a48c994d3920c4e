package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

// putDrafts keeps what is needed to tell what was known before: drafts of open days, and moves of devices.
func (s *Store) putDrafts(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	var b pgx.Batch
	for i := range c.Drafts {
		d := &c.Drafts[i]
		data, err := store.AppendBlock(nil, d)
		if err != nil {
			return fmt.Errorf("store %s: draft of device %d: %w", s.name, d.Device, err)
		}
		b.Queue(`INSERT INTO draft (day, channel, device, recorded, length, missing, data) VALUES ($1,$2,$3,$4,$5,$6,$7) ON CONFLICT DO NOTHING`,
			int32(d.Day), int16(d.Channel), int64(d.Device), int64(d.Recorded), int16(d.Length), int32(d.Missing), data)
	}
	for _, m := range c.Moves {
		b.Queue(`INSERT INTO move (device, recorded, path) VALUES ($1,$2,$3) ON CONFLICT (device, recorded) DO UPDATE SET path = excluded.path`,
			int64(m.Device), int64(m.Recorded), m.Path)
	}
	if b.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("store %s: drafts and moves: %w", s.name, err)
	}
	return nil
}

// Paths implements store.Store.
func (s *Store) Paths(ctx context.Context, asKnown uint32, f func(uint32, string) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var device uint32
		var path string
		if err := r.Scan(&device, &path); err != nil {
			return err
		}
		return f(device, path)
	}, `SELECT d.device, coalesce((SELECT m.path FROM move m WHERE m.device = d.device AND m.recorded <= $1 ORDER BY m.recorded DESC LIMIT 1), '')
		FROM (SELECT DISTINCT device FROM move WHERE recorded > $1) d ORDER BY d.device`, int64(asKnown))
}

// Moves implements store.Store.
func (s *Store) Moves(ctx context.Context, device, before uint32, limit int) ([]store.Move, error) {
	var out []store.Move
	err := s.each(ctx, func(r pgx.Rows) error {
		m := store.Move{Device: device}
		if err := r.Scan(&m.Recorded, &m.Path); err != nil {
			return err
		}
		out = append(out, m)
		return nil
	}, `SELECT recorded, path FROM move WHERE device = $1 AND ($2 = 0 OR recorded < $2) ORDER BY recorded DESC LIMIT $3`, int64(device), int64(before), limit)
	return out, err
}

// blocksThen is Blocks as known at a time: the newest version of each day that was recorded by then, and first versions and
// drafts that were recorded later, of which store.Then picks.
func (s *Store) blocksThen(ctx context.Context, q store.BlockQuery, f func(*store.Block) error) error {
	var b store.Block
	var data []byte
	then := store.NewThen(q.AsKnown, f)
	err := s.each(ctx, func(r pgx.Rows) error {
		b.Device, b.Channel = q.Device, q.Channel
		if err := r.Scan(&b.Day, &b.Version, &b.Length, &b.Recorded, &b.Missing, &data); err != nil {
			return err
		}
		if err := store.UnpackBlock(&b, data); err != nil {
			return fmt.Errorf("store %s: device %d on %v: %w", s.name, b.Device, b.Day, err)
		}
		return then.Add(&b)
	}, `SELECT k.day, k.version, k.length, k.recorded, k.missing, k.data
		FROM generate_series($1::int, $2::int - 1) AS days (d)
		CROSS JOIN LATERAL (
			(SELECT day, version, length, recorded, missing, data FROM block WHERE day = days.d AND channel = $3 AND device = $4
				AND (recorded <= $5 OR version = 1) ORDER BY version DESC LIMIT 1)
			UNION ALL
			(SELECT day, 0, length, recorded, missing, data FROM draft WHERE day = days.d AND channel = $3 AND device = $4 AND recorded > $5
				ORDER BY recorded LIMIT 1)
		) k
		ORDER BY k.day, k.recorded, k.version`, dayArg(q.From), dayArg(q.To), int16(q.Channel), int64(q.Device), int64(q.AsKnown))
	if err != nil {
		return err
	}
	return then.Close()
}
