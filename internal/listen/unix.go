package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Unix listens on a Unix socket of the given mode. The socket is made in a
// directory that nobody else can enter and moved to its place when it has its mode,
// so there is no moment in which others could connect. What a program that died
// left behind is replaced; a socket that somebody serves, or anything else, is not.
func Unix(ctx context.Context, path string, mode fs.FileMode) (*Listener, error) {
	if err := free(ctx, path); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an empty directory at worst
	var lc net.ListenConfig
	hidden := filepath.Join(dir, "s")
	ln, err := lc.Listen(ctx, "unix", hidden)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(hidden, mode), os.Rename(hidden, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", path, err), ln.Close())
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return On(&unixListener{ln, path, info}, Options{})
}

// free sees to it that nothing of worth stands at the path.
func free(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("something that is no socket has this name")
	}
	d := net.Dialer{Timeout: time.Second}
	if nc, err := d.DialContext(ctx, "unix", path); err == nil {
		return errors.Join(errors.New("somebody listens there already"), nc.Close())
	}
	return nil
}

// unixListener takes its socket away at the end, if it is still its own.
type unixListener struct {
	net.Listener
	path string
	info fs.FileInfo
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: l.path} }

func (l *unixListener) Close() error {
	err := l.Listener.Close()
	if err != nil {
		return err // closed before
	}
	if now, serr := os.Lstat(l.path); serr == nil && os.SameFile(now, l.info) {
		return os.Remove(l.path)
	}
	return nil
}
