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
