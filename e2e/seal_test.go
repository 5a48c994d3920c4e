package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
)

// TestSealed: a meter with a key over two hops and MQTT-SN, its key exchanged while all run, the centre killed in between; a forged command
// at the concentrator does nothing, and no key stands in any log.
func TestSealed(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	file, mine := filepath.Join(dir, "keys"), filepath.Join(dir, "M1.key")
	keys := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(wattbus, append([]string{"keys"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("keys %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	keys("add", file, "M1", "M2", "all")
	export := func() {
		t.Helper()
		if err := os.WriteFile(mine, []byte(keys("export", file, "M1")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	export()
	c := startCentre(t, "--keys", file, "--require-sealed")
	_, a1 := startConcentrator(t, "C1", c.mqtt)
	a7, sn := freeAddr(t), freeAddr(t)
	c7 := start(t, "C7", "concentrator", "--id", "C7", "--upstream", "mqtt://"+a1, "--mqtt", a7, "--sn", sn, "--batch-count", "10", "--batch-age", "50ms")
	m := start(t, "M1", "meter", "--id", "M1", "--concentrator", "mqtt://"+a7, "--data", t.TempDir(), "--key-file", mine)
	other := filepath.Join(dir, "M2.key")
	if err := os.WriteFile(other, []byte(keys("export", file, "M2")), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "M2", "meter", "--id", "M2", "--concentrator", "mqttsn://"+sn, "--data", t.TempDir(), "--key-file", other)
	plain := start(t, "M3", "meter", "--id", "M3", "--concentrator", "mqtt://"+a7, "--data", t.TempDir())

	told := func(p *process, word string) {
		t.Helper()
		eventually(t, 60*time.Second, func() string {
			if strings.Contains(p.out.String(), word) {
				return ""
			}
			return p.name + " did not say " + word
		})
	}
	do := func(what, id, want string) {
		t.Helper()
		eventually(t, 90*time.Second, func() string {
			out, status := wattbusRun(t, c, what, id, "--wait", "--timeout", "30s")
			if status != 0 || !strings.Contains(out, want) {
				return fmt.Sprintf("%s %s: status %d: %s", what, id, status, out)
			}
			return ""
		})
	}
	switchTo := func(what, want string) { t.Helper(); do(what, "M1", want) }
	do("ping", "M2", "done")
	switchTo("disconnect", "open")

	// meter <--disconnect, plain, by somebody at the concentrator
	pub := need(t, "mosquitto_pub")
	host, port, _ := strings.Cut(a7, ":")
	forged := filepath.Join(dir, "forged")
	if err := os.WriteFile(forged, record.Command{ID: 7, Opcode: record.OpReconnect, Expiry: 1<<32 - 1}.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(pub, "-h", host, "-p", port, "-t", "dn/meter/M1/cmd", "-q", "1", "-f", forged).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	told(m, "message refused")
	switchTo("read", "0 W")

	c.kill()
	c.restart()
	c.ready(t)
	switchTo("reconnect", "closed")

	// A new generation: at the centre, then at the meter; then the old one goes.
	keys("add", file, "M1")
	export()
	told(c.process, "loaded anew")
	told(m, "loaded anew")
	switchTo("ping", "done")
	keys("drop", file, "M1")
	m.kill()
	m.restart()
	switchTo("disconnect", "open")

	secrets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.ReadKeys(strings.NewReader(string(secrets)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*process{c.process, m, c7, plain} {
		for _, e := range k.Entries() {
			if l := e.Line(); strings.Contains(p.out.String(), l[strings.LastIndexByte(l, ' ')+1:]) {
				t.Errorf("the log of %s tells the key %02x of %s", p.name, e.ID, e.Name)
			}
		}
	}
	if out, status := wattbusRun(t, c, "meters", "M3"); status == 0 {
		t.Errorf("a meter without a key was heard: %s", out)
	}
}
