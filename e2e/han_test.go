package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/echonet"
	"github.com/wattbus/wattbus/internal/han/hantest"
)

// TestHomeNetwork has a charger and a solar panel behind a meter, over two concentrators: they become devices of their own, their
// registers arrive, and the charger is switched off and on.
func TestHomeNetwork(t *testing.T) {
	t.Parallel()
	charger, panel := echonet.Object{0x02, 0x7E, 1}, echonet.Object{0x02, 0x79, 1}
	here, there := hantest.Pair(t)
	node := hantest.Start(t, there, 7)
	node.Put(charger, 0x80, 0x30)
	node.Put(charger, 0xD3, 0, 0, 0x0B, 0xB8)
	node.Put(charger, 0xD6, 0, 0, 0, 0)
	node.Put(charger, 0xD8, 0, 0, 0x30, 0x39)
	node.Put(panel, 0xE0, 0x03, 0xE8)
	node.Put(panel, 0xE1, 0, 0, 0x10, 0)

	c := startCentre(t)
	_, a1 := startConcentrator(t, "C1", c.mqtt)
	_, a7 := startConcentrator(t, "C7", a1)
	start(t, "meter", "meter", "--id", "M1", "--concentrator", "mqtt://"+a7, "--data", t.TempDir(), "--han", here.String(), "--han-node", there.Addr().String())

	found := map[string]api.Meter{}
	eventually(t, 60*time.Second, func() string {
		all, err := c.api.Meters(t.Context(), api.MeterQuery{}, 0)
		if err != nil {
			return err.Error()
		}
		for _, m := range all {
			found[m.Kind] = m
		}
		for _, kind := range []string{"meter", "ev", "pv"} {
			if m, ok := found[kind]; !ok || m.State != api.StateOnline || m.Path != "C1/C7" {
				return fmt.Sprintf("%s: %+v", kind, m)
			}
		}
		return ""
	})
	ev, pv := found["ev"].ID, found["pv"].ID
	if !strings.HasPrefix(ev, "M1-") || !strings.HasPrefix(pv, "M1-") || ev == pv {
		t.Errorf("ids %s and %s", ev, pv)
	}
	for id, want := range map[string]func(m api.Meter) bool{
		ev: func(m api.Meter) bool {
			return m.Register != nil && m.Register.Import == 12345 && m.Register.Power == 3000
		},
		pv: func(m api.Meter) bool {
			return m.Register != nil && m.Register.Export == 4096 && m.Register.Power == -1000
		},
	} {
		if out, status := wattbusRun(t, c, "read", id, "--wait"); status != 0 {
			t.Fatalf("read %s: %s", id, out)
		}
		eventually(t, 60*time.Second, func() string {
			if m, err := c.api.Meter(t.Context(), id); err != nil || !want(m) {
				return fmt.Sprintf("%s: %+v, %v", id, m.Register, err)
			}
			return ""
		})
	}
	for _, command := range []struct {
		name   string
		status byte
	}{{"disconnect", 0x31}, {"reconnect", 0x30}} {
		if out, status := wattbusRun(t, c, command.name, ev, "--wait"); status != 0 {
			t.Fatalf("%s: %s", command.name, out)
		}
		if v := node.Value(charger, 0x80); len(v) != 1 || v[0] != command.status {
			t.Errorf("after %s: operation status %x", command.name, v)
		}
	}
	if out, status := wattbusRun(t, c, "disconnect", pv, "--wait"); status == 0 {
		t.Errorf("a panel that cannot be switched was: %s", out)
	}
}
