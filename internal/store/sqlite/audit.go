package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/store"
)

// putAudit adds entries to the audit trail. One that is there already, from an attempt whose end was not seen, is left as it is.
func (s *Store) putAudit(ctx context.Context, tx *sql.Tx, rs []audit.Record) error {
	if len(rs) == 0 {
		return nil
	}
	st := tx.StmtContext(ctx, s.stmts.audit)
	for i := range rs {
		r := &rs[i]
		done, err := st.ExecContext(ctx, int64(r.Sequence), r.Hash[:], r.Doc)
		if err != nil {
			return fmt.Errorf("store %s: audit entry %d: %w", s.path, r.Sequence, err)
		}
		if n, err := done.RowsAffected(); err != nil || n > 0 {
			continue
		}
		var have []byte
		if err := tx.QueryRowContext(ctx, `SELECT hash FROM audit WHERE sequence = ?`, int64(r.Sequence)).Scan(&have); err != nil {
			return fmt.Errorf("store %s: audit entry %d: %w", s.path, r.Sequence, err)
		}
		if string(have) != string(r.Hash[:]) {
			return fmt.Errorf("store %s: audit entry %d: %w", s.path, r.Sequence, store.ErrForked)
		}
	}
	return nil
}

// Audit implements store.Store.
func (s *Store) Audit(ctx context.Context, after uint64, limit int) ([]audit.Record, error) {
	var out []audit.Record
	err := s.each(ctx, func(rows *sql.Rows) error {
		var r audit.Record
		var n int64
		var hash []byte
		if err := rows.Scan(&n, &hash, &r.Doc); err != nil {
			return err
		}
		r.Sequence = uint64(n)
		copy(r.Hash[:], hash) // of another length it is another hash
		out = append(out, r)
		return nil
	}, `SELECT sequence, hash, doc FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?`, int64(after), limit)
	return out, err
}

// AuditHead implements store.Store.
func (s *Store) AuditHead(ctx context.Context) (audit.Head, error) {
	var h audit.Head
	err := s.each(ctx, func(rows *sql.Rows) error {
		var n int64
		var hash []byte
		if err := rows.Scan(&n, &hash); err != nil {
			return err
		}
		h.Sequence = uint64(n)
		copy(h.Hash[:], hash)
		return nil
	}, `SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1`)
	return h, err
}

// EachAudit calls f with every audit entry of the database at path, which is only read, also while a centre runs on it. One from
// before there was a trail has none.
func EachAudit(ctx context.Context, path string, f func(audit.Record) error) (err error) {
	if err := checkOurs(ctx, path); err != nil {
		return err
	}
	db, err := open(ctx, path, 1, "_pragma=query_only(1)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return (&Store{path: path, read: db}).eachAudit(ctx, f)
}

func (s *Store) eachAudit(ctx context.Context, f func(audit.Record) error) error {
	var there int
	if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'audit'`).Scan(&there); err != nil || there == 0 {
		return err
	}
	for after := uint64(0); ; {
		rs, err := s.Audit(ctx, after, 5000)
		if err != nil || len(rs) == 0 {
			return err
		}
		for i := range rs {
			if err := f(rs[i]); err != nil {
				return err
			}
		}
		after = rs[len(rs)-1].Sequence
	}
}
