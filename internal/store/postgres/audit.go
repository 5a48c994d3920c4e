package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/store"
)

// putAudit adds entries to the audit trail. Those that are there already, from an attempt whose end was not seen, are left as
// they are.
func (s *Store) putAudit(ctx context.Context, tx pgx.Tx, rs []audit.Record) error {
	for len(rs) > 0 {
		n := min(len(rs), batchRows)
		sequence, hash, doc := make([]int64, n), make([][]byte, n), make([][]byte, n)
		for i := range rs[:n] {
			sequence[i], hash[i], doc[i] = int64(rs[i].Sequence), rs[i].Hash[:], rs[i].Doc
		}
		tag, err := tx.Exec(ctx, `INSERT INTO audit (sequence, hash, doc) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) ON CONFLICT DO NOTHING`, sequence, hash, doc)
		if err != nil {
			return fmt.Errorf("store %s: audit entries from %d on: %w", s.name, rs[0].Sequence, err)
		}
		if tag.RowsAffected() < int64(n) {
			var same int
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM audit JOIN unnest($1::bigint[], $2::bytea[]) AS n (sequence, hash) USING (sequence, hash)`,
				sequence, hash).Scan(&same); err != nil {
				return fmt.Errorf("store %s: audit entries from %d on: %w", s.name, rs[0].Sequence, err)
			}
			if same < n {
				return fmt.Errorf("store %s: audit entries from %d on: %w", s.name, rs[0].Sequence, store.ErrForked)
			}
		}
		rs = rs[n:]
	}
	return nil
}

// Audit implements store.Store.
func (s *Store) Audit(ctx context.Context, after uint64, limit int) ([]audit.Record, error) {
	var out []audit.Record
	err := s.each(ctx, func(rows pgx.Rows) error {
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
	}, `SELECT sequence, hash, doc FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2`, int64(after), limit)
	return out, err
}

// AuditHead implements store.Store.
func (s *Store) AuditHead(ctx context.Context) (audit.Head, error) {
	var n int64
	var hash []byte
	err := s.read.QueryRow(ctx, `SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1`).Scan(&n, &hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return audit.Head{}, fmt.Errorf("store %s: end of the audit trail: %w", s.name, err)
	}
	h := audit.Head{Sequence: uint64(n)}
	copy(h.Hash[:], hash)
	return h, nil
}
