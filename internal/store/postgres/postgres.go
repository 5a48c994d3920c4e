package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wattbus/wattbus/internal/store"
)

// Options say where the database is.
type Options struct {
	URL     string // postgres://user:password@host:port/database?sslmode=verify-full&search_path=schema, see libpq's documentation
	Readers int    // connections that read; default 4
	// Ledger says that this process commits intervals. There must be one at a time: a second one is refused after 10 s, the time
	// in which the server forgets a process that was killed.
	Ledger bool

	sweep int // bytes, for tests; 0: store.SweepBytes
}

// Store is the PostgreSQL backend of store.Store.
type Store struct {
	name  string // for messages: the URL without a password
	some  int    // bytes of dropped chunks that a commit deletes
	write *pgxpool.Pool
	read  *pgxpool.Pool
	mu    sync.Mutex // held by whoever writes: commits keep their order
	buf   []byte     // packing space, under mu
	left  bool       // there may be dropped chunks, under mu
}

var _ store.Store = (*Store)(nil)

// Open connects, and brings the schema up to date; the database must be there.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func connect(ctx context.Context, o Options) (*Store, error) {
	if o.Readers <= 0 {
		o.Readers = 4
	}
	s := &Store{left: true, some: cmp.Or(o.sweep, store.SweepBytes)}
	var err error
	if s.write, err = s.open(ctx, o.URL, 1, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["synchronous_commit"] = "on" // whatever the server's default: what was acknowledged is on disk
		if o.Ledger {
			c.AfterConnect = s.own
		}
	}); err != nil {
		return nil, err
	}
	if s.read, err = s.open(ctx, o.URL, int32(min(o.Readers, 1000)), func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, url string, conns int32, change func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The driver's message hides the password.
		return nil, fmt.Errorf("store: %w; want postgres://user:password@host:port/database", err)
	}
	s.name = fmt.Sprintf("postgres://%s:%d/%s", c.ConnConfig.Host, c.ConnConfig.Port, c.ConnConfig.Database)
	c.MaxConns = conns
	if p := c.ConnConfig.RuntimeParams; p["application_name"] == "" {
		p["application_name"] = "wattbus"
	}
	// The planner takes a look-up of single days for a long query before there are statistics; compiling it would take longer than it.
	if p := c.ConnConfig.RuntimeParams; p["jit"] == "" {
		p["jit"] = "off"
	}
	change(c)
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err == nil {
		err = pool.Ping(ctx)
		if err != nil {
			pool.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: connect: %w", s.name, err)
	}
	return pool, nil
}

// ledgerLock is the first key of the lock that who commits intervals holds, as long as its connection lives.
const ledgerLock = 0x6c656467 // "ledg"

// own takes the lock on the writing connection, of which there is one at a time.
func (s *Store) own(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SET lock_timeout = '10s'`)
	if err == nil {
		_, err = c.Exec(ctx, `SELECT pg_advisory_lock($1, hashtext(current_schema()))`, int32(ledgerLock))
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "55P03" { // lock_not_available
		return errors.New("another process commits to this store: stop it, or give this one a database of its own")
	}
	if err == nil {
		_, err = c.Exec(ctx, `SET lock_timeout = 0`)
	}
	return err
}

// Close ends all connections; it waits for a commit under way.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read != nil {
		s.read.Close()
	}
	s.write.Close()
	return nil
}

// inTx runs f in the only write transaction.
func (s *Store) inTx(ctx context.Context, f func(pgx.Tx) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.left = s.left || err != nil }() // what was swept is back
	tx, err := s.write.Begin(ctx)
	if err != nil {
		return fmt.Errorf("store %s: begin: %w", s.name, err)
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx))
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("store %s: commit: %w", s.name, err)
	}
	return nil
}

// each calls f for every row of a query.
func (s *Store) each(ctx context.Context, f func(pgx.Rows) error, query string, args ...any) error {
	rows, err := s.read.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("store %s: %w", s.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store %s: %w", s.name, err)
	}
	return nil
}

// Size implements store.Store.
func (s *Store) Size(ctx context.Context) (store.Size, error) {
	var z store.Size
	err := s.read.QueryRow(ctx, `SELECT
		(SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
			WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'),
		coalesce((SELECT sum(length(data))::bigint FROM block), 0), coalesce((SELECT sum(1440 / length)::bigint FROM block), 0),
		coalesce((SELECT sum(length(data))::bigint FROM day_slot), 0),
		coalesce((SELECT sum(length(data))::bigint FROM chunk c WHERE`+notDropped+`), 0),
		coalesce((SELECT sum(intervals)::bigint FROM chunk c WHERE`+notDropped+`), 0)`).
		Scan(&z.Bytes, &z.BlockBytes, &z.BlockIntervals, &z.SlotBytes, &z.ChunkBytes, &z.ChunkIntervals)
	if err != nil {
		return z, fmt.Errorf("store %s: size: %w", s.name, err)
	}
	return z, nil
}
