package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// guardEnv makes this test program a guard: see processWard.
const guardEnv = "WATTBUS_E2E_GUARD"

// processWard ends what tests have started when this program ends without cleaning up, as it does when a test takes too long, panics, or
// is killed. A second process of this program, the guard, waits for that: it is told every process group, and kills them when its standard
// input ends.
type processWard struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	to  io.WriteCloser
}

var ward *processWard

func startWard() (*processWard, error) {
	w := &processWard{cmd: exec.Command(os.Args[0])}
	w.cmd.Env = append(os.Environ(), guardEnv+"=1")
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it outlives Ctrl-C
	var err error
	if w.to, err = w.cmd.StdinPipe(); err == nil {
		err = w.cmd.Start()
	}
	return w, err
}

func (w *processWard) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = fmt.Fprintf(w.to, format, args...) // a guard that is gone guards nothing; the tests go on
}

func (w *processWard) takes(pgid int) { w.say("+%d\n", pgid) }
func (w *processWard) drops(pgid int) { w.say("-%d\n", pgid) }

func (w *processWard) end() {
	_ = w.to.Close()
	_ = w.cmd.Wait()
}

// guard reads which process groups there are until in ends, and kills those that are left.
func guard(in io.Reader) {
	left := map[int]bool{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var pgid int
		if _, err := fmt.Sscanf(strings.TrimLeft(lines.Text(), "+-"), "%d", &pgid); err != nil || pgid <= 1 {
			continue
		}
		if left[pgid] = true; lines.Text()[0] == '-' {
			delete(left, pgid)
		}
	}
	for pgid := range left {
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
	}
}

// What tests have started ends with them, whatever happens to them, and to what their children have started.
func TestWard(t *testing.T) {
	w, err := startWard()
	if err != nil {
		t.Fatal(err)
	}
	script := exec.Command("sh", "-c", "sleep 1000 & echo $!; wait")
	script.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := script.StdoutPipe()
	if err == nil {
		err = script.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatal(err)
	}
	w.takes(4711_000) // one that is there no more
	w.drops(4711_000)
	w.takes(script.Process.Pid)
	w.end() // as if this program had died
	if err := script.Wait(); err == nil {
		t.Error("the script ended by itself")
	}
	eventually(t, 60*time.Second, func() string {
		if err := syscall.Kill(child, 0); err == nil && !zombie(child) {
			return "the child of the script goes on"
		}
		return ""
	})
}

// zombie reports whether a process has ended and nobody has asked for its end yet.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}
