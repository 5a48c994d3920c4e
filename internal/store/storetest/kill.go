package storetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childEnv names the directory in which a started test binary commits until it is killed.
const childEnv = "WATTBUS_STORETEST_CHILD"

// Main makes the test binary commit for ever when the suite started it for that; otherwise it returns. Call it first in
// TestMain.
func Main(open Opener) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return
	}
	fmt.Fprintln(os.Stderr, child(open, dir, os.Stdout))
	os.Exit(1)
}

// child does the work until it cannot, and says so on w after each commit that returned.
func child(open Opener, dir string, w io.Writer) error {
	ctx := context.Background()
	s, err := open(ctx, dir)
	if err != nil {
		return err
	}
	return DoWork(ctx, s, nil, func(n uint64) { fmt.Fprintln(w, n) })
}

// kill ends a committing process by SIGKILL at a moment nobody chose, several times, and checks that what it had announced
// is there, that a commit is there wholly or not at all, and that committing it again changes nothing.
func kill(t *testing.T, b *bench) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	few := 4
	if testing.Short() {
		few = 2
	}
	for i := range Rounds(few) {
		if i%8 == 7 { // what was committed grows: begin anew
			b.dir = t.TempDir()
		}
		if b.Store != nil {
			if err := b.Store.Close(); err != nil {
				t.Fatal(err)
			}
		}
		announced := runAndKill(t, exe, b.dir)
		b.Store = nil
		b.reopen()
		Survived(t, b, announced)
	}
}

func runAndKill(t *testing.T, exe, dir string) (announced uint64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if announced, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if n == 5 {
			time.AfterFunc(time.Duration(rand.IntN(100_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // killed, as intended
	if announced == 0 {
		t.Fatalf("the process committed nothing: %s", stderr.String())
	}
	return announced
}
