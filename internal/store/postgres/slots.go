package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// putSlots keeps blocks of a day turned round, if all of its blocks are; first says that there is none yet. No blocks: from now on not all are.
func putSlots(ctx context.Context, tx pgx.Tx, k tallyKey, bs []*store.Block, first bool) error {
	day, ch := int32(k.day), int16(k.ch)
	if len(bs) == 0 {
		_, err := tx.Exec(ctx, `DELETE FROM day_slot WHERE day = $1 AND channel = $2 AND part = 0 AND number = 0`, day, ch)
		return err
	}
	if first {
		if _, err := tx.Exec(ctx, `INSERT INTO day_slot (day, channel, part, number, data) VALUES ($1, $2, 0, 0, '')`, day, ch); err != nil {
			return err
		}
	}
	var all, turned bool
	var last int64
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM day_slot WHERE day = $1 AND channel = $2 AND part = 0 AND number = 0),
		EXISTS (SELECT FROM day_slot WHERE day = $1 AND channel = $2 AND part = 1),
		(SELECT coalesce(max(number), 0) FROM day_slot WHERE day = $1 AND channel = $2 AND part = 0)`, day, ch).Scan(&all, &turned, &last); err != nil || !all {
		return err
	}
	parts, err := store.PackSlots(bs, turned)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO day_slot (day, channel, part, number, data)
		SELECT $1::int, $2::smallint, n - 1, $3::bigint, data FROM unnest($4::bytea[]) WITH ORDINALITY AS p (data, n)`, day, ch, last+1, parts)
	return err
}

// DaySlots implements store.Store.
func (s *Store) DaySlots(ctx context.Context, day cim.Day, ch cim.Channel, w store.Within, f func(head []byte, spans [][]byte) error) (all bool, err error) {
	from, to := w.Spans()
	data, into := make([]pgtype.DriverBytes, 1+to-from), make([]any, 1, 2+to-from)
	var columns strings.Builder
	var number int64
	into[0] = &number
	for i := range data {
		into = append(into, &data[i])
		if i > 0 {
			fmt.Fprintf(&columns, `, (SELECT data FROM day_slot WHERE day = h.day AND channel = h.channel AND part = %d AND number = h.number)`, from+i)
		}
	}
	err = s.each(ctx, func(r pgx.Rows) error {
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
	}, `SELECT number, data`+columns.String()+` FROM day_slot h WHERE day = $1 AND channel = $2 AND part = 0 ORDER BY number DESC`, dayArg(day), int16(ch))
	if err != nil {
		return false, fmt.Errorf("store %s: slots of %v: %w", s.name, day, err)
	}
	return all, nil
}
