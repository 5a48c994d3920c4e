package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// PutLocations implements store.Store.
func (s *Store) PutLocations(ctx context.Context, ls []store.Location) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		st := tx.StmtContext(ctx, s.stmts.location)
		for i := range ls {
			l := &ls[i]
			if _, err := st.ExecContext(ctx, l.Kind, l.ID, l.Parent, l.Sequence, l.Seen); err != nil {
				return fmt.Errorf("store %s: location of %s/%s: %w", s.path, l.Kind, l.ID, err)
			}
		}
		return nil
	})
}

// Locations implements store.Store.
func (s *Store) Locations(ctx context.Context, f func(store.Location) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var l store.Location
		if err := r.Scan(&l.Kind, &l.ID, &l.Parent, &l.Sequence, &l.Seen); err != nil {
			return err
		}
		return f(l)
	}, `SELECT kind, id, parent, sequence, seen FROM location ORDER BY kind, id`)
}

// Devices implements store.Store.
func (s *Store) Devices(ctx context.Context, f func(cim.EndDevice) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var d cim.EndDevice
		var imp, exp int64
		if err := r.Scan(&d.Ordinal, &d.Kind, &d.ID, &d.Path, &d.Sequence, &d.Firmware, &d.Interval, &d.Capabilities, &d.Flags,
			&d.Oldest, &d.Expected, &d.FirstSeen, &d.LastSeen, &d.Complete, &d.Link.State, &d.Link.Since, &d.Power.State, &d.Power.Since,
			&d.Breaker.State, &d.Breaker.Since, &d.Registers.Time, &imp, &exp, &d.Registers.Power, &d.Registers.Voltage, &d.SleepFrom, &d.SleepEvery,
			&d.Recorded, &d.Exporting, &d.Feeding); err != nil {
			return err
		}
		d.Registers.Import, d.Registers.Export = uint64(imp), uint64(exp)
		return f(d)
	}, `SELECT `+deviceColumns+` FROM device ORDER BY ordinal`)
}

// Chunks implements store.Store.
func (s *Store) Chunks(ctx context.Context, from, to cim.Day, f func(*store.Chunk) error) error {
	var c store.Chunk
	var data sql.RawBytes
	return s.each(ctx, func(r *sql.Rows) error {
		if err := r.Scan(&c.Day, &c.Recorded, &data); err != nil {
			return err
		}
		if err := store.UnpackChunk(&c, data); err != nil {
			return fmt.Errorf("store %s: chunk of %v: %w", s.path, c.Day, err)
		}
		return f(&c)
	}, `SELECT day, recorded, data FROM chunk c WHERE day >= ? AND day < ? AND`+notDropped+` ORDER BY id`, from, to)
}

// Blocks implements store.Store. Days are the outermost part of the key, so that sealing a day appends; a device's span is
// one look-up a day.
func (s *Store) Blocks(ctx context.Context, q store.BlockQuery, f func(*store.Block) error) error {
	if q.From >= q.To {
		return nil
	}
	known := int64(math.MaxUint32)
	switch {
	case q.AsKnown != 0 && !q.All:
		return s.blocksThen(ctx, q, f)
	case q.AsKnown != 0:
		known = int64(q.AsKnown)
	}
	var b store.Block
	var data sql.RawBytes
	return s.each(ctx, func(r *sql.Rows) error {
		b.Device, b.Channel = q.Device, q.Channel
		if err := r.Scan(&b.Day, &b.Version, &b.Length, &b.Recorded, &b.Missing, &data); err != nil {
			return err
		}
		if err := store.UnpackBlock(&b, data); err != nil {
			return fmt.Errorf("store %s: device %d on %v: %w", s.path, b.Device, b.Day, err)
		}
		return f(&b)
	}, `WITH RECURSIVE days (d) AS (SELECT ?1 UNION ALL SELECT d + 1 FROM days WHERE d + 1 < ?2)
		SELECT b.day, b.version, b.length, b.recorded, b.missing, b.data FROM days CROSS JOIN block b
		WHERE b.day = days.d AND b.channel = ?3 AND b.device = ?4`+newest("block", "b", q.All),
		q.From, q.To, q.Channel, q.Device, known)
}

// BlockInfos implements store.Store.
func (s *Store) BlockInfos(ctx context.Context, q store.InfoQuery, f func(store.BlockInfo) error) error {
	query := `SELECT device, channel, day, length, max(version), missing FROM block
		WHERE day >= ? AND day < ? GROUP BY day, channel, device`
	if q.Incomplete {
		query = `SELECT device, channel, day, length, version, missing FROM block b WHERE day >= ? AND day < ? AND missing > 0
			AND NOT EXISTS (SELECT 1 FROM block n
				WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device AND n.version > b.version)
			ORDER BY day, channel, device`
	}
	return s.each(ctx, func(r *sql.Rows) error {
		var b store.BlockInfo
		if err := r.Scan(&b.Device, &b.Channel, &b.Day, &b.Length, &b.Version, &b.Missing); err != nil {
			return err
		}
		return f(b)
	}, query, q.From, q.To)
}

// DayTotals implements store.Store.
func (s *Store) DayTotals(ctx context.Context, f func(store.DayTotal) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var t store.DayTotal
		var arrivals string
		err := r.Scan(&t.Day, &t.Received, &t.Recovered, &arrivals)
		if err == nil {
			t.Arrivals, err = store.ParseArrivals(arrivals)
		}
		if err != nil {
			return err
		}
		return f(t)
	}, `SELECT day, received, recovered, arrivals FROM day_total ORDER BY day`)
}

// Command implements store.Store.
func (s *Store) Command(ctx context.Context, id uint64) (store.Command, error) {
	c := store.Command{ID: id}
	err := s.read.QueryRowContext(ctx, `SELECT created, open, own, meter, doc FROM command WHERE id = ?`, int64(id)).Scan(&c.Created, &c.Open, &c.Own, &c.Meter, &c.Doc)
	if errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("command %d: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return c, fmt.Errorf("store %s: command %d: %w", s.path, id, err)
	}
	return c, nil
}

// Commands implements store.Store.
func (s *Store) Commands(ctx context.Context, q store.CommandQuery) ([]store.Command, error) {
	var out []store.Command
	query, args := `SELECT id, created, open, own, meter, doc FROM command WHERE id < ?`, []any{below(q.Before)}
	for _, only := range []struct {
		set  bool
		term string
	}{{q.Open, ` AND open = 1`}, {q.Asked, ` AND own = 0`}, {q.Own, ` AND own = 1`}} {
		if only.set {
			query += only.term
		}
	}
	if q.Meter != "" {
		query, args = query+` AND meter <> '' AND meter = ?`, append(args, q.Meter)
	}
	query, args = query+` ORDER BY id DESC LIMIT ?`, append(args, q.Limit)
	err := s.each(ctx, func(r *sql.Rows) error {
		var c store.Command
		var id int64
		if err := r.Scan(&id, &c.Created, &c.Open, &c.Own, &c.Meter, &c.Doc); err != nil {
			return err
		}
		c.ID = uint64(id)
		out = append(out, c)
		return nil
	}, query, args...)
	return out, err
}

// Outages implements store.Store.
func (s *Store) Outages(ctx context.Context, before uint64, limit int, open bool) ([]store.Outage, error) {
	var out []store.Outage
	query := `SELECT id, start, finish, doc FROM outage WHERE id < ? ORDER BY id DESC LIMIT ?`
	if open {
		query = `SELECT id, start, finish, doc FROM outage WHERE id < ? AND finish = 0 ORDER BY id DESC LIMIT ?`
	}
	err := s.each(ctx, func(r *sql.Rows) error {
		var o store.Outage
		var id int64
		if err := r.Scan(&id, &o.Start, &o.End, &o.Doc); err != nil {
			return err
		}
		o.ID = uint64(id)
		out = append(out, o)
		return nil
	}, query, below(before), limit)
	return out, err
}

// below is the bound of a page: ids are below 2^63 (command ids of the centre have the top bit clear).
func below(before uint64) int64 {
	if before == 0 || before > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(before)
}

// Groups implements store.Store.
func (s *Store) Groups(ctx context.Context, f func(store.GroupMember) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var m store.GroupMember
		if err := r.Scan(&m.Group, &m.Device, &m.Confirmed); err != nil {
			return err
		}
		return f(m)
	}, `SELECT number, device, confirmed FROM member ORDER BY number, device`)
}

// Registry implements store.Store.
func (s *Store) Registry(ctx context.Context, f func([]byte) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var part sql.RawBytes
		if err := r.Scan(&part); err != nil {
			return err
		}
		return f(part)
	}, `SELECT data FROM registry ORDER BY id`)
}
