package sqlite

import "context"

// Sweeping is o with so many bytes of dropped chunks deleted in a commit.
func Sweeping(o Options, bytes int) Options {
	o.sweep = bytes
	return o
}

// DroppedChunks counts the dropped chunks that are still to be deleted.
func (s *Store) DroppedChunks(ctx context.Context) (n int, err error) {
	return n, s.read.QueryRowContext(ctx, `SELECT count(*) FROM chunk c WHERE NOT`+notDropped).Scan(&n)
}
