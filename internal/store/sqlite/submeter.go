package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putSubMeters(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	for i := range c.SubMeters {
		m := &c.SubMeters[i]
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO submeter (ordinal, device, id, channel, medium) VALUES (?, ?, ?, ?, ?)`,
			m.Ordinal, m.Device, m.ID, m.Channel, m.Medium); err != nil {
			return fmt.Errorf("store %s: sub-meter %s of device %d: %w", s.path, m.ID, m.Device, err)
		}
	}
	put := tx.StmtContext(ctx, s.stmts.subValue)
	for i := range c.SubValues {
		v := &c.SubValues[i]
		if _, err := put.ExecContext(ctx, v.Sub, v.Time, int64(v.Value), v.Unit, v.Scale); err != nil {
			return fmt.Errorf("store %s: value of sub-meter %d: %w", s.path, v.Sub, err)
		}
	}
	return nil
}

// SubMeters implements store.Store.
func (s *Store) SubMeters(ctx context.Context, f func(store.SubMeter, store.SubValue) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var m store.SubMeter
		var v store.SubValue
		var value int64
		if err := r.Scan(&m.Ordinal, &m.Device, &m.ID, &m.Channel, &m.Medium, &v.Time, &value, &v.Unit, &v.Scale); err != nil {
			return err
		}
		v.Sub, v.Value = m.Ordinal, uint64(value)
		return f(m, v)
	}, `SELECT m.ordinal, m.device, m.id, m.channel, m.medium, coalesce(v.time, 0), coalesce(v.value, 0), coalesce(v.unit, 0), coalesce(v.scale, 0)
		FROM submeter m LEFT JOIN submeter_value v ON v.submeter = m.ordinal AND v.time = (SELECT max(n.time) FROM submeter_value n WHERE n.submeter = m.ordinal)
		ORDER BY m.ordinal`)
}

// SubValues implements store.Store.
func (s *Store) SubValues(ctx context.Context, q store.SubValueQuery, f func(store.SubValue) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		v := store.SubValue{Sub: q.Sub}
		var value int64
		if err := r.Scan(&v.Time, &value, &v.Unit, &v.Scale); err != nil {
			return err
		}
		v.Value = uint64(value)
		return f(v)
	}, `SELECT time, value, unit, scale FROM submeter_value WHERE submeter = ? AND time >= ? AND time < ? ORDER BY time LIMIT ?`, q.Sub, q.From, q.To, q.Limit)
}
