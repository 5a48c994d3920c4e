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
	b := store.Block{Day: day, Channel: ch}
	var data, kept []byte
	var raw sql.RawBytes
	var which, what any // two numbers instead of five: each column costs as much as half a block
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
		if err := r.Scan(&which, &what, &raw); err != nil {
			return err
		}
		key, _ := which.(int64)
		if device := uint32(key >> 32); device != b.Device {
			if err := give(); err != nil {
				return err
			}
			b.Device = device
		}
		rest, _ := what.(int64)
		b.Version, b.Recorded, b.Missing, b.Length = uint32(key), uint32(rest>>32), uint16(rest>>16), uint16(rest)
		kept = append(kept[:0], raw...)
		data = kept
		return nil
	}, `SELECT device << 32 | version, recorded << 32 | missing << 16 | length, data FROM block
		WHERE day = ? AND channel = ? AND device >= ? AND device < ? ORDER BY device, version`, day, ch, int64(from), int64(to))
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
