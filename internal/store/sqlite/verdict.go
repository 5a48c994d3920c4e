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

// newest is the condition that a row of block or verdict, named as, is the newest of its day that was known at ?5; with all,
// that it was known.
func newest(table, as string, all bool) string {
	if all {
		return ` AND ` + as + `.recorded <= ?5 ORDER BY ` + as + `.day, ` + as + `.version`
	}
	return ` AND ` + as + `.version = (SELECT max(v.version) FROM ` + table + ` v
		WHERE v.day = days.d AND v.channel = ?3 AND v.device = ?4 AND v.recorded <= ?5)`
}

func (s *Store) putVerdicts(ctx context.Context, tx *sql.Tx, c *store.Commit) error {
	verdict, supersede := tx.StmtContext(ctx, s.stmts.verdict), tx.StmtContext(ctx, s.stmts.supersede)
	single, err := s.putClean(ctx, tx, c.Verdicts)
	if err != nil {
		return fmt.Errorf("store %s: verdicts: %w", s.path, err)
	}
	for _, v := range single {
		if _, err := verdict.ExecContext(ctx, v.Day, v.Channel, v.Device, v.Version, v.Length, v.Recorded, v.Quality, v.Raw, v.Rules, v.By, v.Doc); err != nil {
			return fmt.Errorf("store %s: verdict of device %d on %v: %w", s.path, v.Device, v.Day, err)
		}
		if v.Version > 1 {
			if _, err := supersede.ExecContext(ctx, v.Recorded, v.Day, v.Channel, v.Device, v.Version); err != nil {
				return fmt.Errorf("store %s: findings of device %d on %v: %w", s.path, v.Device, v.Day, err)
			}
		}
	}
	finding := tx.StmtContext(ctx, s.stmts.finding)
	for i := range c.Findings {
		f := &c.Findings[i]
		if _, err := finding.ExecContext(ctx, int64(f.ID), f.Day, f.Channel, f.Device, f.Version, f.Rule, f.Severity, f.From, f.To, f.Recorded, f.Superseded, f.Doc); err != nil {
			return fmt.Errorf("store %s: finding %d: %w", s.path, f.ID, err)
		}
	}
	for i := range c.Edits {
		e := &c.Edits[i]
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO edit (id, created, open, doc) VALUES (?, ?, ?, ?)`, int64(e.ID), e.Created, e.Open, e.Doc); err != nil {
			return fmt.Errorf("store %s: edit %d: %w", s.path, e.ID, err)
		}
	}
	for _, r := range c.RuleSets {
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO rule_set VALUES (?, ?, ?)`, r.ID, r.Recorded, r.Text); err != nil {
			return fmt.Errorf("store %s: rule set %s: %w", s.path, r.ID, err)
		}
	}
	return nil
}

// verdictKind is what the verdicts of a clean day have in common.
type verdictKind struct {
	day                    cim.Day
	channel                cim.Channel
	version, recorded, raw uint32
	length                 uint16
	quality                cim.Quality
	rules, by              string
}

// putClean keeps first verdicts without a document, as far as there are many of a kind, and returns the others.
func (s *Store) putClean(ctx context.Context, tx *sql.Tx, vs []store.Verdict) (single []*store.Verdict, err error) {
	kinds := map[verdictKind][]*store.Verdict{}
	for i := range vs {
		v := &vs[i]
		if v.Version > 1 || v.Doc != nil {
			single = append(single, v)
			continue
		}
		k := verdictKind{v.Day, v.Channel, v.Version, v.Recorded, v.Raw, v.Length, v.Quality, v.Rules, v.By}
		if kinds[k] = append(kinds[k], v); len(kinds[k]) < bulkRows {
			continue
		}
		args := append(make([]any, 0, 9+bulkRows), int64(k.day), int64(k.channel), int64(k.version), int64(k.length), int64(k.recorded), int64(k.quality), int64(k.raw), k.rules, k.by)
		for _, v := range kinds[k] {
			args = append(args, int64(v.Device))
		}
		if _, err := tx.StmtContext(ctx, s.stmts.verdicts).ExecContext(ctx, args...); err != nil {
			return nil, err
		}
		kinds[k] = kinds[k][:0]
	}
	for _, left := range kinds {
		single = append(single, left...)
	}
	return single, nil
}

// Verdicts implements store.Store.
func (s *Store) Verdicts(ctx context.Context, q store.BlockQuery, f func(*store.Verdict) error) error {
	if q.From >= q.To {
		return nil
	}
	known := int64(math.MaxUint32)
	if q.AsKnown != 0 {
		known = int64(q.AsKnown)
	}
	return s.each(ctx, func(r *sql.Rows) error {
		v := store.Verdict{Device: q.Device, Channel: q.Channel}
		if err := r.Scan(&v.Day, &v.Version, &v.Length, &v.Recorded, &v.Quality, &v.Raw, &v.Rules, &v.By, &v.Doc); err != nil {
			return err
		}
		return f(&v)
	}, `WITH RECURSIVE days (d) AS (SELECT ?1 UNION ALL SELECT d + 1 FROM days WHERE d + 1 < ?2)
		SELECT b.day, b.version, b.length, b.recorded, b.quality, b.raw, b.rules, b.who, b.doc FROM days CROSS JOIN verdict b
		WHERE b.day = days.d AND b.channel = ?3 AND b.device = ?4`+newest("verdict", "b", q.All),
		q.From, q.To, q.Channel, q.Device, known)
}

// DayVerdicts implements store.Store.
func (s *Store) DayVerdicts(ctx context.Context, day cim.Day, f func(*store.Verdict) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		v := store.Verdict{Day: day}
		if err := r.Scan(&v.Channel, &v.Device, &v.Version, &v.Length, &v.Recorded, &v.Quality, &v.Raw, &v.Rules, &v.By, &v.Doc); err != nil {
			return err
		}
		return f(&v)
	}, `SELECT channel, device, max(version), length, recorded, quality, raw, rules, who, doc FROM verdict WHERE day = ?
		GROUP BY channel, device ORDER BY channel, device`, day)
}

// TellingVerdicts implements store.Store.
func (s *Store) TellingVerdicts(ctx context.Context, day cim.Day, ch cim.Channel, f func(*store.Verdict) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		v := store.Verdict{Day: day, Channel: ch}
		if err := r.Scan(&v.Device, &v.Version, &v.Length, &v.Recorded, &v.Quality, &v.Raw, &v.Rules, &v.By, &v.Doc); err != nil {
			return err
		}
		return f(&v)
	}, `SELECT device, version, length, recorded, quality, raw, rules, who, doc FROM verdict v WHERE day = ? AND channel = ? AND doc IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM verdict n WHERE n.day = v.day AND n.channel = v.channel AND n.device = v.device AND n.version > v.version)
		ORDER BY device`, day, ch)
}

// Unjudged implements store.Store.
func (s *Store) Unjudged(ctx context.Context, from cim.Day, f func(store.BlockInfo) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var b store.BlockInfo
		if err := r.Scan(&b.Device, &b.Channel, &b.Day, &b.Length, &b.Version, &b.Missing); err != nil {
			return err
		}
		return f(b)
	}, `SELECT device, channel, day, length, version, missing FROM block b WHERE day >= ?
		AND NOT EXISTS (SELECT 1 FROM block n WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device AND n.version > b.version)
		AND NOT EXISTS (SELECT 1 FROM verdict v WHERE v.day = b.day AND v.channel = b.channel AND v.device = b.device AND v.raw >= b.version)
		ORDER BY day, channel, device`, from)
}

// Findings implements store.Store.
func (s *Store) Findings(ctx context.Context, q store.FindingQuery) ([]store.Finding, error) {
	device, to := int64(-1), int64(math.MaxInt64)
	if q.Device != nil {
		device = int64(*q.Device)
	}
	if q.To != 0 {
		to = int64(q.To)
	}
	var out []store.Finding
	err := s.each(ctx, func(r *sql.Rows) error {
		var f store.Finding
		var id int64
		if err := r.Scan(&id, &f.Day, &f.Channel, &f.Device, &f.Version, &f.Rule, &f.Severity, &f.From, &f.To, &f.Recorded, &f.Superseded, &f.Doc); err != nil {
			return err
		}
		f.ID = uint64(id)
		out = append(out, f)
		return nil
	}, `SELECT id, day, channel, device, version, rule, severity, start, finish, recorded, superseded, doc FROM finding
		WHERE id < ?1 AND (?2 < 0 OR device = ?2) AND (?3 = '' OR rule = ?3) AND severity >= ?4 AND finish > ?5 AND start < ?6
		AND (?7 OR superseded = 0) ORDER BY id DESC LIMIT ?8`, below(q.Before), device, q.Rule, q.Severity, q.From, to, q.All, q.Limit)
	return out, err
}

// Edit implements store.Store.
func (s *Store) Edit(ctx context.Context, id uint64) (store.Edit, error) {
	e := store.Edit{ID: id}
	err := s.read.QueryRowContext(ctx, `SELECT created, open, doc FROM edit WHERE id = ?`, int64(id)).Scan(&e.Created, &e.Open, &e.Doc)
	if errors.Is(err, sql.ErrNoRows) {
		return e, fmt.Errorf("edit %d: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return e, fmt.Errorf("store %s: edit %d: %w", s.path, id, err)
	}
	return e, nil
}

// Edits implements store.Store.
func (s *Store) Edits(ctx context.Context, before uint64, limit int, open bool) ([]store.Edit, error) {
	var out []store.Edit
	err := s.each(ctx, func(r *sql.Rows) error {
		var e store.Edit
		var id int64
		if err := r.Scan(&id, &e.Created, &e.Open, &e.Doc); err != nil {
			return err
		}
		e.ID = uint64(id)
		out = append(out, e)
		return nil
	}, `SELECT id, created, open, doc FROM edit WHERE id < ? AND (open = 1 OR NOT ?) ORDER BY id DESC LIMIT ?`, below(before), open, limit)
	return out, err
}

// RuleSet implements store.Store.
func (s *Store) RuleSet(ctx context.Context, id string) (store.RuleSet, error) {
	r := store.RuleSet{ID: id}
	err := s.read.QueryRowContext(ctx, `SELECT recorded, text FROM rule_set WHERE id = ?`, id).Scan(&r.Recorded, &r.Text)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("rule set %s: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("store %s: rule set %s: %w", s.path, id, err)
	}
	return r, nil
}
