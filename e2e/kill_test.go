package e2e

import (
	"fmt"
	"testing"
	"time"
)

const slot = 30 * time.Minute

// TestKills kills a concentrator, the next one up, the centre and the meters with SIGKILL, one after another and under
// load, and wants every interval of every meter back, equal to the data.
func TestKills(t *testing.T) {
	t.Parallel() // it waits more than it works
	const meters = 120
	from := t0.Add(10 * 24 * time.Hour)
	text, clk := simClock(from, 900) // half an hour in two seconds
	c := startCentre(t, "--clock", text)
	c1, a1 := startConcentrator(t, "C1", c.mqtt)
	c11, a11 := startConcentrator(t, "C11", a1)
	_, a12 := startConcentrator(t, "C12", a1)
	fleet := start(t, "fleet", "fleet", "--meters", fmt.Sprint(meters), "--concentrator", "mqtt://"+a11, "--concentrator", "mqtt://"+a12,
		"--data", t.TempDir(), "--history", "72h", "--clock", text)
	c.completeUpTo(t, from, meters*90, 180*time.Second)

	under := func(d time.Duration) { time.Sleep(d) } // readings go on meanwhile
	for _, victim := range []*process{c11, c1, c.process, fleet} {
		under(3 * time.Second)
		victim.kill()
		under(3 * time.Second)
		victim.restart()
	}
	under(3 * time.Second)
	for _, victim := range []*process{c.process, c11, fleet} {
		victim.kill()
	}
	under(time.Second)
	for _, victim := range []*process{c.process, c11, fleet} {
		victim.restart()
	}
	c.ready(t)
	under(2 * time.Second)

	to := clk.Now().Truncate(slot)
	all := c.completeUpTo(t, to, meters*int64(to.Sub(from)/slot), 180*time.Second)
	ids := c.meterIDs(t, meters)
	n := c.sameAsData(t, ids, to)
	if int64(n) != all.Expected {
		t.Fatalf("%d intervals read, %d expected", n, all.Expected)
	}
	t.Logf("%d intervals: %d as readings, %d recovered, none missing, none different", n, all.Received, all.Recovered)
	if all.Recovered == 0 {
		t.Error("nothing was recovered: the kills hit nothing")
	}
}
