package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/store"
)

// A block's device, version and length are read as one number: each column costs as much as half a block. No day has a million versions:
// each takes a commit of its own. (All of these operators have one precedence in SQLite.)
const (
	dayVersionBits = 20
	dayLengthBits  = 11
)

// DayBlocks implements store.Store. It reads the table in the order of its key; of the versions of a device the last counts.
func (s *Store) DayBlocks(ctx context.Context, q store.DayQuery, f func(*store.Block) error) error {
	b := store.Block{Day: q.Day, Channel: q.Channel}
	var data, kept []byte
	var raw sql.RawBytes
	var which, what any
	give := func() error {
		if data == nil {
			return nil
		}
		if err := q.Within.Unpack(&b, data); err != nil {
			return fmt.Errorf("store %s: device %d on %v: %w", s.path, b.Device, b.Day, err)
		}
		return f(&b)
	}
	to, columns := []any{&which, &raw, &what}, `, (recorded << 32) | (missing << 16)`
	if q.Within != (store.Within{}) {
		to, columns = to[:2], ``
	}
	rows := 0
	// The driver asks at each step whether the context is done, which takes longer than the step.
	err := s.each(context.WithoutCancel(ctx), func(r *sql.Rows) error {
		if rows++; rows%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.Scan(to...); err != nil {
			return err
		}
		key, _ := which.(int64)
		if device := uint32(key >> (dayVersionBits + dayLengthBits)); device != b.Device {
			if err := give(); err != nil {
				return err
			}
			b.Device = device
		}
		b.Version, b.Length = uint32(key>>dayLengthBits)&(1<<dayVersionBits-1), uint16(key)&(1<<dayLengthBits-1)
		if rest, ok := what.(int64); ok {
			b.Recorded, b.Missing = uint32(rest>>32), uint16(rest>>16)
		}
		kept = append(kept[:0], raw...)
		data = kept
		return nil
	}, `SELECT (device << 31) | ((version & 1048575) << 11) | length, data`+columns+` FROM block
		WHERE day = ? AND channel = ? AND device >= ? AND device < ? ORDER BY device, version`, q.Day, q.Channel, int64(q.From), int64(q.To))
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
