// Package child starts programs beside this one and tells what processor time and memory they take: for measurements.
//
// What lives here: processes and what the system says of them. What may not: anything about what they do.
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a program that was started beside this one. Whoever started it calls Stop.
type Process struct {
	name string
	cmd  *exec.Cmd
	out  bytes.Buffer
}

// Self starts this program again with other arguments.
func Self(ctx context.Context, name string, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Start(ctx, name, self, args...)
}

// Start starts a program, in a group of its own together with those that it starts. It is asked to end when ctx ends.
func Start(ctx context.Context, name, program string, args ...string) (*Process, error) {
	c := &Process{name: name, cmd: exec.CommandContext(ctx, program, args...)}
	c.cmd.Stderr = &c.out
	c.cmd.SysProcAttr = attributes()
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = 10 * time.Second
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// Stop ends the process in order. What is left then of those that it started is killed.
func (c *Process) Stop() error {
	defer func() { _ = c.signalGroup(syscall.SIGKILL) }()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return fmt.Errorf("%s: %w\n%s", c.name, err, c.out.String())
	}
	return nil
}

// Kill ends the process and those that it started at once, as if they had crashed, and waits for their end. Stop is not called after it.
func (c *Process) Kill() error {
	if err := c.signalGroup(syscall.SIGKILL); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if err := c.cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) { // any other says that it was killed
		return fmt.Errorf("%s: one that it started is still there: %w", c.name, err)
	}
	return nil
}

// signalGroup tells all of the group; there may be nobody left.
func (c *Process) signalGroup(s syscall.Signal) error {
	if err := syscall.Kill(-c.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// CPU is the process's user and system time so far, 0 where the system does not tell or c is nil.
func (c *Process) CPU() time.Duration {
	if c == nil {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// proc(5): the fields behind the command's name in parentheses begin with the third; utime and stime are 14 and 15.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	ticks := int64(0)
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on all systems that have this file
}

// RSS is the process's resident memory in bytes, 0 where the system does not tell.
func (c *Process) RSS() int64 {
	resident, _ := MemoryOf(c.cmd.Process.Pid)
	return resident
}

// MemoryOf is the resident memory of a process in bytes, and what of it is no file such as the program; 0 where the system does not
// tell.
func MemoryOf(pid int) (resident, own int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	field := func(name string) int64 {
		_, rest, _ := strings.Cut(string(text), "\n"+name+":")
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return n << 10
	}
	return field("VmRSS"), field("RssAnon")
}

// FreePort returns a loopback address nobody listens on now.
func FreePort(ctx context.Context) string {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// Until waits until f returns nil.
func Until(ctx context.Context, within time.Duration, what string, f func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Find gives the path of a program, also one where only root looks for programs, or "".
func Find(name string) string {
	for _, p := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	return ""
}
