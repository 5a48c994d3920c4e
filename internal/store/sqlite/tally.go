package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// tallies are those of the days of one commit's blocks.
type tallies struct {
	tx   *sql.Tx
	days map[tallyKey]*store.Tally // nil: the day was sealed before there were tallies
}

type tallyKey struct {
	day cim.Day
	ch  cim.Channel
}

func newTallies(tx *sql.Tx) *tallies { return &tallies{tx: tx, days: map[tallyKey]*store.Tally{}} }

type querier interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// readTally returns an empty tally for a day that has none yet.
func readTally(ctx context.Context, q querier, k tallyKey) (*store.Tally, error) {
	var data []byte
	err := q.QueryRowContext(ctx, `SELECT data FROM day_tally WHERE day = ? AND channel = ?`, k.day, k.ch).Scan(&data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return &store.Tally{}, nil
	case err != nil || data == nil:
		return nil, err
	}
	return store.UnpackTally(data)
}

// add counts a block that was inserted just now, in place of the version before it.
func (t *tallies) add(ctx context.Context, b *store.Block) error {
	k := tallyKey{b.Day, b.Channel}
	y, known := t.days[k]
	if !known {
		var err error
		if y, err = readTally(ctx, t.tx, k); err != nil {
			return err
		}
		t.days[k] = y
	}
	if y == nil {
		return nil
	}
	if b.Version > 1 {
		old := store.Block{Device: b.Device, Channel: b.Channel, Day: b.Day}
		var data []byte
		err := t.tx.QueryRowContext(ctx, `SELECT length, data FROM block WHERE day = ? AND channel = ? AND device = ? AND version < ?
			ORDER BY version DESC LIMIT 1`, b.Day, b.Channel, b.Device, b.Version).Scan(&old.Length, &data)
		if err == nil {
			err = store.UnpackBlock(&old, data)
		}
		switch {
		case err == nil:
			y.Remove(&old)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
	}
	y.Add(b)
	return nil
}

func (t *tallies) put(ctx context.Context) error {
	for k, y := range t.days {
		if y == nil {
			continue
		}
		if _, err := t.tx.ExecContext(ctx, `INSERT OR REPLACE INTO day_tally (day, channel, data) VALUES (?, ?, ?)`, k.day, k.ch, y.Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

// DayTally implements store.Store.
func (s *Store) DayTally(ctx context.Context, day cim.Day, ch cim.Channel) (*store.Tally, error) {
	t, err := readTally(ctx, s.read, tallyKey{day, ch})
	if err != nil {
		return nil, fmt.Errorf("store %s: tally of %v: %w", s.path, day, err)
	}
	return t, nil
}
