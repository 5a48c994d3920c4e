package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wattbus/wattbus/internal/store"
)

// DayBlocks implements store.Store. It reads the index in its order; of the versions of a device the last counts.
func (s *Store) DayBlocks(ctx context.Context, q store.DayQuery, f func(*store.Block) error) error {
	b := store.Block{Day: q.Day, Channel: q.Channel}
	var next store.Block
	var data, kept []byte
	var raw pgtype.DriverBytes
	give := func() error {
		if data == nil {
			return nil
		}
		if err := q.Within.Unpack(&b, data); err != nil {
			return fmt.Errorf("store %s: device %d on %v: %w", s.name, b.Device, b.Day, err)
		}
		return f(&b)
	}
	err := s.each(ctx, func(r pgx.Rows) error {
		if err := r.Scan(&next.Device, &next.Version, &next.Length, &next.Recorded, &next.Missing, &raw); err != nil {
			return err
		}
		if next.Device != b.Device {
			if err := give(); err != nil {
				return err
			}
		}
		b.Device, b.Version, b.Length, b.Recorded, b.Missing = next.Device, next.Version, next.Length, next.Recorded, next.Missing
		kept = append(kept[:0], raw...)
		data = kept
		return nil
	}, `SELECT device, version, length, recorded, missing, data FROM block WHERE day = $1 AND channel = $2 AND device >= $3 AND device < $4
		ORDER BY device, version`, dayArg(q.Day), int16(q.Channel), int64(q.From), int64(q.To))
	if err != nil {
		return err
	}
	return give()
}

// LastDevice implements store.Store.
func (s *Store) LastDevice(ctx context.Context) (uint32, error) {
	var n int64
	if err := s.read.QueryRow(ctx, `SELECT greatest((SELECT max(ordinal) FROM device), (SELECT max(device) FROM block WHERE day = (SELECT max(day) FROM block)), 0)`).Scan(&n); err != nil {
		return 0, fmt.Errorf("store %s: last device: %w", s.name, err)
	}
	return uint32(n), nil
}
