package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// putSlots keeps blocks of a day turned round, if all of its blocks are; first says that there is none yet. No blocks: from now on not all are.
func (s *Store) putSlots(ctx context.Context, tx *sql.Tx, k tallyKey, bs []*store.Block, first bool) error {
	if len(bs) == 0 {
		_, err := tx.ExecContext(ctx, `DELETE FROM day_slot WHERE day = ? AND channel = ? AND part = 0 AND number = 0`, k.day, k.ch)
		return err
	}
	put := tx.StmtContext(ctx, s.stmts.slot)
	if first {
		if _, err := put.ExecContext(ctx, k.day, k.ch, 0, 0, []byte{}); err != nil {
			return err
		}
	}
	var all, turned bool
	var last int64
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM day_slot WHERE day = ?1 AND channel = ?2 AND part = 0 AND number = 0),
		EXISTS (SELECT 1 FROM day_slot WHERE day = ?1 AND channel = ?2 AND part = 1),
		(SELECT coalesce(max(number), 0) FROM day_slot WHERE day = ?1 AND channel = ?2 AND part = 0)`, k.day, k.ch).Scan(&all, &turned, &last); err != nil || !all {
		return err
	}
	parts, err := store.PackSlots(bs, turned)
	if err != nil {
		return err
	}
	for part, data := range parts {
		if _, err := put.ExecContext(ctx, k.day, k.ch, part, last+1, data); err != nil {
			return err
		}
	}
	return nil
}

// DaySlots implements store.Store.
func (s *Store) DaySlots(ctx context.Context, day cim.Day, ch cim.Channel, w store.Within, f func(head []byte, spans [][]byte) error) (all bool, err error) {
	from, to := w.Spans()
	data, into := make([]sql.RawBytes, 1+to-from), make([]any, 1, 2+to-from)
	var columns strings.Builder
	var number int64
	into[0] = &number
	for i := range data {
		into = append(into, &data[i])
		if i > 0 {
			fmt.Fprintf(&columns, `, (SELECT data FROM day_slot WHERE day = h.day AND channel = h.channel AND part = %d AND number = h.number)`, from+i)
		}
	}
	err = s.each(ctx, func(r *sql.Rows) error {
		if err := r.Scan(into...); err != nil {
			return err
		}
		if number == 0 {
			all = true
			return nil
		}
		var spans [][]byte
		for _, p := range data[1:] {
			spans = append(spans, bytes.Clone(p))
		}
		return f(bytes.Clone(data[0]), spans)
	}, `SELECT number, data`+columns.String()+` FROM day_slot h WHERE day = ? AND channel = ? AND part = 0 ORDER BY number DESC`, day, ch)
	if err != nil {
		return false, fmt.Errorf("store %s: slots of %v: %w", s.path, day, err)
	}
	return all, nil
}
