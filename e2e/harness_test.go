package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/dataset"
)

// t0 is when the data of the households begins: 2018-10-29T00:00+01:00.
var t0 = time.Date(2018, 10, 28, 23, 0, 0, 0, time.UTC)

var wattbus string // the binary under test

func TestMain(m *testing.M) {
	if os.Getenv(guardEnv) != "" {
		guard(os.Stdin)
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wattbus-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	wattbus = filepath.Join(dir, "wattbus")
	build := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", wattbus, "../cmd/wattbus")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary under test: %v\n%s", err, out)
		return 1
	}
	if ward, err = startWard(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer ward.end()
	return m.Run()
}

// need returns the path of a foreign program. Without it the test is skipped, or fails where everything must be there.
func need(t *testing.T, name string) string {
	t.Helper()
	for _, p := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	if os.Getenv("WATTBUS_CI") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// process is a running program whose output is kept for the report of a failed test.
type process struct {
	t    *testing.T
	name string
	args []string
	cmd  *exec.Cmd
	out  *lockedBuffer
	done chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs wattbus with the arguments until the test ends.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return launch(t, name, wattbus, args...)
}

func launch(t *testing.T, name, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, args: append([]string{program}, args...), out: &lockedBuffer{}}
	p.restart()
	t.Cleanup(func() {
		p.kill()
		if out := p.out.String(); t.Failed() {
			t.Logf("--- %s %s\n%s", name, strings.Join(args, " "), tail(out, 6000))
		} else if strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic:") {
			t.Errorf("--- %s\n%s", name, tail(out, 6000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// restart starts the process again with the same arguments.
func (p *process) restart() {
	p.t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.WaitDelay = time.Second                           // children of a script may hold its output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a kill reaches them too
	p.done = make(chan error, 1)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	cmd, done := p.cmd, p.done
	ward.takes(cmd.Process.Pid)
	go func() {
		err := cmd.Wait()
		ward.drops(cmd.Process.Pid)
		done <- err
	}()
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	err := <-p.done
	p.done <- err
}

// stop asks the process to end and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(60 * time.Second):
		return fmt.Errorf("%s did not end within 60 s of SIGTERM", p.name)
	}
}

// freeAddr returns a loopback address nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	// Not one that the system gives to connections: until somebody listens here, another test's could get it.
	for {
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000))))
		if err != nil {
			continue
		}
		defer ln.Close()
		return ln.Addr().String()
	}
}

// eventually waits until f returns "", which otherwise says what is not so yet.
func eventually(t *testing.T, within time.Duration, f func() string) {
	t.Helper()
	for p := newPatience(within); ; time.Sleep(50 * time.Millisecond) {
		why := f()
		if why == "" {
			return
		}
		if p.over() {
			t.Fatalf("after %v: %s", within, why)
		}
	}
}

// patience is a deadline for what has to come about while everything runs. Of the time from one look at it to the next no more than
// standstill counts: if all of it stood still meanwhile, with the machine or by a signal, nothing could have come about.
type patience struct {
	left time.Duration
	last time.Time
}

const standstill = 25 * time.Second // a question to the centre takes no longer

func newPatience(within time.Duration) patience { return patience{left: within, last: time.Now()} }

func (p *patience) over() bool {
	now := time.Now()
	p.left -= min(now.Sub(p.last), standstill)
	p.last = now
	return p.left < 0
}

// centre is a running centre and a client of its API.
type centre struct {
	*process
	mqtt, http string
	api        *apiclient.Client
}

func startCentre(t *testing.T, extra ...string) *centre {
	t.Helper()
	c := &centre{mqtt: freeAddr(t), http: freeAddr(t)}
	c.process = start(t, "centre", append([]string{"center", "--data", t.TempDir(), "--mqtt", c.mqtt, "--http", c.http}, extra...)...)
	var err error
	if c.api, err = apiclient.New(apiclient.Options{Server: "http://" + c.http}); err != nil {
		t.Fatal(err)
	}
	c.ready(t)
	return c
}

func (c *centre) ready(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.api.Completeness(ctx, time.Time{}, time.Time{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// startConcentrator runs one and returns it with its address.
func startConcentrator(t *testing.T, id, upstream string) (*process, string) {
	t.Helper()
	addr := freeAddr(t)
	p := start(t, id, "concentrator", "--id", id, "--upstream", "mqtt://"+upstream, "--mqtt", addr)
	eventually(t, 60*time.Second, func() string {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err.Error()
		}
		conn.Close()
		return ""
	})
	return p, addr
}

// simClock is a clock text for centre and meters that shows start now and runs at speed.
func simClock(start time.Time, speed float64) (string, *clock.Clock) {
	c := clock.New(start, speed)
	return c.String(), c
}

// wattbusRun runs a command to its end.
func wattbusRun(t *testing.T, c *centre, args ...string) (stdout string, status int) {
	t.Helper()
	return wattbusPlain(t, append(args, "--server", "http://"+c.http)...)
}

// wattbusPlain runs a command that needs no centre.
func wattbusPlain(t *testing.T, args ...string) (stdout string, status int) {
	t.Helper()
	cmd := exec.Command(wattbus, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if errs.Len() > 0 {
		t.Logf("wattbus %s: %s", strings.Join(args, " "), errs.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// completeUpTo waits until no interval before to is missing, of at least want expected ones.
func (c *centre) completeUpTo(t *testing.T, to time.Time, want int64, within time.Duration) api.Completeness {
	t.Helper()
	var last api.Completeness
	eventually(t, within, func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		all, err := c.api.Completeness(ctx, time.Time{}, to)
		if err != nil {
			return err.Error()
		}
		last = all
		if all.Missing != 0 || all.Expected < want || all.Percent != 100 {
			return fmt.Sprintf("%d of %d intervals missing (want %d or more expected); worst %+v", all.Missing, all.Expected, want, worst(all))
		}
		return ""
	})
	return last
}

func worst(all api.Completeness) []api.MeterCounts {
	if len(all.Meters) > 3 {
		return all.Meters[:3]
	}
	return all.Meters
}

// meterIDs returns the ids of the meters that the centre knows, of which there must be n.
func (c *centre) meterIDs(t *testing.T, n int) (ids []string) {
	t.Helper()
	meters, err := c.api.Meters(t.Context(), api.MeterQuery{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range meters {
		if m.Kind == "meter" {
			ids = append(ids, m.ID)
		}
	}
	if len(ids) != n {
		t.Fatalf("%d meters, want %d: %v", len(ids), n, ids)
	}
	return ids
}

// sameAsData compares every interval of every meter, from the oldest that it keeps to the time, with the data that the
// meters live on.
func (c *centre) sameAsData(t *testing.T, meters []string, to time.Time) (intervals int) {
	t.Helper()
	set, err := dataset.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range meters {
		house, ok := set.ByID(id)
		if !ok {
			t.Fatalf("no household for meter %s", id)
		}
		m, err := c.api.Meter(t.Context(), id)
		if err != nil || m.Oldest == nil {
			t.Fatalf("meter %s: %+v, %v", id, m, err)
		}
		from := *m.Oldest
		got, err := c.api.Readings(t.Context(), id, from, to)
		if err != nil {
			t.Fatalf("readings of %s: %v", id, err)
		}
		at := from
		for _, r := range got {
			if !r.Start.Equal(at) {
				t.Fatalf("%s: interval starts at %v, want %v", id, r.Start, at)
			}
			want := int64(house.Wh(at.Unix()))
			if r.Import == nil || *r.Import != want {
				t.Fatalf("%s at %v: %v Wh (%s), the data says %d", id, at, value(r.Import), r.Quality, want)
			}
			at = r.End
			intervals++
		}
		if !at.Equal(to) {
			t.Fatalf("%s: intervals end at %v, want %v", id, at, to)
		}
	}
	return intervals
}

func value(p *int64) any {
	if p == nil {
		return "no value"
	}
	return *p
}
