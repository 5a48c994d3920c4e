package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

const deviceColumns = `ordinal, kind, id, path, sequence, firmware, interval, capabilities, flags, oldest, expected, first_seen,
	last_seen, complete, link, link_since, power, power_since, breaker, breaker_since, reg_time, reg_import, reg_export, reg_power,
	reg_voltage, sleep_from, sleep_every, recorded, exporting, feeding`

// statements are those of a commit, prepared once on the writing connection.
type statements struct {
	sequence, device, chunk, block, blocks, verdicts, command, outage, total, location, verdict, finding, supersede, audit, interruption, rollOutMember, subValue, slot *sql.Stmt
}

func (s *statements) each() map[string]**sql.Stmt {
	return map[string]**sql.Stmt{
		`INSERT INTO stream (name, sequence) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence`: &s.sequence,
		`INSERT OR REPLACE INTO device (` + deviceColumns + `)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`: &s.device,
		`INSERT INTO chunk (day, recorded, intervals, data) VALUES (?, ?, ?, ?)`: &s.chunk,
		`INSERT OR IGNORE INTO block (day, channel, device, version, length, recorded, missing, data)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`: &s.block,
		bulkInsert("block", []string{"day", "channel", "version", "length", "recorded", "missing"}, []string{"device", "data"}): &s.blocks,
		`INSERT OR IGNORE INTO verdict (day, channel, device, version, length, recorded, quality, raw, rules, who, doc)
			VALUES (?,?,?,?,?,?,?,?,?,?,?)`: &s.verdict,
		bulkInsert("verdict", []string{"day", "channel", "version", "length", "recorded", "quality", "raw", "rules", "who"}, []string{"device"}): &s.verdicts,
		`INSERT OR IGNORE INTO finding (id, day, channel, device, version, rule, severity, start, finish, recorded, superseded, doc)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`: &s.finding,
		`UPDATE finding SET superseded = ?1 WHERE day = ?2 AND channel = ?3 AND device = ?4 AND version < ?5 AND superseded = 0`: &s.supersede,
		`INSERT OR REPLACE INTO command (id, created, open, own, meter, doc) VALUES (?, ?, ?, ?, ?, ?)`:                          &s.command,
		`INSERT OR REPLACE INTO outage (id, start, finish, doc) VALUES (?, ?, ?, ?)`:                                             &s.outage,
		`INSERT OR REPLACE INTO day_total (day, received, recovered, arrivals) VALUES (?, ?, ?, ?)`:                              &s.total,
		`INSERT OR IGNORE INTO audit (sequence, hash, doc) VALUES (?, ?, ?)`:                                                     &s.audit,
		`INSERT OR REPLACE INTO location (kind, id, parent, sequence, seen) VALUES (?,?,?,?,?)`:                                  &s.location,
		`INSERT OR IGNORE INTO submeter_value (submeter, time, value, unit, scale) VALUES (?, ?, ?, ?, ?)`:                       &s.subValue,
		`INSERT INTO day_slot (day, channel, part, number, data) VALUES (?, ?, ?, ?, ?)`:                                         &s.slot,
		`INSERT OR REPLACE INTO interruption (id, outage, device, start, finish, flags) VALUES (?, ?, ?, ?, ?, ?)`:               &s.interruption,
		`INSERT OR REPLACE INTO roll_out_member (roll_out, device, state, reason, changed) VALUES (?, ?, ?, ?, ?)`:               &s.rollOutMember,
	}
}

func (s *statements) prepare(ctx context.Context, db *sql.DB) error {
	for q, p := range s.each() {
		st, err := db.PrepareContext(ctx, q)
		if err != nil {
			return fmt.Errorf("store: prepare %q: %w", q, err)
		}
		*p = st
	}
	return nil
}

func (s *statements) close() {
	for _, p := range s.each() {
		if *p != nil {
			_ = (*p).Close()
		}
	}
}

var errReplay = errors.New("replay")

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, c *store.Commit) (bool, error) {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		// The transaction watches for the end of the context; if each statement did, that would cost more than many of them.
		ctx := context.WithoutCancel(ctx)
		if c.Stream != "" {
			have, err := sequence(ctx, tx, c.Stream)
			if err != nil {
				return err
			}
			if c.Sequence <= have {
				return errReplay
			}
			if _, err := tx.StmtContext(ctx, s.stmts.sequence).ExecContext(ctx, c.Stream, int64(c.Sequence)); err != nil {
				return fmt.Errorf("store %s: stream %s: %w", s.path, c.Stream, err)
			}
		}
		if err := s.putDevices(ctx, tx, c.Devices); err != nil {
			return err
		}
		if err := s.putIntervals(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putDocs(ctx, tx, c); err != nil {
			return err
		}
		if err := s.putVerdicts(ctx, tx, c); err != nil {
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
	return sequence(ctx, s.read, stream)
}

func sequence(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, stream string) (uint64, error) {
	var n int64
	err := q.QueryRowContext(ctx, `SELECT sequence FROM stream WHERE name = ?`, stream).Scan(&n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("store: sequence of stream %s: %w", stream, err)
	}
	return uint64(n), nil
}

func (s *Store) putDevices(ctx context.Context, tx *sql.Tx, ds []cim.EndDevice) error {
	if len(ds) == 0 {
		return nil
	}
	st := tx.StmtContext(ctx, s.stmts.device)
	for i := range ds {
		d := &ds[i]
		if _, err := st.ExecContext(ctx, d.Ordinal, d.Kind, d.ID, d.Path, d.Sequence, d.Firmware, d.Interval, d.Capabilities, d.Flags,
			d.Oldest, d.Expected, d.FirstSeen, d.LastSeen, d.Complete, d.Link.State, d.Link.Since, d.Power.State, d.Power.Since,
			d.Breaker.State, d.Breaker.Since, d.Registers.Time, int64(d.Registers.Import), int64(d.Registers.Export),
			d.Registers.Power, d.Registers.Voltage, d.SleepFrom, d.SleepEvery, d.Recorded, d.Exporting, d.Feeding); err != nil {
			return fmt.Errorf("store %s: device %s: %w", s.path, d.ID, err)
		}
	}
	return nil
}

func (s *Store) putIntervals(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	if err := s.dropDays(ctx, tx, c.DropDays); err != nil {
		return err
	}
	if err := s.putDrafts(ctx, tx, c); err != nil {
		return err
	}
	brought := 0
	for i := range c.Chunks {
		ch := &c.Chunks[i]
		var err error
		if s.buf, err = store.AppendChunk(s.buf[:0], ch); err != nil {
			return fmt.Errorf("store %s: %w", s.path, err)
		}
		if _, err := tx.StmtContext(ctx, s.stmts.chunk).ExecContext(ctx, ch.Day, ch.Recorded, len(ch.Rows), s.buf); err != nil {
			return fmt.Errorf("store %s: chunk of %v: %w", s.path, ch.Day, err)
		}
		brought += len(s.buf)
	}
	if err := s.sweep(ctx, tx, brought); err != nil {
		return err
	}
	if err := s.putBlocks(ctx, tx, c.Blocks); err != nil {
		return err
	}
	for _, t := range c.Totals {
		arrivals, err := store.FormatArrivals(t.Arrivals)
		if err != nil {
			return fmt.Errorf("store %s: total of %v: %w", s.path, t.Day, err)
		}
		if _, err := tx.StmtContext(ctx, s.stmts.total).ExecContext(ctx, t.Day, t.Received, t.Recovered, arrivals); err != nil {
			return fmt.Errorf("store %s: total of %v: %w", s.path, t.Day, err)
		}
	}
	return nil
}

func (s *Store) putDocs(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	for i := range c.Commands {
		m := &c.Commands[i]
		if _, err := tx.StmtContext(ctx, s.stmts.command).ExecContext(ctx, int64(m.ID), m.Created, m.Open, m.Own, m.Meter, m.Doc); err != nil {
			return fmt.Errorf("store %s: command %d: %w", s.path, m.ID, err)
		}
	}
	for i := range c.Outages {
		o := &c.Outages[i]
		if _, err := tx.StmtContext(ctx, s.stmts.outage).ExecContext(ctx, int64(o.ID), o.Start, o.End, o.Doc); err != nil {
			return fmt.Errorf("store %s: outage %d: %w", s.path, o.ID, err)
		}
	}
	return nil
}
