package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite"

	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/store"
)

// copyPages is how many pages (4 KiB each) go in one step of a copy.
const copyPages = 256

// Copy copies the database at from, as it is at one moment, into the new file to and syncs it, while another process commits
// to it: commits go on, and the write-ahead log grows by what they bring until the copy is done. Progress, if not nil, is told
// how many pages of how many are copied.
func Copy(ctx context.Context, from, to string, progress func(done, total int)) (err error) {
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: copy to %s: it exists already", to)
	}
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("store: copy: %w", err)
	}
	if err := checkOurs(ctx, from); err != nil {
		return err
	}
	db, err := open(ctx, from, 1, "_pragma=query_only(1)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("store %s: %w", from, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// The transaction holds the moment: without it, every commit of another process would begin the copy anew.
	for _, q := range []string{`BEGIN`, `SELECT count(*) FROM sqlite_master`} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("store %s: %s: %w", from, q, err)
		}
	}
	err = conn.Raw(func(c any) error {
		src, ok := c.(interface {
			NewBackup(string) (*sqlite.Backup, error)
		})
		if !ok {
			return errors.New("the driver copies nothing")
		}
		b, err := src.NewBackup("file:" + (&url.URL{Path: to}).EscapedPath())
		if err != nil {
			return err
		}
		for more := true; more; {
			if err = ctx.Err(); err == nil {
				more, err = b.Step(copyPages)
			}
			if err != nil {
				return errors.Join(err, b.Finish())
			}
			if progress != nil {
				progress(b.PageCount()-b.Remaining(), b.PageCount())
			}
		}
		return b.Finish()
	})
	if err != nil {
		return fmt.Errorf("store %s: copy to %s: %w", from, to, err)
	}
	return syncFile(to)
}

func syncFile(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("store: sync copy: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

// Verify reads all of the database that nobody else uses: its pages and indexes, every chunk and every version of every block.
// It returns what it holds.
func Verify(ctx context.Context, path string) (n store.Size, err error) {
	if err := checkOurs(ctx, path); err != nil {
		return n, err
	}
	db, err := open(ctx, path, 1, "_pragma=query_only(1)")
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var said string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said); err != nil || said != "ok" {
		return n, errors.Join(fmt.Errorf("store %s: %w: %s", path, store.ErrCorrupt, said), err)
	}
	s := &Store{path: path, read: db}
	if err := s.Chunks(ctx, 0, 1<<31, func(c *store.Chunk) error { n.ChunkIntervals += int64(len(c.Rows)); return nil }); err != nil {
		return n, err
	}
	var b store.Block
	var data sql.RawBytes
	err = s.each(ctx, func(r *sql.Rows) error {
		if err := r.Scan(&b.Device, &b.Day, &b.Length, &data); err != nil {
			return err
		}
		if err := store.UnpackBlock(&b, data); err != nil {
			return fmt.Errorf("store %s: device %d on %v: %w", path, b.Device, b.Day, err)
		}
		if _, err := b.UnpackCame(); err != nil {
			return fmt.Errorf("store %s: %w", path, err)
		}
		n.BlockIntervals += int64(len(b.Wh))
		n.BlockBytes += int64(len(data))
		return nil
	}, `SELECT device, day, length, data FROM block`)
	if err != nil {
		return n, err
	}
	trail := audit.NewVerifier(audit.Head{})
	if err := s.eachAudit(ctx, trail.Add); err != nil {
		return n, fmt.Errorf("store %s: %w", path, err)
	}
	n.Audit = trail.Head()
	return n, nil
}
