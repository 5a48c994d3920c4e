package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBackup takes a backup of a centre that readings come in to, destroys it, and wants every interval that it had before
// the backup from another centre on what was put back, without asking the meters.
func TestBackup(t *testing.T) {
	const meters = 40
	from := t0.Add(10 * 24 * time.Hour)
	text, clk := simClock(from, 900)
	data, copied := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "copy")
	c := startCentre(t, "--clock", text, "--data", data) // the last --data counts
	_, a1 := startConcentrator(t, "C1", c.mqtt)
	fleet := start(t, "fleet", "fleet", "--meters", fmt.Sprint(meters), "--concentrator", "mqtt://"+a1, "--data", t.TempDir(), "--history", "72h", "--clock", text)
	c.completeUpTo(t, from, meters*100, 180*time.Second)
	time.Sleep(2 * time.Second) // readings come in
	to := clk.Now().Truncate(slot)
	c.completeUpTo(t, to, meters*100, 180*time.Second)

	if out, status := wattbusRun(t, c, "backup", "--data", data, copied); status != 0 || !strings.Contains(out, copied) {
		t.Fatalf("backup: status %d, %s", status, out)
	}
	if _, status := wattbusRun(t, c, "backup", "--data", data, copied); status != 1 {
		t.Errorf("a backup was written over another: status %d", status)
	}
	fleet.kill()
	c.kill()

	fresh := filepath.Join(t.TempDir(), "fresh")
	for _, args := range [][]string{{"--verify", copied}, {"--data", fresh, copied}} {
		if out, status := wattbusPlain(t, append([]string{"restore"}, args...)...); status != 0 {
			t.Fatalf("restore %v: status %d, %s", args, status, out)
		}
	}
	if _, status := wattbusPlain(t, "restore", "--data", fresh, copied); status != 1 {
		t.Errorf("restored over a centre's data: status %d", status)
	}
	r := startCentre(t, "--clock", text, "--data", fresh, "--no-backfill")
	all := r.completeUpTo(t, to, meters*100, 180*time.Second)
	if n := r.sameAsData(t, r.meterIDs(t, meters), to); int64(n) != all.Expected {
		t.Fatalf("%d intervals read, %d expected", n, all.Expected)
	}
	// Without a centre the bus is read from the data directory.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if out, status := wattbusPlain(t, "backup", "--data", fresh, copied+"2"); status != 0 {
		t.Fatalf("backup without a centre: status %d, %s", status, out)
	}
}
