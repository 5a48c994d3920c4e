package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// pty is a terminal of which the test is the person.
type pty struct {
	t             *testing.T
	master, slave *os.File
	mu            sync.Mutex
	seen          bytes.Buffer
	read          sync.WaitGroup
}

func newPTY(t *testing.T, w, h int) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, master: master, slave: slave}
	p.size(w, h)
	p.read.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.seen.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return // the last slave was closed
			}
		}
	})
	t.Cleanup(func() {
		_ = slave.Close()
		p.read.Wait()
		_ = master.Close()
	})
	return p
}

func (p *pty) size(w, h int) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(h), Col: uint16(w)}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

func (p *pty) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.Reset()
}

// sees waits until the text has come.
func (p *pty) sees(text string) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(p.text(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%q never came: %q", text, p.text())
		}
	}
}

func (p *pty) types(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// run runs a command line on the terminal; the returned function waits for its status.
func (p *pty) run(ctx context.Context, env map[string]string, args ...string) (wait func() int) {
	done := make(chan int, 1)
	go func() {
		done <- Main(ctx, args, Stdio{In: p.slave, Out: p.slave, Err: p.slave, Env: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	}()
	return func() int { return <-done }
}

func TestTopOnTerminal(t *testing.T) {
	url, b := fixedCentre(t)
	p := newPTY(t, 100, 30)
	before, err := term.GetState(int(p.slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wait := p.run(ctx, nil, "top", "--server", url)
	p.sees("\x1b[?1049h")
	p.sees("NOT ONLINE")
	p.sees("live")
	p.sees("\x1b[31m") // power-lost is red

	// A live event changes the picture.
	totals := fixedTotals()
	totals.Meters = 1234567
	ev, err := bus.NewEvent(api.EventTotals, "/centre/centre", "centre", noon, totals)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.PublishEvent("centre", api.EventTotals, "centre", ev); err != nil {
		t.Fatal(err)
	}
	p.sees("1,234,567")

	p.types("?")
	p.sees("wattbus top: keys")
	p.forget()
	p.types("x2")
	p.sees("transformer T1")
	p.types("/unreach")
	p.sees("/unreach")
	p.forget()
	p.types("\r")
	p.sees("\x1b[33m/unreach")

	p.forget()
	p.size(60, 12)
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil { // the terminal is not that of this process
		t.Fatal(err)
	}
	p.sees("wattbus top")
	p.types("q")
	if status := wait(); status != ExitDone {
		t.Errorf("status %d: %q", status, p.text())
	}
	p.sees("\x1b[?25h\x1b[?1049l")
	after, err := term.GetState(int(p.slave.Fd()))
	if err != nil || *after != *before {
		t.Errorf("the terminal is another one than before: %+v, %+v, %v", before, after, err)
	}
}

// Whatever ends the program gives the terminal back: its context, as by SIGTERM, and the terminal's own end.
func TestTopGivesTheTerminalBack(t *testing.T) {
	url, _ := fixedCentre(t)
	p := newPTY(t, 80, 24)
	before, err := term.GetState(int(p.slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	wait := p.run(ctx, map[string]string{"NO_COLOR": "1"}, "top", "--server", url)
	p.sees("NOT ONLINE")
	cancel()
	if status := wait(); status != ExitDone {
		t.Errorf("status %d", status)
	}
	p.sees("\x1b[?1049l")
	if strings.Contains(p.text(), "\x1b[31m") || strings.Contains(p.text(), "\x1b[32m") {
		t.Error("colours in spite of NO_COLOR")
	}
	if after, err := term.GetState(int(p.slave.Fd())); err != nil || *after != *before {
		t.Errorf("the terminal is another one than before: %v", err)
	}

	p.forget()
	wait = p.run(t.Context(), map[string]string{"TERM": "dumb"}, "top", "--server", url)
	if status := wait(); status != ExitDone || strings.Contains(p.text(), "\x1b") {
		t.Errorf("dumb terminal: status %d, %q", status, p.text())
	}
}
