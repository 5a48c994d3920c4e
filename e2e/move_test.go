package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// TestMove takes a meter from one concentrator to another, with the old concentrator held up so that its news of the lost
// connection come late.
func TestMove(t *testing.T) {
	text, _ := simClock(t0.Add(10*24*time.Hour), 1)
	c := startCentre(t, "--clock", text)
	c1, a1 := startConcentrator(t, "C1", c.mqtt)
	_, a2 := startConcentrator(t, "C2", c.mqtt)
	const id = "M1000317"
	dir := t.TempDir()
	args := func(addr string) []string {
		return []string{"meter", "--id", id, "--concentrator", "mqtt://" + addr, "--data", dir, "--history", "2h", "--clock", text}
	}
	at := func(path string) func() string {
		return func() string {
			m, err := c.api.Meter(t.Context(), id)
			if err != nil {
				return err.Error()
			}
			if m.Path != path || m.State != api.StateOnline {
				return m.Path + " " + m.State
			}
			return ""
		}
	}
	meter := start(t, "meter at C1", args(a1)...)
	eventually(t, 60*time.Second, at("C1"))

	// C1 --"M1000317 is lost"--> centre     held up
	if err := c1.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	meter.kill()
	start(t, "meter at C2", args(a2)...)
	eventually(t, 60*time.Second, at("C2"))
	if err := c1.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for range 20 { // the late will arrives and changes nothing
		time.Sleep(100 * time.Millisecond)
		if why := at("C2")(); why != "" {
			t.Fatalf("after the late will: %s", why)
		}
	}
	if out, status := wattbusRun(t, c, "read", id); status != 0 {
		t.Fatalf("read: status %d %s", status, out)
	}
}
