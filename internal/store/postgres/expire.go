package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// expiries are the statements of each kind: $1 is the time before which, $2 how many rows at most. What was judged of a day
// goes with it.
func expiries() map[store.Expiry][]string {
	superseded := func(table string) string {
		return `DELETE FROM ` + table + ` WHERE ctid = ANY (ARRAY(SELECT o.ctid
			FROM ` + table + ` n JOIN ` + table + ` o ON o.day = n.day AND o.channel = n.channel AND o.device = n.device AND o.version < n.version
			WHERE n.version > 1 AND n.recorded < $1 LIMIT $2))`
	}
	rows := func(table, which string) string {
		return `DELETE FROM ` + table + ` WHERE ctid = ANY (ARRAY(SELECT ctid FROM ` + table + ` WHERE ` + which + ` LIMIT $2))`
	}
	return map[store.Expiry][]string{
		store.ExpireVersions: {superseded("block"), superseded("verdict"), rows("finding", `superseded <> 0 AND superseded < $1`), rows("draft", `recorded < $1`),
			rows("move", `EXISTS (SELECT 1 FROM move n WHERE n.device = move.device AND n.recorded > move.recorded AND n.recorded < $1)`)},
		store.ExpireIntervals: {rows("block", `day < $1 / 86400`), rows("verdict", `day < $1 / 86400`), rows("finding", `day < $1 / 86400`), rows("draft", `day < $1 / 86400`),
			rows("submeter_value", `time < $1`)},
		store.ExpireSlots: {`DELETE FROM day_slot WHERE (day, channel, part, number) IN (SELECT day, channel, part, number FROM day_slot WHERE day < $1 / 86400
			ORDER BY day, channel, part, number LIMIT $2)`},
		store.ExpireCommands: {rows("command", `NOT open AND created < $1`)},
		store.ExpireOutages: {rows("outage", `finish <> 0 AND finish < $1`),
			rows("interruption", `start < $1 AND finish <> 0 AND finish < $1`), rows("maintenance", `finish < $1`)},
	}
}

// FirstDay implements store.Store.
func (s *Store) FirstDay(ctx context.Context) (day cim.Day, some bool, err error) {
	err = s.each(ctx, func(r pgx.Rows) error {
		var first *int32
		if err := r.Scan(&first); err != nil || first == nil {
			return err
		}
		day, some = cim.Day(*first), true
		return nil
	}, `SELECT least((SELECT min(day) FROM block), (SELECT min(day) FROM chunk))`)
	return day, some, err
}

// Expire implements store.Store.
func (s *Store) Expire(ctx context.Context, kind store.Expiry, before uint32, limit int) (n int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		n = 0
		for _, statement := range expiries()[kind] {
			tag, err := tx.Exec(ctx, statement, int64(before), int64(limit))
			if err != nil {
				return fmt.Errorf("store %s: expire %v: %w", s.name, kind, err)
			}
			n += int(tag.RowsAffected())
		}
		if kind != store.ExpireIntervals || n == 0 {
			return nil
		}
		for _, table := range []string{"day_tally", "day_part"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE day < $1 / 86400`, int64(before)); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
