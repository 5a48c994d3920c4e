// Package pgtest runs a PostgreSQL server of its own for tests: a new cluster in a new directory, on a Unix socket there.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMissing says that PostgreSQL is not installed.
var ErrMissing = errors.New("PostgreSQL is not installed")

// Server is a running server.
type Server struct {
	dir, program string
	attr         *syscall.SysProcAttr
	cmd          *exec.Cmd
}

// program finds a server program, newest version first: Debian keeps them out of the path.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s: %w", name, ErrMissing)
	}
	slices.Sort(found)
	return found[len(found)-1], nil
}

// Start makes a cluster and starts its server, with every commit synced. Root becomes the user postgres for that, since the
// server refuses to run as root.
func Start(ctx context.Context) (_ *Server, err error) {
	initdb, err := program("initdb")
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if s.program, err = program("postgres"); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "wattbus-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	if s.attr, err = user(s.dir); err != nil {
		return nil, err
	}
	init := exec.CommandContext(ctx, initdb, "-D", filepath.Join(s.dir, "data"), "-U", "wattbus", "-A", "trust", "-E", "UTF8", "--locale=C")
	init.Dir, init.SysProcAttr = s.dir, s.attr
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, s.run(ctx)
}

// run starts the server and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has its own
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), s.program, "-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200")
	s.cmd.Dir, s.cmd.SysProcAttr, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.attr, log, log
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := pgx.Connect(ctx, s.URL(""))
		if err == nil {
			return conn.Close(ctx)
		}
		if time.Now().After(end) || ctx.Err() != nil {
			text, _ := os.ReadFile(log.Name())
			s.Crash()
			return fmt.Errorf("postgres does not answer: %w: %s", err, text)
		}
	}
}

// Crash ends the server as a crash does: what was not synced is gone for it.
func (s *Server) Crash() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	_ = s.cmd.Wait()
}

// Kill ends the server and all of its processes by SIGKILL, at once.
func (s *Server) Kill() error {
	pids, err := s.children()
	if err != nil {
		return err
	}
	err = s.cmd.Process.Kill()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // may have ended with its parent
	}
	_ = s.cmd.Wait()
	// The next server wants the shared memory for itself.
	for _, pid := range pids {
		for end := time.Now().Add(30 * time.Second); syscall.Kill(pid, 0) == nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	return err
}

// children are the server's processes.
func (s *Server) children() (pids []int, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid …
		pid, rest, _ := strings.Cut(string(text), " ")
		fields := strings.Fields(rest[strings.LastIndex(rest, ")")+1:])
		if len(fields) > 1 && fields[1] == fmt.Sprint(s.cmd.Process.Pid) {
			n, err := strconv.Atoi(pid)
			if err != nil {
				return nil, err
			}
			pids = append(pids, n)
		}
	}
	return pids, nil
}

// Restart starts a server that has crashed.
func (s *Server) Restart(ctx context.Context) error { return s.run(ctx) }

// user gives the directory to who runs the server, and returns how to become that.
func user(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		var uid, gid uint32
		f := strings.Split(line, ":")
		if f[0] != "postgres" || len(f) < 4 {
			continue
		}
		if _, err := fmt.Sscan(f[2]+" "+f[3], &uid, &gid); err != nil {
			return nil, fmt.Errorf("user postgres: %w", err)
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}, os.Chown(dir, int(uid), int(gid))
	}
	return nil, fmt.Errorf("no user postgres: %w", ErrMissing)
}

// URL is that of the database, with the schema as the place for tables if it is not "".
func (s *Server) URL(schema string) string {
	q := url.Values{"host": {s.dir}}
	if schema != "" {
		q.Set("search_path", schema)
	}
	return "postgres://wattbus@/postgres?" + q.Encode()
}

// Schema makes a schema if it is not there, and returns its URL.
func (s *Server) Schema(ctx context.Context, name string) (string, error) {
	return Schema(ctx, s.URL(""), name)
}

// Schema makes a schema on the server of a URL if it is not there, and returns the URL of the schema.
func Schema(ctx context.Context, server, name string) (string, error) {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{name}.Sanitize())
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return "", err
	}
	return server + "&search_path=" + url.QueryEscape(name), nil
}

// Stop stops the server at once and removes the cluster.
func (s *Server) Stop() error {
	s.Crash() // nothing here is to be kept
	return os.RemoveAll(s.dir)
}
