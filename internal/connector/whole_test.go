package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

// binary is wattbus, built once.
var binary struct {
	sync.Once
	dir, path string
	err       error
}

func wattbus(t *testing.T) string {
	t.Helper()
	binary.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "wattbus-connector-"); binary.err != nil {
			return
		}
		binary.path = filepath.Join(binary.dir, "wattbus")
		if out, err := exec.Command("go", "build", "-o", binary.path, "../../cmd/wattbus").CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("go build: %w: %s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

// whole is a running system: a centre with targets, a concentrator and a meter M1, a process each.
type whole struct {
	t     *testing.T
	api   *apiclient.Client
	http  string
	bus   string
	token string // of erp, who may operate
}

// newWhole starts one and returns when the meter is on line and the targets are there.
func newWhole(t *testing.T, targets string) *whole {
	t.Helper()
	dir := t.TempDir()
	file, tokens := filepath.Join(dir, "targets.yaml"), filepath.Join(dir, "tokens")
	if err := os.WriteFile(file, []byte(targets), 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(name, rights string) string {
		t.Helper()
		cmd := exec.Command(wattbus(t), "token", tokens, name, "--rights", rights)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	var addr []string
	for _, p := range freePorts(t, 4) {
		addr = append(addr, fmt.Sprintf("127.0.0.1:%d", p))
	}
	w := &whole{t: t, bus: addr[2], token: token("erp", "operate")}
	c, err := apiclient.New(apiclient.Options{Server: "http://" + addr[1], Token: token("operator", "view")})
	if err != nil {
		t.Fatal(err)
	}
	w.api, w.http = c, "http://"+addr[1]
	t.Cleanup(c.Close)
	start(t, exec.Command(wattbus(t), "center", "--data", filepath.Join(dir, "centre"), "--mqtt", addr[0], "--http", addr[1], "--bus-listen", addr[2], "--targets", file, "--tokens", tokens))
	start(t, exec.Command(wattbus(t), "concentrator", "--id", "C1", "--upstream", "mqtt://"+addr[0], "--mqtt", addr[3]))
	start(t, exec.Command(wattbus(t), "meter", "--id", "M1", "--concentrator", "mqtt://"+addr[3], "--data", filepath.Join(dir, "meter")))
	w.until("the meter is on line and the targets are there", func(ctx context.Context) bool {
		m, err := c.Meter(ctx, "M1")
		if err != nil || m.State != api.StateOnline || m.Path != "C1" {
			return false
		}
		all, err := c.Targets(ctx)
		if err != nil || len(all) == 0 {
			return false
		}
		for i := range all {
			if !all[i].Well() {
				return false
			}
		}
		return true
	})
	return w
}

func (w *whole) until(what string, ok func(context.Context) bool) {
	w.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
		done := ok(ctx)
		cancel()
		if done {
			return
		}
		if time.Now().After(end) {
			m, merr := w.api.Meter(w.t.Context(), "M1")
			all, err := w.api.Targets(w.t.Context())
			w.t.Fatalf("not within two minutes: %s; meter %+v, %v; targets %+v, %v", what, m, merr, all, err)
		}
	}
}

// opens checks the answer to a request that opens the meter's breaker, and that it is open.
func (w *whole) opens(status, body string) {
	w.t.Helper()
	var cmd api.Command
	if err := json.Unmarshal([]byte(body), &cmd); err != nil || status != api.CommandDone || cmd.By != "erp" || cmd.Result == nil || cmd.Result.Breaker != "open" {
		w.t.Fatalf("%s %s, %v", status, body, err)
	}
	m, err := w.api.Meter(w.t.Context(), "M1")
	if err != nil || m.State != api.StateDisconnected || m.Breaker.State != "open" {
		w.t.Fatalf("%+v, %v", m, err)
	}
}

// TestWhole: a program that subscribes on the centre's own bus gets its events under the contract's subjects, readings too, while it does.
func TestWhole(t *testing.T) {
	long(t)
	t.Parallel()
	dir := t.TempDir()
	w := newWhole(t, fmt.Sprintf("targets:\n- {name: f, type: files, events: [state], files: {dir: %q}}\n", dir))
	c, err := nats.Connect("nats://" + w.bus)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make(chan *nats.Msg, 10_000)
	if _, err := c.ChanSubscribe("wb.ev.meter.>", got); err != nil {
		t.Fatal(err)
	}
	operator, err := apiclient.New(apiclient.Options{Server: w.http, Token: w.token})
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	seen := map[string]bool{}
	end := time.After(2 * time.Minute)
	read := time.NewTicker(2 * time.Second) // who subscribes is known within a second
	defer read.Stop()
	for !seen["wb.ev.meter.reading.M1"] || !seen["wb.ev.meter.command.M1"] {
		select {
		case <-read.C:
			if _, err := operator.CreateCommand(t.Context(), api.CommandRequest{Target: api.Target{Meter: "M1"}, Type: api.CommandRead}); err != nil {
				t.Fatal(err)
			}
		case m := <-got:
			if m.Header.Get("Wattbus-Probe") != "" {
				continue
			}
			var ev api.Event
			part := strings.Split(m.Subject, ".")
			if err := json.Unmarshal(m.Data, &ev); err != nil || ev.Type != "wattbus."+part[3]+".v1" || ev.Subject != part[4] || ev.Source != "/C1/meter/M1" {
				t.Fatalf("%s %s, %v", m.Subject, m.Data, err)
			}
			seen[m.Subject] = true
		case <-end:
			t.Fatalf("only %v", seen)
		}
	}
}
