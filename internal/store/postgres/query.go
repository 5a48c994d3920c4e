package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// PutLocations implements store.Store.
func (s *Store) PutLocations(ctx context.Context, ls []store.Location) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var b pgx.Batch
		for i := range ls {
			l := &ls[i]
			b.Queue(`INSERT INTO location (kind, id, parent, sequence, seen) VALUES ($1,$2,$3,$4,$5)
				ON CONFLICT (kind, id) DO UPDATE SET parent = excluded.parent, sequence = excluded.sequence, seen = excluded.seen`,
				l.Kind, l.ID, l.Parent, l.Sequence, l.Seen)
		}
		if b.Len() == 0 {
			return nil
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: locations: %w", s.name, err)
		}
		return nil
	})
}

// Locations implements store.Store.
func (s *Store) Locations(ctx context.Context, f func(store.Location) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var l store.Location
		if err := r.Scan(&l.Kind, &l.ID, &l.Parent, &l.Sequence, &l.Seen); err != nil {
			return err
		}
		return f(l)
	}, `SELECT kind, id, parent, sequence, seen FROM location ORDER BY kind COLLATE "C", id COLLATE "C"`)
}

// Devices implements store.Store.
func (s *Store) Devices(ctx context.Context, f func(cim.EndDevice) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var d cim.EndDevice
		var link, power, breaker int16
		var imp, exp int64
		if err := r.Scan(&d.Ordinal, &d.Kind, &d.ID, &d.Path, &d.Sequence, &d.Firmware, &d.Interval, &d.Capabilities, &d.Flags,
			&d.Oldest, &d.Expected, &d.FirstSeen, &d.LastSeen, &d.Complete, &link, &d.Link.Since, &power, &d.Power.Since,
			&breaker, &d.Breaker.Since, &d.Registers.Time, &imp, &exp, &d.Registers.Power, &d.Registers.Voltage, &d.SleepFrom, &d.SleepEvery,
			&d.Recorded, &d.Exporting, &d.Feeding); err != nil {
			return err
		}
		d.Link.State, d.Power.State, d.Breaker.State = cim.Link(link), cim.Supply(power), cim.Breaker(breaker)
		d.Registers.Import, d.Registers.Export = uint64(imp), uint64(exp)
		return f(d)
	}, `SELECT `+deviceColumns+` FROM device ORDER BY ordinal`)
}

// Chunks implements store.Store.
func (s *Store) Chunks(ctx context.Context, from, to cim.Day, f func(*store.Chunk) error) error {
	var c store.Chunk
	var data pgtype.DriverBytes
	return s.each(ctx, func(r pgx.Rows) error {
		var intervals int
		if err := r.Scan(&c.Day, &c.Recorded, &intervals, &data); err != nil {
			return err
		}
		if err := unpackChunk(&c, intervals, data); err != nil {
			return fmt.Errorf("store %s: chunk of %v: %w", s.name, c.Day, err)
		}
		return f(&c)
	}, `SELECT day, recorded, intervals, data FROM chunk c WHERE day >= $1 AND day < $2 AND`+notDropped+` ORDER BY id`, dayArg(from), dayArg(to))
}

// dayArg is a day as an argument; later than any that a table can hold becomes the last one that it can.
func dayArg(d cim.Day) int32 { return int32(min(d, math.MaxInt32)) }

// Blocks implements store.Store.
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
	var data []byte
	return s.each(ctx, func(r pgx.Rows) error {
		b.Device, b.Channel = q.Device, q.Channel
		if err := r.Scan(&b.Day, &b.Version, &b.Length, &b.Recorded, &b.Missing, &data); err != nil {
			return err
		}
		if err := store.UnpackBlock(&b, data); err != nil {
			return fmt.Errorf("store %s: device %d on %v: %w", s.name, b.Device, b.Day, err)
		}
		return f(&b)
	}, `SELECT b.day, b.version, b.length, b.recorded, b.missing, b.data
		FROM generate_series($1::int, $2::int - 1) AS days (d)
		CROSS JOIN LATERAL (SELECT * FROM block WHERE day = days.d AND channel = $3 AND device = $4 AND recorded <= $5
			ORDER BY version DESC`+only(!q.All, ` LIMIT 1`)+`) b
		ORDER BY b.day, b.version`, dayArg(q.From), dayArg(q.To), int16(q.Channel), int64(q.Device), known)
}

// BlockInfos implements store.Store.
func (s *Store) BlockInfos(ctx context.Context, q store.InfoQuery, f func(store.BlockInfo) error) error {
	query := `SELECT DISTINCT ON (day, channel, device) device, channel, day, length, version, missing FROM block
		WHERE day >= $1 AND day < $2 ORDER BY day, channel, device, version DESC`
	if q.Incomplete {
		query = `SELECT device, channel, day, length, version, missing FROM block b WHERE day >= $1 AND day < $2 AND missing > 0
			AND NOT EXISTS (SELECT 1 FROM block n
				WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device AND n.version > b.version)
			ORDER BY day, channel, device`
	}
	return s.each(ctx, func(r pgx.Rows) error {
		var b store.BlockInfo
		var channel int16
		if err := r.Scan(&b.Device, &channel, &b.Day, &b.Length, &b.Version, &b.Missing); err != nil {
			return err
		}
		b.Channel = cim.Channel(channel)
		return f(b)
	}, query, dayArg(q.From), dayArg(q.To))
}

// DayTotals implements store.Store.
func (s *Store) DayTotals(ctx context.Context, f func(store.DayTotal) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
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
	err := s.read.QueryRow(ctx, `SELECT created, open, own, meter, doc FROM command WHERE id = $1`, int64(id)).Scan(&c.Created, &c.Open, &c.Own, &c.Meter, &c.Doc)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, fmt.Errorf("command %d: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return c, fmt.Errorf("store %s: command %d: %w", s.name, id, err)
	}
	return c, nil
}

// Commands implements store.Store.
func (s *Store) Commands(ctx context.Context, q store.CommandQuery) ([]store.Command, error) {
	var out []store.Command
	args := []any{below(q.Before), q.Limit}
	if q.Meter != "" {
		args = append(args, q.Meter)
	}
	err := s.each(ctx, func(r pgx.Rows) error {
		var c store.Command
		var id int64
		if err := r.Scan(&id, &c.Created, &c.Open, &c.Own, &c.Meter, &c.Doc); err != nil {
			return err
		}
		c.ID = uint64(id)
		out = append(out, c)
		return nil
	}, `SELECT id, created, open, own, meter, doc FROM command WHERE id < $1`+only(q.Open, ` AND open`)+only(q.Asked, ` AND NOT own`)+only(q.Own, ` AND own`)+
		only(q.Meter != "", ` AND meter <> '' AND meter = $3`)+` ORDER BY id DESC LIMIT $2`, args...)
	return out, err
}

// Outages implements store.Store.
func (s *Store) Outages(ctx context.Context, before uint64, limit int, open bool) ([]store.Outage, error) {
	var out []store.Outage
	err := s.each(ctx, func(r pgx.Rows) error {
		var o store.Outage
		var id int64
		if err := r.Scan(&id, &o.Start, &o.End, &o.Doc); err != nil {
			return err
		}
		o.ID = uint64(id)
		out = append(out, o)
		return nil
	}, `SELECT id, start, finish, doc FROM outage WHERE id < $1`+only(open, ` AND finish = 0`)+` ORDER BY id DESC LIMIT $2`, below(before), limit)
	return out, err
}

func only(yes bool, condition string) string {
	if yes {
		return condition
	}
	return ""
}

func below(before uint64) int64 {
	if before == 0 || before > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(before)
}

// Groups implements store.Store.
func (s *Store) Groups(ctx context.Context, f func(store.GroupMember) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var m store.GroupMember
		if err := r.Scan(&m.Group, &m.Device, &m.Confirmed); err != nil {
			return err
		}
		return f(m)
	}, `SELECT number, device, confirmed FROM member ORDER BY number, device COLLATE "C"`)
}

// Registry implements store.Store.
func (s *Store) Registry(ctx context.Context, f func([]byte) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var part []byte
		if err := r.Scan(&part); err != nil {
			return err
		}
		return f(part)
	}, `SELECT data FROM registry ORDER BY id`)
}
