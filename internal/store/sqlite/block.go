package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// bulkRows is how many rows go in one statement where a commit has that many of a kind: one by one, most of the time would go into
// statements and arguments.
const bulkRows = 100

// bulkInsert inserts bulkRows rows into a table. The columns same have one value for all of them, which are the first arguments; the
// columns each have one for each row, row by row behind them.
func bulkInsert(table string, same, each []string) string {
	var row strings.Builder
	for i := range same {
		fmt.Fprintf(&row, "?%d, ", i+1)
	}
	row.WriteString(strings.TrimSuffix(strings.Repeat("?, ", len(each)), ", "))
	return `INSERT OR IGNORE INTO ` + table + ` (` + strings.Join(append(same[:len(same):len(same)], each...), ", ") + `) VALUES ` +
		strings.TrimSuffix(strings.Repeat(`(`+row.String()+`), `, bulkRows), ", ")
}

// blockKind is what the blocks of a day mostly have in common.
type blockKind struct {
	day      cim.Day
	channel  cim.Channel
	version  uint32
	length   uint16
	recorded uint32
	missing  uint16
}

func (s *Store) putBlocks(ctx context.Context, tx *sql.Tx, bs []store.Block) error {
	kinds := map[blockKind][]*store.Block{}
	var order []blockKind
	for i := range bs {
		b := &bs[i]
		k := blockKind{b.Day, b.Channel, b.Version, b.Length, b.Recorded, b.Missing}
		if kinds[k] == nil {
			order = append(order, k)
		}
		kinds[k] = append(kinds[k], b)
	}
	all := true
	for _, k := range order {
		left := kinds[k]
		for ; len(left) >= bulkRows; left = left[bulkRows:] {
			n, err := s.insertBlocks(ctx, tx, k, left[:bulkRows])
			if err != nil {
				return fmt.Errorf("store %s: blocks of %v: %w", s.path, k.day, err)
			}
			all = all && n == bulkRows
		}
		for _, b := range left {
			n, err := s.insertBlock(ctx, tx, b)
			if err != nil {
				return fmt.Errorf("store %s: block of device %d on %v: %w", s.path, b.Device, b.Day, err)
			}
			all = all && n == 1
		}
	}
	if len(bs) == 0 {
		return nil
	}
	if err := s.tally(ctx, tx, bs, all); err != nil {
		return fmt.Errorf("store %s: tallies: %w", s.path, err)
	}
	return nil
}

func (s *Store) insertBlock(ctx context.Context, tx *sql.Tx, b *store.Block) (n int64, err error) {
	if s.buf, err = store.AppendBlock(s.buf[:0], b); err != nil {
		return 0, err
	}
	r, err := tx.StmtContext(ctx, s.stmts.block).ExecContext(ctx, b.Day, b.Channel, b.Device, b.Version, b.Length, b.Recorded, b.Missing, s.buf)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// insertBlocks inserts bulkRows blocks of a kind.
func (s *Store) insertBlocks(ctx context.Context, tx *sql.Tx, k blockKind, bs []*store.Block) (n int64, err error) {
	args := append(make([]any, 0, 6+2*bulkRows), int64(k.day), int64(k.channel), int64(k.version), int64(k.length), int64(k.recorded), int64(k.missing))
	var ends [bulkRows]int
	s.buf = s.buf[:0]
	for i, b := range bs {
		if s.buf, err = store.AppendBlock(s.buf, b); err != nil {
			return 0, fmt.Errorf("device %d: %w", b.Device, err)
		}
		ends[i] = len(s.buf)
	}
	for i, b := range bs {
		from := 0
		if i > 0 {
			from = ends[i-1]
		}
		args = append(args, int64(b.Device), s.buf[from:ends[i]])
	}
	r, err := tx.StmtContext(ctx, s.stmts.blocks).ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
