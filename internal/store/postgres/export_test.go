package postgres

import (
	"context"

	"github.com/wattbus/wattbus/internal/store"
)

// MigrateTo applies steps to the database of a store.
func (s *Store) MigrateTo(ctx context.Context, steps []store.Step) error {
	return s.migrateTo(ctx, steps)
}

// Connect opens a store without bringing its schema up to date.
func Connect(ctx context.Context, o Options) (*Store, error) { return connect(ctx, o) }

// SchemaSteps are all steps.
func SchemaSteps() ([]store.Step, error) { return store.Steps(migrations, "migrations") }

// Sweeping is o with so many bytes of dropped chunks deleted in a commit.
func Sweeping(o Options, bytes int) Options {
	o.sweep = bytes
	return o
}

// DroppedChunks counts the dropped chunks that are still to be deleted.
func (s *Store) DroppedChunks(ctx context.Context) (n int, err error) {
	return n, s.read.QueryRow(ctx, `SELECT count(*) FROM chunk c WHERE NOT`+notDropped).Scan(&n)
}
