package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
		if err := s.putFirmware(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putSubMeters(ctx, tx, c); err != nil {
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
	reg_voltage, sleep_from, sleep_every, recorded, exporting, feeding`

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
				d.Registers.Power, d.Registers.Voltage, d.SleepFrom, d.SleepEvery, d.Recorded, d.Exporting, d.Feeding)
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: devices: %w", s.name, err)
		}
		ds = ds[n:]
	}
	return nil
}

func (s *Store) putChunks(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	if err := s.dropDays(ctx, tx, c.DropDays); err != nil {
		return err
	}
	brought := 0
	for i := range c.Chunks {
		if err := s.putChunk(ctx, tx, &c.Chunks[i]); err != nil {
			return fmt.Errorf("store %s: chunk of %v: %w", s.name, c.Chunks[i].Day, err)
		}
		brought += len(s.buf)
	}
	return s.sweep(ctx, tx, brought)
}

// putChunk gives the values to the server as they are: the driver would look at each.
func (s *Store) putChunk(ctx context.Context, tx pgx.Tx, c *store.Chunk) error {
	var err error
	if s.buf, err = appendChunk(s.buf[:0], c); err != nil {
		return err
	}
	var day, intervals [4]byte
	var recorded [8]byte
	binary.BigEndian.PutUint32(day[:], uint32(c.Day))
	binary.BigEndian.PutUint32(intervals[:], uint32(len(c.Rows)))
	binary.BigEndian.PutUint64(recorded[:], uint64(c.Recorded))
	_, err = tx.Conn().PgConn().ExecParams(ctx, `INSERT INTO chunk (day, recorded, intervals, data) VALUES ($1,$2,$3,$4)`,
		[][]byte{day[:], recorded[:], intervals[:], s.buf}, []uint32{pgtype.Int4OID, pgtype.Int8OID, pgtype.Int4OID, pgtype.ByteaOID},
		[]int16{1, 1, 1, 1}, nil).Close()
	return err
}

// putBlocks copies blocks in: the server then logs a page of them at once, and not each one.
func (s *Store) putBlocks(ctx context.Context, tx pgx.Tx, bs []store.Block) error {
	for len(bs) > 0 {
		n := min(len(bs), batchRows)
		all, err := s.copyBlocks(ctx, tx, bs[:n])
		if err != nil {
			return fmt.Errorf("store %s: blocks: %w", s.name, err)
		}
		if err := s.tally(ctx, tx, bs[:n], all); err != nil {
			return fmt.Errorf("store %s: tallies: %w", s.name, err)
		}
		bs = bs[n:]
	}
	return nil
}

const blockColumns = `day, channel, device, version, length, recorded, missing, data`

// copyBlocks reports whether all blocks are new. Some exist only where a commit that was changed by hand is repeated; then all go by
// a table of their own, since a copy fails as a whole.
func (s *Store) copyBlocks(ctx context.Context, tx pgx.Tx, bs []store.Block) (all bool, err error) {
	if s.buf, err = appendCopy(s.buf[:0], bs); err != nil {
		return false, err
	}
	nested, err := tx.Begin(ctx) // a savepoint
	if err != nil {
		return false, err
	}
	_, err = tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(s.buf), `COPY block (`+blockColumns+`) FROM STDIN BINARY`)
	if err == nil {
		return true, nested.Commit(ctx)
	}
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != "23505" { // unique_violation
		return false, err
	}
	if err := nested.Rollback(ctx); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, `CREATE TEMPORARY TABLE repeated ON COMMIT DROP AS SELECT `+blockColumns+` FROM block WITH NO DATA`); err != nil {
		return false, err
	}
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(s.buf), `COPY repeated (`+blockColumns+`) FROM STDIN BINARY`); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO block (`+blockColumns+`) SELECT `+blockColumns+` FROM repeated ON CONFLICT DO NOTHING`); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, `DROP TABLE repeated`)
	return false, err
}

// appendCopy appends blocks in the binary form of COPY.
func appendCopy(p []byte, bs []store.Block) ([]byte, error) {
	be := binary.BigEndian
	p = append(p, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	for i := range bs {
		b := &bs[i]
		p = be.AppendUint16(p, 8)
		p = be.AppendUint32(be.AppendUint32(p, 4), uint32(b.Day))
		p = be.AppendUint16(be.AppendUint32(p, 2), uint16(b.Channel))
		p = be.AppendUint64(be.AppendUint32(p, 8), uint64(b.Device))
		p = be.AppendUint64(be.AppendUint32(p, 8), uint64(b.Version))
		p = be.AppendUint16(be.AppendUint32(p, 2), b.Length)
		p = be.AppendUint64(be.AppendUint32(p, 8), uint64(b.Recorded))
		p = be.AppendUint32(be.AppendUint32(p, 4), uint32(b.Missing))
		p = be.AppendUint32(p, 0)
		head := len(p)
		var err error
		if p, err = store.AppendBlock(p, b); err != nil {
			return p, fmt.Errorf("device %d: %w", b.Device, err)
		}
		be.PutUint32(p[head-4:], uint32(len(p)-head))
	}
	return be.AppendUint16(p, 0xffff), nil
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
		b.Queue(`INSERT INTO command (id, created, open, own, meter, doc) VALUES ($1,$2,$3,$4,$5,$6)
			ON CONFLICT (id) DO UPDATE SET created = excluded.created, open = excluded.open, own = excluded.own, meter = excluded.meter, doc = excluded.doc`,
			int64(m.ID), m.Created, m.Open, m.Own, m.Meter, m.Doc)
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
