package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrInUse is returned for a directory that another process holds.
var ErrInUse = errors.New("in use by another process")

// Take makes the directory if it is missing and locks it until release or the end of the process, however it ends.
func Take(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("data directory %s: %w; give another directory, which this user may write to", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w; give another directory, which this user may write to", dir, err)
	}
	if err := lock(f); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("data directory %s: %w: end it, or give another directory", dir, ErrInUse)
	}
	return f.Close, nil
}
