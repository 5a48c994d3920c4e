package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// expiries are the statements of each kind: ?1 is the time before which, ?2 how many rows at most. What was judged of a day
// goes with it.
func expiries() map[store.Expiry][]string {
	superseded := func(table string) string {
		return `DELETE FROM ` + table + ` WHERE (day, channel, device, version) IN (SELECT o.day, o.channel, o.device, o.version
			FROM ` + table + ` n JOIN ` + table + ` o ON o.day = n.day AND o.channel = n.channel AND o.device = n.device AND o.version < n.version
			WHERE n.version > 1 AND n.recorded < ?1 LIMIT ?2)`
	}
	old := func(table string) string {
		return `DELETE FROM ` + table + ` WHERE (day, channel, device, version) IN (
			SELECT day, channel, device, version FROM ` + table + ` WHERE day < ?1 / 86400 LIMIT ?2)`
	}
	return map[store.Expiry][]string{
		store.ExpireVersions: {superseded("block"), superseded("verdict"),
			`DELETE FROM finding WHERE id IN (SELECT id FROM finding WHERE superseded <> 0 AND superseded < ?1 LIMIT ?2)`,
			`DELETE FROM draft WHERE (day, channel, device, recorded) IN (SELECT day, channel, device, recorded FROM draft WHERE recorded < ?1 LIMIT ?2)`,
			`DELETE FROM move WHERE (device, recorded) IN (SELECT o.device, o.recorded FROM move o JOIN move n ON n.device = o.device AND n.recorded > o.recorded
				WHERE n.recorded < ?1 LIMIT ?2)`},
		store.ExpireIntervals: {old("block"), old("verdict"),
			`DELETE FROM finding WHERE id IN (SELECT id FROM finding WHERE day < ?1 / 86400 LIMIT ?2)`,
			`DELETE FROM draft WHERE (day, channel, device, recorded) IN (SELECT day, channel, device, recorded FROM draft WHERE day < ?1 / 86400 LIMIT ?2)`,
			`DELETE FROM submeter_value WHERE (submeter, time) IN (SELECT submeter, time FROM submeter_value WHERE time < ?1 LIMIT ?2)`},
		store.ExpireSlots: {`DELETE FROM day_slot WHERE (day, channel, part, number) IN (SELECT day, channel, part, number FROM day_slot WHERE day < ?1 / 86400
			ORDER BY day, channel, part, number LIMIT ?2)`},
		store.ExpireCommands: {`DELETE FROM command WHERE id IN (SELECT id FROM command WHERE open = 0 AND created < ?1 LIMIT ?2)`},
		store.ExpireOutages: {`DELETE FROM outage WHERE id IN (SELECT id FROM outage WHERE finish <> 0 AND finish < ?1 LIMIT ?2)`,
			`DELETE FROM interruption WHERE id IN (SELECT id FROM interruption WHERE start < ?1 AND finish <> 0 AND finish < ?1 LIMIT ?2)`,
			`DELETE FROM maintenance WHERE id IN (SELECT id FROM maintenance WHERE finish < ?1 LIMIT ?2)`},
	}
}

// FirstDay implements store.Store.
func (s *Store) FirstDay(ctx context.Context) (day cim.Day, some bool, err error) {
	err = s.each(ctx, func(r *sql.Rows) error {
		var first sql.NullInt64
		err := r.Scan(&first)
		day, some = cim.Day(first.Int64), first.Valid
		return err
	}, `SELECT min(day) FROM (SELECT min(day) AS day FROM block UNION ALL SELECT min(day) FROM chunk)`)
	return day, some, err
}

// Expire implements store.Store.
func (s *Store) Expire(ctx context.Context, kind store.Expiry, before uint32, limit int) (n int, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		for _, statement := range expiries()[kind] {
			r, err := tx.ExecContext(ctx, statement, before, limit)
			if err != nil {
				return fmt.Errorf("store %s: expire %v: %w", s.path, kind, err)
			}
			gone, err := r.RowsAffected()
			if err != nil {
				return err
			}
			n += int(gone)
		}
		if kind != store.ExpireIntervals || n == 0 {
			return nil
		}
		for _, table := range []string{"day_tally", "day_part"} {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE day < ? / 86400`, before); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
