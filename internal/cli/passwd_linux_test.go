package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who ends "passwd" at its question has a terminal that shows again what is typed, and no file.
func TestPasswordInterrupted(t *testing.T) {
	p := newPTY(t, 80, 24)
	echoes := func() bool {
		state, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return state.Lflag&unix.ECHO != 0
	}
	file := filepath.Join(t.TempDir(), "passwords")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"passwd", file, "alice"}, Stdio{In: p.slave, Out: p.slave, Err: p.slave, Env: func(string) (string, bool) { return "", false }})
	}()
	p.sees("Password of alice: ")
	for end := time.Now().Add(30 * time.Second); echoes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the password is shown as it is typed")
		}
	}
	cancel()
	if status := <-ended; status != ExitFailed || !echoes() {
		t.Errorf("status %d, what is typed is shown: %v", status, echoes())
	}
	p.sees("wattbus: interrupted")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file: %v", err)
	}
	if _, err := p.master.WriteString("\n"); err != nil { // lets the read end
		t.Fatal(err)
	}
}
