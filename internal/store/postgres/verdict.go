package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

func (s *Store) putVerdicts(ctx context.Context, tx pgx.Tx, vs []store.Verdict) error {
	for len(vs) > 0 {
		n := min(len(vs), batchRows)
		day, channel, length, quality := make([]int32, n), make([]int16, n), make([]int16, n), make([]int16, n)
		device, version, recorded, raw := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
		rules, who, doc := make([]string, n), make([]string, n), make([][]byte, n)
		var again pgx.Batch
		for i := range vs[:n] {
			v := &vs[i]
			day[i], channel[i], device[i], version[i], length[i] = int32(v.Day), int16(v.Channel), int64(v.Device), int64(v.Version), int16(v.Length)
			recorded[i], quality[i], raw[i], rules[i], who[i], doc[i] = int64(v.Recorded), int16(v.Quality), int64(v.Raw), v.Rules, v.By, v.Doc
			if v.Version > 1 {
				again.Queue(`UPDATE finding SET superseded = $1 WHERE day = $2 AND channel = $3 AND device = $4 AND version < $5 AND superseded = 0`,
					recorded[i], day[i], channel[i], device[i], version[i])
			}
		}
		if _, err := tx.Exec(ctx, `INSERT INTO verdict (day, channel, device, version, length, recorded, quality, raw, rules, who, doc)
			SELECT * FROM unnest($1::int[], $2::smallint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], $7::smallint[], $8::bigint[],
				$9::text[], $10::text[], $11::bytea[])
			ON CONFLICT DO NOTHING`, day, channel, device, version, length, recorded, quality, raw, rules, who, doc); err != nil {
			return fmt.Errorf("store %s: verdicts: %w", s.name, err)
		}
		if again.Len() > 0 {
			if err := tx.SendBatch(ctx, &again).Close(); err != nil {
				return fmt.Errorf("store %s: superseded findings: %w", s.name, err)
			}
		}
		vs = vs[n:]
	}
	return nil
}

func (s *Store) putFindings(ctx context.Context, tx pgx.Tx, c *store.Commit) error {
	var b pgx.Batch
	for i := range c.Findings {
		f := &c.Findings[i]
		b.Queue(`INSERT INTO finding (id, day, channel, device, version, rule, severity, start, finish, recorded, superseded, doc)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12) ON CONFLICT DO NOTHING`, int64(f.ID), int32(f.Day), int16(f.Channel), int64(f.Device),
			int64(f.Version), f.Rule, int16(f.Severity), int64(f.From), int64(f.To), int64(f.Recorded), int64(f.Superseded), f.Doc)
	}
	for i := range c.Edits {
		e := &c.Edits[i]
		b.Queue(`INSERT INTO edit (id, created, open, doc) VALUES ($1,$2,$3,$4)
			ON CONFLICT (id) DO UPDATE SET created = excluded.created, open = excluded.open, doc = excluded.doc`, int64(e.ID), e.Created, e.Open, e.Doc)
	}
	for _, r := range c.RuleSets {
		b.Queue(`INSERT INTO rule_set (id, recorded, text) VALUES ($1,$2,$3) ON CONFLICT DO NOTHING`, r.ID, r.Recorded, r.Text)
	}
	if b.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("store %s: findings, edits and rule sets: %w", s.name, err)
	}
	return nil
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
	return s.each(ctx, func(r pgx.Rows) error {
		v := store.Verdict{Device: q.Device, Channel: q.Channel}
		var quality int16
		if err := r.Scan(&v.Day, &v.Version, &v.Length, &v.Recorded, &quality, &v.Raw, &v.Rules, &v.By, &v.Doc); err != nil {
			return err
		}
		v.Quality = cim.Quality(quality)
		return f(&v)
	}, `SELECT b.day, b.version, b.length, b.recorded, b.quality, b.raw, b.rules, b.who, b.doc
		FROM generate_series($1::int, $2::int - 1) AS days (d)
		CROSS JOIN LATERAL (SELECT * FROM verdict WHERE day = days.d AND channel = $3 AND device = $4 AND recorded <= $5
			ORDER BY version DESC`+only(!q.All, ` LIMIT 1`)+`) b
		ORDER BY b.day, b.version`, dayArg(q.From), dayArg(q.To), int16(q.Channel), int64(q.Device), known)
}

// DayVerdicts implements store.Store.
func (s *Store) DayVerdicts(ctx context.Context, day cim.Day, f func(*store.Verdict) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		v := store.Verdict{Day: day}
		var channel, quality int16
		if err := r.Scan(&channel, &v.Device, &v.Version, &v.Length, &v.Recorded, &quality, &v.Raw, &v.Rules, &v.By, &v.Doc); err != nil {
			return err
		}
		v.Channel, v.Quality = cim.Channel(channel), cim.Quality(quality)
		return f(&v)
	}, `SELECT DISTINCT ON (channel, device) channel, device, version, length, recorded, quality, raw, rules, who, doc FROM verdict
		WHERE day = $1 ORDER BY channel, device, version DESC`, dayArg(day))
}

// TellingVerdicts implements store.Store.
func (s *Store) TellingVerdicts(ctx context.Context, day cim.Day, ch cim.Channel, f func(*store.Verdict) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		v := store.Verdict{Day: day, Channel: ch}
		if err := r.Scan(&v.Device, &v.Version, &v.Length, &v.Recorded, &v.Quality, &v.Raw, &v.Rules, &v.By, &v.Doc); err != nil {
			return err
		}
		return f(&v)
	}, `SELECT device, version, length, recorded, quality, raw, rules, who, doc FROM verdict v WHERE day = $1 AND channel = $2 AND doc IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM verdict n WHERE n.day = v.day AND n.channel = v.channel AND n.device = v.device AND n.version > v.version)
		ORDER BY device`, dayArg(day), int16(ch))
}

// Unjudged implements store.Store.
func (s *Store) Unjudged(ctx context.Context, from cim.Day, f func(store.BlockInfo) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var b store.BlockInfo
		var channel int16
		if err := r.Scan(&b.Device, &channel, &b.Day, &b.Length, &b.Version, &b.Missing); err != nil {
			return err
		}
		b.Channel = cim.Channel(channel)
		return f(b)
	}, `SELECT device, channel, day, length, version, missing FROM block b WHERE day >= $1
		AND NOT EXISTS (SELECT 1 FROM block n WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device AND n.version > b.version)
		AND NOT EXISTS (SELECT 1 FROM verdict v WHERE v.day = b.day AND v.channel = b.channel AND v.device = b.device AND v.raw >= b.version)
		ORDER BY day, channel, device`, dayArg(from))
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
	err := s.each(ctx, func(r pgx.Rows) error {
		var f store.Finding
		var id int64
		var channel, severity int16
		if err := r.Scan(&id, &f.Day, &channel, &f.Device, &f.Version, &f.Rule, &severity, &f.From, &f.To, &f.Recorded, &f.Superseded, &f.Doc); err != nil {
			return err
		}
		f.ID, f.Channel, f.Severity = uint64(id), cim.Channel(channel), uint8(severity)
		out = append(out, f)
		return nil
	}, `SELECT id, day, channel, device, version, rule, severity, start, finish, recorded, superseded, doc FROM finding
		WHERE id < $1 AND ($2::bigint < 0 OR device = $2) AND ($3::text = '' OR rule = $3) AND severity >= $4 AND finish > $5 AND start < $6
		AND ($7::boolean OR superseded = 0) ORDER BY id DESC LIMIT $8`, below(q.Before), device, q.Rule, int16(q.Severity), int64(q.From), to, q.All, q.Limit)
	return out, err
}

// Edit implements store.Store.
func (s *Store) Edit(ctx context.Context, id uint64) (store.Edit, error) {
	e := store.Edit{ID: id}
	err := s.read.QueryRow(ctx, `SELECT created, open, doc FROM edit WHERE id = $1`, int64(id)).Scan(&e.Created, &e.Open, &e.Doc)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, fmt.Errorf("edit %d: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return e, fmt.Errorf("store %s: edit %d: %w", s.name, id, err)
	}
	return e, nil
}

// Edits implements store.Store.
func (s *Store) Edits(ctx context.Context, before uint64, limit int, open bool) ([]store.Edit, error) {
	var out []store.Edit
	err := s.each(ctx, func(r pgx.Rows) error {
		var e store.Edit
		var id int64
		if err := r.Scan(&id, &e.Created, &e.Open, &e.Doc); err != nil {
			return err
		}
		e.ID = uint64(id)
		out = append(out, e)
		return nil
	}, `SELECT id, created, open, doc FROM edit WHERE id < $1`+only(open, ` AND open`)+` ORDER BY id DESC LIMIT $2`, below(before), limit)
	return out, err
}

// RuleSet implements store.Store.
func (s *Store) RuleSet(ctx context.Context, id string) (store.RuleSet, error) {
	r := store.RuleSet{ID: id}
	err := s.read.QueryRow(ctx, `SELECT recorded, text FROM rule_set WHERE id = $1`, id).Scan(&r.Recorded, &r.Text)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("rule set %s: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("store %s: rule set %s: %w", s.name, id, err)
	}
	return r, nil
}
