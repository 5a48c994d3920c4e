package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// TestShellMeter is a meter of mosquitto_pub, mosquitto_sub and the contract.
func TestShellMeter(t *testing.T) {
	need(t, "mosquitto_pub")
	need(t, "mosquitto_sub")
	c := startCentre(t)
	_, a1 := startConcentrator(t, "C1", c.mqtt)
	host, port, err := net.SplitHostPort(a1)
	if err != nil {
		t.Fatal(err)
	}
	launch(t, "shell meter", need(t, "bash"), "testdata/meter.sh", host, port, "SH1", "123456")
	eventually(t, 60*time.Second, func() string {
		m, err := c.api.Meter(t.Context(), "SH1")
		switch {
		case err != nil:
			return err.Error()
		case m.State != api.StateOnline || m.Path != "C1":
			return m.State + " at " + m.Path
		case m.Register == nil || m.Register.Import != 123456:
			return fmt.Sprintf("register %+v", m.Register)
		}
		return ""
	})
	for _, args := range [][]string{{"ping", "SH1"}, {"read", "SH1"}, {"disconnect", "SH1", "--wait"}, {"reconnect", "SH1", "--wait"}} {
		if out, status := wattbusRun(t, c, args...); status != 0 {
			t.Fatalf("%v: status %d %s", args, status, out)
		}
		if args[0] == "disconnect" {
			m, err := c.api.Meter(t.Context(), "SH1")
			if err != nil || m.Breaker.State != "open" || m.State != api.StateDisconnected {
				t.Fatalf("after disconnect: %+v, %v", m, err)
			}
		}
	}
}

// TestMosquittoConcentrator has Debian's Mosquitto, with the contract's bridge lines, in the middle of a chain:
// meter -> C71 (ours) -> C7 (Mosquitto) -> C1 (ours) -> centre.
func TestMosquittoConcentrator(t *testing.T) {
	mosquitto := need(t, "mosquitto")
	text, clk := simClock(t0.Add(10*24*time.Hour), 900)
	c := startCentre(t, "--clock", text)
	_, a1 := startConcentrator(t, "C1", c.mqtt)
	a7 := freeAddr(t)
	_, port7, err := net.SplitHostPort(a7)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(conf, []byte(strings.Join([]string{
		"listener " + port7 + " 127.0.0.1",
		"allow_anonymous true",
		"connection C7",
		"address " + a1,
		"remote_clientid C7",
		"cleansession false",
		"notification_topic up/concentrator/C7/status",
		"topic # out 1 up/ up/C7/",
		"topic # in 1 dn/ dn/C7/",
		"topic all/# in 1 dn/ dn/",
		"topic group/# in 1 dn/ dn/",
		"topic concentrator/C7/# in 1 dn/ dn/",
		"restart_timeout 1",
		"",
	}, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, "mosquitto C7", mosquitto, "-v", "-c", conf)
	_, a71 := startConcentrator(t, "C71", a7)
	const id = "M1000317"
	start(t, "meter", "meter", "--id", id, "--concentrator", "mqtt://"+a71, "--data", t.TempDir(), "--history", "24h", "--clock", text)
	eventually(t, 60*time.Second, func() string {
		m, err := c.api.Meter(t.Context(), id)
		if err != nil {
			return err.Error()
		}
		if m.Path != "C1/C7/C71" || m.State != api.StateOnline {
			return m.Path + " " + m.State
		}
		return ""
	})
	for _, args := range [][]string{{"read", id}, {"ping", "path:C1/C7"}, {"disconnect", id, "--wait"}, {"reconnect", id, "--wait"}} {
		if out, status := wattbusRun(t, c, args...); status != 0 {
			t.Fatalf("%v: status %d %s", args, status, out)
		}
	}
	time.Sleep(3 * time.Second) // some live readings
	c.completeUpTo(t, clk.Now().Truncate(slot), 48, 180*time.Second)
	tree, err := c.api.Concentrators(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range tree {
		if k.State != "online" {
			t.Errorf("concentrator %s is %s", k.Path, k.State)
		}
	}
	if len(tree) != 3 {
		t.Errorf("tree: %+v", tree)
	}
}
