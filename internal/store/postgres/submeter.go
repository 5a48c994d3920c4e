package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putSubMeters(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	var b pgx.Batch
	for i := range c.SubMeters {
		m := &c.SubMeters[i]
		b.Queue(`INSERT INTO submeter (ordinal, device, id, channel, medium) VALUES ($1,$2,$3,$4,$5) ON CONFLICT (ordinal) DO UPDATE
			SET device = excluded.device, id = excluded.id, channel = excluded.channel, medium = excluded.medium`,
			int64(m.Ordinal), int64(m.Device), m.ID, int16(m.Channel), int16(m.Medium))
	}
	if b.Len() > 0 {
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: sub-meters: %w", s.name, err)
		}
	}
	for vs := c.SubValues; len(vs) > 0; {
		n := min(len(vs), batchRows)
		subs, times, values, units, scales := make([]int64, n), make([]int64, n), make([]int64, n), make([]int16, n), make([]int16, n)
		for i, v := range vs[:n] {
			subs[i], times[i], values[i], units[i], scales[i] = int64(v.Sub), int64(v.Time), int64(v.Value), int16(v.Unit), int16(v.Scale)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO submeter_value (submeter, time, value, unit, scale) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[])
			ON CONFLICT DO NOTHING`, subs, times, values, units, scales); err != nil {
			return fmt.Errorf("store %s: values of sub-meters: %w", s.name, err)
		}
		vs = vs[n:]
	}
	return nil
}

// SubMeters implements store.Store.
func (s *Store) SubMeters(ctx context.Context, f func(store.SubMeter, store.SubValue) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var m store.SubMeter
		var v store.SubValue
		var value int64
		if err := r.Scan(&m.Ordinal, &m.Device, &m.ID, &m.Channel, &m.Medium, &v.Time, &value, &v.Unit, &v.Scale); err != nil {
			return err
		}
		v.Sub, v.Value = m.Ordinal, uint64(value)
		return f(m, v)
	}, `SELECT m.ordinal, m.device, m.id, m.channel, m.medium, coalesce(v.time, 0), coalesce(v.value, 0), coalesce(v.unit, 0), coalesce(v.scale, 0)
		FROM submeter m LEFT JOIN LATERAL (SELECT time, value, unit, scale FROM submeter_value WHERE submeter = m.ordinal ORDER BY time DESC LIMIT 1) v ON true
		ORDER BY m.ordinal`)
}

// SubValues implements store.Store.
func (s *Store) SubValues(ctx context.Context, q store.SubValueQuery, f func(store.SubValue) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		v := store.SubValue{Sub: q.Sub}
		var value int64
		if err := r.Scan(&v.Time, &value, &v.Unit, &v.Scale); err != nil {
			return err
		}
		v.Value = uint64(value)
		return f(v)
	}, `SELECT time, value, unit, scale FROM submeter_value WHERE submeter = $1 AND time >= $2 AND time < $3 ORDER BY time LIMIT $4`,
		int64(q.Sub), int64(q.From), int64(q.To), int64(q.Limit))
}
