package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// DayBlocks implements store.Store. It reads the table in the order of its key; of the versions of a device the last counts.
func (s *Store) DayBlocks(ctx context.Context, day cim.Day, ch cim.Channel, from, to uint64, f func(*store.Block) error) error {
	var b, next store.Block
	var data, kept []byte
	var raw sql.RawBytes
	give := func() error {
		if data == nil {
			return nil
		}
		if err := store.UnpackBlock(&b, data); err != nil {
			return fmt.Errorf("store %s: device %d on %v: %w", s.path, b.Device, b.Day, err)
		}
		return f(&b)
	}
	err := s.each(ctx, func(r *sql.Rows) error {
		if err := r.Scan(&next.Device, &next.Version, &next.Length, &next.Recorded, &next.Missing, &raw); err != nil {
			return err
		}
		if next.Device != b.Device {
			if err := give(); err != nil {
				return err
			}
		}
		b.Device, b.Version, b.Length, b.Recorded, b.Missing = next.Device, next.Version, next.Length, next.Recorded, next.Missing
		b.Day, b.Channel = day, ch
		kept = append(kept[:0], raw...)
		data = kept
		return nil
	}, `SELECT device, version, length, recorded, missing, data FROM block WHERE day = ? AND channel = ? AND device >= ? AND device < ?
		ORDER BY device, version`, day, ch, int64(from), int64(to))
	if err != nil {
		return err
	}
	return give()
}

// LastDevice implements store.Store.
func (s *Store) LastDevice(ctx context.Context) (n uint32, err error) {
	if err := s.read.QueryRowContext(ctx, `SELECT max(coalesce((SELECT max(ordinal) FROM device), 0),
		coalesce((SELECT max(device) FROM block WHERE day = (SELECT max(day) FROM block)), 0))`).Scan(&n); err != nil {
		return 0, fmt.Errorf("store %s: last device: %w", s.path, err)
	}
	return n, nil
}
