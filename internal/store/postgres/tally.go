package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

type tallyKey struct {
	day cim.Day
	ch  cim.Channel
}

// readTally returns an empty tally for a day that has none yet, which is new, and nil for one that was sealed before there were tallies.
func readTally(ctx context.Context, q interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}, k tallyKey) (y *store.Tally, isNew bool, err error) {
	var data []byte
	err = q.QueryRow(ctx, `SELECT data FROM day_tally WHERE day = $1 AND channel = $2`, int32(k.day), int16(k.ch)).Scan(&data)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return &store.Tally{}, true, nil
	case err != nil || data == nil:
		return nil, false, err
	}
	y, err = store.UnpackTally(data)
	return y, false, err
}

// tally counts blocks that were inserted just now, each in place of the version before it. Where some existed already, the
// tallies, parts and slots of their days are given up: which ones is not known, and it happens to none but a replay that was changed by hand.
func (s *Store) tally(ctx context.Context, tx pgx.Tx, bs []store.Block, all bool) error {
	days, parts := map[tallyKey]*store.Tally{}, map[tallyKey]*store.Parts{}
	blocks, first := map[tallyKey][]*store.Block{}, map[tallyKey]bool{}
	for i := range bs {
		b := &bs[i]
		k := tallyKey{b.Day, b.Channel}
		y, known := days[k]
		if !known {
			var err error
			if y, first[k], err = readTally(ctx, tx, k); err != nil {
				return err
			}
			if !all {
				y = nil
			}
			days[k], parts[k] = y, &store.Parts{}
		}
		if all {
			parts[k].Add(b)
			blocks[k] = append(blocks[k], b)
		}
		if y == nil {
			continue
		}
		if b.Version > 1 {
			old := store.Block{Device: b.Device, Channel: b.Channel, Day: b.Day}
			var data []byte
			err := tx.QueryRow(ctx, `SELECT length, data FROM block WHERE day = $1 AND channel = $2 AND device = $3 AND version < $4
				ORDER BY version DESC LIMIT 1`, int32(b.Day), int16(b.Channel), int64(b.Device), int64(b.Version)).Scan(&old.Length, &data)
			if err == nil {
				err = store.UnpackBlock(&old, data)
			}
			switch {
			case err == nil:
				y.Remove(&old)
			case !errors.Is(err, pgx.ErrNoRows):
				return err
			}
		}
		y.Add(b)
	}
	for k, y := range days {
		var data []byte
		if y != nil {
			data = y.Append(nil)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO day_tally (day, channel, data) VALUES ($1, $2, $3)
			ON CONFLICT (day, channel) DO UPDATE SET data = excluded.data`, int32(k.day), int16(k.ch), data); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO day_part (day, channel, number, data) SELECT $1::int, $2::smallint, coalesce(max(number), 0) + 1, $3::bytea
			FROM day_part WHERE day = $1::int AND channel = $2::smallint`, int32(k.day), int16(k.ch), parts[k].Data); err != nil {
			return err
		}
		if err := putSlots(ctx, tx, k, blocks[k], first[k]); err != nil {
			return err
		}
	}
	return nil
}

// DayTally implements store.Store.
func (s *Store) DayTally(ctx context.Context, day cim.Day, ch cim.Channel) (*store.Tally, error) {
	t, _, err := readTally(ctx, s.read, tallyKey{day, ch})
	if err != nil {
		return nil, fmt.Errorf("store %s: tally of %v: %w", s.name, day, err)
	}
	return t, nil
}

// DayParts implements store.Store.
func (s *Store) DayParts(ctx context.Context, day cim.Day, ch cim.Channel, f func(uint32, store.Part) error) (all bool, err error) {
	all = true
	err = s.each(ctx, func(r pgx.Rows) error {
		var data pgtype.DriverBytes
		if err := r.Scan(&data); err != nil {
			return err
		}
		if data == nil {
			all = false
			return nil
		}
		return store.EachPart(data, f)
	}, `SELECT data FROM day_part WHERE day = $1 AND channel = $2 ORDER BY number`, dayArg(day), int16(ch))
	if err != nil {
		return false, fmt.Errorf("store %s: parts of %v: %w", s.name, day, err)
	}
	return all, nil
}
