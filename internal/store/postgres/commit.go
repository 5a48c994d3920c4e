package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// batchRows is how many rows go in one statement.
const batchRows = 5000

var errReplay = errors.New("replay")

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, c *store.Commit) (bool, error) {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if c.Stream != "" {
			tag, err := tx.Exec(ctx, `INSERT INTO stream AS s (name, sequence) SELECT $1, $2::bigint WHERE $2::bigint > 0
				ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence WHERE s.sequence < excluded.sequence`, c.Stream, int64(c.Sequence))
			if err != nil {
				return fmt.Errorf("store %s: stream %s: %w", s.name, c.Stream, err)
			}
			if tag.RowsAffected() == 0 {
				return errReplay
			}
		}
		if err := s.putDevices(ctx, tx, c.Devices); err != nil {
			return err
		}
		if err := s.putChunks(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putDrafts(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putBlocks(ctx, tx, c.Blocks); err != nil {
			return err
		}
		if err := s.putDocs(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putVerdicts(ctx, tx, c.Verdicts); err != nil {
			return err
		}
		if err := s.putFindings(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putRuns(ctx, tx, c.Runs); err != nil {
			return err
		}
		if err := s.putOut(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putInterruptions(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putMasterData(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putAllowances(ctx, tx, c.Allowances); err != nil {
			return err
		}
		return s.putAudit(ctx, tx, c.Audit)
	})
	if errors.Is(err, errReplay) {
		return false, nil
	}
	return err == nil, err
}

// Sequence implements store.Store.
func (s *Store) Sequence(ctx context.Context, stream string) (uint64, error) {
	var n int64
	err := s.read.QueryRow(ctx, `SELECT sequence FROM stream WHERE name = $1`, stream).Scan(&n)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("store %s: sequence of stream %s: %w", s.name, stream, err)
	}
	return uint64(n), nil
}

const deviceColumns = `ordinal, kind, id, path, sequence, firmware, interval, capabilities, flags, oldest, expected, first_seen,
	last_seen, complete, link, link_since, power, power_since, breaker, breaker_since, reg_time, reg_import, reg_export, reg_power,
	reg_voltage, sleep_from, sleep_every, recorded, exporting`

// upsertDevice inserts a device or replaces all that is known of it.
func upsertDevice() string {
	cols := strings.Fields(strings.ReplaceAll(deviceColumns, ",", " "))
	marks, sets := make([]string, len(cols)), make([]string, len(cols)-1)
	for i, c := range cols {
		marks[i] = fmt.Sprintf("$%d", i+1)
		if i > 0 {
			sets[i-1] = c + " = excluded." + c
		}
	}
	return `INSERT INTO device (` + deviceColumns + `) VALUES (` + strings.Join(marks, ", ") + `)
		ON CONFLICT (ordinal) DO UPDATE SET ` + strings.Join(sets, ", ")
}

func (s *Store) putDevices(ctx context.Context, tx pgx.Tx, ds []cim.EndDevice) error {
	query := upsertDevice()
	for len(ds) > 0 {
		n := min(len(ds), batchRows)
		var b pgx.Batch
		for i := range ds[:n] {
			d := &ds[i]
			b.Queue(query, d.Ordinal, d.Kind, d.ID, d.Path, d.Sequence, d.Firmware, d.Interval, d.Capabilities, d.Flags, d.Oldest, d.Expected,
				d.FirstSeen, d.LastSeen, d.Complete, int16(d.Link.State), d.Link.Since, int16(d.Power.State), d.Power.Since,
				int16(d.Breaker.State), d.Breaker.Since, d.Registers.Time, int64(d.Registers.Import), int64(d.Registers.Export),
				d.Registers.Power, d.Registers.Voltage, d.SleepFrom, d.SleepEvery, d.Recorded, d.Exporting)
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: devices: %w", s.name, err)
		}
		ds = ds[n:]
	}
	return nil
}

// The parts of chunk.kind.
const (
	kindQuality  = 16 // shift
	kindChannel  = 20 // shift
	kindRegister = 1 << 24
)

func (s *Store) putChunks(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	for _, day := range c.DropDays {
		if _, err := tx.Exec(ctx, `DELETE FROM chunk WHERE day = $1`, int32(day)); err != nil {
			return fmt.Errorf("store %s: drop chunks of %v: %w", s.name, day, err)
		}
	}
	for i := range c.Chunks {
		if err := s.putChunk(ctx, tx, &c.Chunks[i]); err != nil {
			return fmt.Errorf("store %s: chunk of %v: %w", s.name, c.Chunks[i].Day, err)
		}
	}
	return nil
}

// putChunk encodes the columns itself: the driver does it an element at a time, at ten times the cost.
func (s *Store) putChunk(ctx context.Context, tx pgx.Tx, c *store.Chunk) error {
	n := len(c.Rows)
	var ints [4]array
	for i := range ints {
		ints[i] = newArray(pgtype.Int4OID, n, 4)
	}
	device, kind, start, wh := &ints[0], &ints[1], &ints[2], &ints[3]
	register := newArray(pgtype.Int8OID, n, 8)
	var came array // stays null but for what was rewritten
	if c.Rewritten() {
		came = newArray(pgtype.Int8OID, n, 8)
	}
	for j := range c.Rows {
		r := &c.Rows[j]
		if err := store.CheckRow(r); err != nil {
			return fmt.Errorf("row %d: %w", j, err)
		}
		k, reg := uint32(r.Length)|uint32(r.Quality)<<kindQuality|uint32(r.Channel)<<kindChannel, uint64(0)
		if r.HasReg {
			k, reg = k|kindRegister, r.Register
		}
		device.add32(r.Device)
		kind.add32(k)
		start.add32(r.Start - c.Day.Start())
		wh.add32(r.Wh)
		register.add64(reg)
		if came != nil {
			came.add64(uint64(r.Recorded))
		}
	}
	var day, intervals [4]byte
	var recorded [8]byte
	binary.BigEndian.PutUint32(day[:], uint32(c.Day))
	binary.BigEndian.PutUint32(intervals[:], uint32(n))
	binary.BigEndian.PutUint64(recorded[:], uint64(c.Recorded))
	_, err := tx.Conn().PgConn().ExecParams(ctx,
		`INSERT INTO chunk (day, recorded, intervals, device, kind, start, wh, register, came) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)`,
		[][]byte{day[:], recorded[:], intervals[:], *device, *kind, *start, *wh, register, came},
		[]uint32{pgtype.Int4OID, pgtype.Int8OID, pgtype.Int4OID, pgtype.Int4ArrayOID, pgtype.Int4ArrayOID, pgtype.Int4ArrayOID, pgtype.Int4ArrayOID, pgtype.Int8ArrayOID, pgtype.Int8ArrayOID},
		[]int16{1, 1, 1, 1, 1, 1, 1, 1, 1}, nil).Close()
	return err
}

// array is an array in PostgreSQL's binary form, without nulls.
type array []byte

func newArray(oid uint32, n, size int) array {
	a := make(array, 0, 20+n*(4+size))
	if n == 0 {
		return binary.BigEndian.AppendUint32(append(a, 0, 0, 0, 0, 0, 0, 0, 0), oid)
	}
	a = binary.BigEndian.AppendUint32(append(a, 0, 0, 0, 1, 0, 0, 0, 0), oid)
	a = binary.BigEndian.AppendUint32(a, uint32(n))
	return append(a, 0, 0, 0, 1)
}

func (a *array) add32(v uint32) {
	*a = binary.BigEndian.AppendUint32(append(*a, 0, 0, 0, 4), v)
}

func (a *array) add64(v uint64) {
	*a = binary.BigEndian.AppendUint64(append(*a, 0, 0, 0, 8), v)
}

func (s *Store) putBlocks(ctx context.Context, tx pgx.Tx, bs []store.Block) error {
	n := min(len(bs), batchRows)
	day, channel, length := make([]int32, n), make([]int16, n), make([]int16, n)
	device, version, recorded := make([]int64, n), make([]int64, n), make([]int64, n)
	missing, data := make([]int32, n), make([][]byte, n)
	for len(bs) > 0 {
		n := min(len(bs), batchRows)
		s.buf = s.buf[:0]
		ends := make([]int, n)
		for i := range bs[:n] {
			b := &bs[i]
			var err error
			if s.buf, err = store.AppendBlock(s.buf, b); err != nil {
				return fmt.Errorf("store %s: device %d: %w", s.name, b.Device, err)
			}
			ends[i] = len(s.buf)
			day[i], channel[i], device[i], version[i] = int32(b.Day), int16(b.Channel), int64(b.Device), int64(b.Version)
			length[i], recorded[i], missing[i] = int16(b.Length), int64(b.Recorded), int32(b.Missing)
		}
		for i, begin := 0, 0; i < n; begin, i = ends[i], i+1 {
			data[i] = s.buf[begin:ends[i]]
		}
		tag, err := tx.Exec(ctx, `INSERT INTO block (day, channel, device, version, length, recorded, missing, data)
			SELECT * FROM unnest($1::int[], $2::smallint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], $7::int[], $8::bytea[])
			ON CONFLICT DO NOTHING`,
			day[:n], channel[:n], device[:n], version[:n], length[:n], recorded[:n], missing[:n], data[:n])
		if err != nil {
			return fmt.Errorf("store %s: blocks: %w", s.name, err)
		}
		if err := s.tally(ctx, tx, bs[:n], tag.RowsAffected() == int64(n)); err != nil {
			return fmt.Errorf("store %s: tallies: %w", s.name, err)
		}
		bs = bs[n:]
	}
	return nil
}

func (s *Store) putDocs(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	var b pgx.Batch
	for _, t := range c.Totals {
		arrivals, err := store.FormatArrivals(t.Arrivals)
		if err != nil {
			return fmt.Errorf("store %s: total of %v: %w", s.name, t.Day, err)
		}
		b.Queue(`INSERT INTO day_total (day, received, recovered, arrivals) VALUES ($1,$2,$3,$4)
			ON CONFLICT (day) DO UPDATE SET received = excluded.received, recovered = excluded.recovered, arrivals = excluded.arrivals`,
			int32(t.Day), t.Received, t.Recovered, arrivals)
	}
	for i := range c.Commands {
		m := &c.Commands[i]
		b.Queue(`INSERT INTO command (id, created, open, doc) VALUES ($1,$2,$3,$4)
			ON CONFLICT (id) DO UPDATE SET created = excluded.created, open = excluded.open, doc = excluded.doc`, int64(m.ID), m.Created, m.Open, m.Doc)
	}
	for i := range c.Outages {
		o := &c.Outages[i]
		b.Queue(`INSERT INTO outage (id, start, finish, doc) VALUES ($1,$2,$3,$4)
			ON CONFLICT (id) DO UPDATE SET start = excluded.start, finish = excluded.finish, doc = excluded.doc`, int64(o.ID), o.Start, o.End, o.Doc)
	}
	if b.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("store %s: totals, commands and outages: %w", s.name, err)
	}
	return nil
}
