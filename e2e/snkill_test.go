package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/dataset"
)

// TestSNKills kills concentrators with SIGKILL while their meters sleep, one with and one without a directory for its state, at
// moments when commands wait there. Every command is executed, once, and in the end no interval is missing.
//
//	centre ──command──> C1 (--data), C2 (nothing) ══ SIGKILL ══ start ──command──> meters, when they wake or come again
//
// Behind C1 there is also a meter that is awake: its command arrives without a word from it. One behind C3 is killed while it
// sleeps, and is lost when it has not woken; started again it tells what it held.
func TestSNKills(t *testing.T) {
	t.Parallel()      // it waits more than it works
	const speed = 180 // an interval in ten seconds
	text, clk := simClock(t0.Add(10*24*time.Hour), speed)
	c := startCentre(t, "--clock", text)
	set, err := dataset.Load()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var ids []string
	paths, meters := map[string]string{}, map[string]*process{}
	begin := func(conc, sn string, sleeps bool) string {
		id := set.Household(len(ids)).ID()
		args := []string{"meter", "--id", id, "--concentrator", "mqttsn://" + sn, "--data", filepath.Join(dir, id), "--clock", text,
			"--retry", "200ms", "--history", "24h", "--log-level", "debug"}
		if sleeps {
			args = append(args, "--sleep", "10s")
		}
		meters[id] = start(t, id, args...)
		ids, paths[id] = append(ids, id), conc
		return id
	}
	c1, a1 := startSN(t, "C1", c.mqtt, "--clock", text, "--data", filepath.Join(dir, "c1"))
	c2, a2 := startSN(t, "C2", c.mqtt, "--clock", text)
	for range 2 {
		begin("C1", a1, true)
		begin("C2", a2, true)
	}
	awake := begin("C1", a1, false)
	_, a3 := startSN(t, "C3", c.mqtt, "--clock", text)
	killed := begin("C3", a3, true)
	for _, id := range ids {
		state := api.StateSleeping
		if id == awake {
			state = api.StateOnline
		}
		c.state(t, id, paths[id], state, 60*time.Second)
	}
	for _, id := range ids { // they linger, then they sleep
		if id != awake {
			says(t, meters[id], "state=asleep", 1)
		}
	}
	meters[killed].kill()
	killedAt := time.Now()
	ids = ids[:len(ids)-1]
	commands := map[string]string{} // to whom
	for round := range 4 {
		for _, id := range ids {
			if id == awake {
				continue
			}
			commands[c.control(t, id, []string{api.CommandRead, api.CommandPing}[round%2]).ID] = id
		}
		time.Sleep(time.Duration(50+300*round) * time.Millisecond) // any moment: it is on its way, or it waits
		c1.kill()
		c2.kill()
		c1.restart()
		c2.restart()
		began := time.Now()
		cmd := c.control(t, awake, api.CommandPing).ID
		commands[cmd] = awake
		if got := c.ends(t, cmd, 60*time.Second); got.State != api.CommandDone {
			t.Errorf("%+v", got)
		}
		t.Logf("the meter that is awake has its command %s after the start", time.Since(began).Round(time.Millisecond))
	}
	for cmd, id := range commands {
		if got := c.ends(t, cmd, 120*time.Second); got.State != api.CommandDone {
			t.Errorf("%+v", got)
		}
		if n := strings.Count(meters[id].out.String(), "msg=\"command executed\" meter="+id+" command="+cmd+" "); n != 1 {
			t.Errorf("%s has executed command %s %d times", id, cmd, n)
		}
	}
	// It told the gateway that it sleeps 10 s and some repetitions; the gateway waits half as long again.
	lost := c.state(t, killed, "C3", api.StateCommLost, 60*time.Second)
	since := clk.Now().Sub(lost.Link.Since) / speed
	t.Logf("killed while it slept: lost after %s", (time.Since(killedAt) - since).Round(100*time.Millisecond))
	meters[killed].restart()
	ids = append(ids, killed)
	to := clk.Now().Truncate(slot)
	all := c.completeUpTo(t, to, int64(len(ids))*48, 180*time.Second)
	c.sameAsData(t, ids, to)
	t.Logf("%d commands; %d intervals: %d as readings, %d recovered", len(commands), all.Expected, all.Received, all.Recovered)
	for _, p := range []*process{c1, c2} {
		if out := p.out.String(); strings.Contains(out, "level=ERROR") {
			t.Error(out)
		}
	}
	if b, err := os.ReadDir(filepath.Join(dir, "c1")); err != nil || len(b) == 0 {
		t.Errorf("C1 keeps nothing: %v", fmt.Sprint(b, err))
	}
}

// says waits until a process has logged something so many times.
func says(t *testing.T, p *process, text string, times int) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		if n := strings.Count(p.out.String(), text); n < times {
			return fmt.Sprintf("%s has said %q %d times", p.name, text, n)
		}
		return ""
	})
}
