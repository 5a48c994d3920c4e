package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/concentrator"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/snlink"
)

// startSN runs a concentrator with an MQTT-SN gateway and returns it with the gateway's address.
func startSN(t *testing.T, id, upstream string, extra ...string) (*process, string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sn := pc.LocalAddr().String()
	pc.Close()
	p := start(t, id, append([]string{"concentrator", "--id", id, "--upstream", "mqtt://" + upstream, "--mqtt", freeAddr(t), "--sn", sn}, extra...)...)
	return p, sn
}

// state waits until a meter is in a state, below a path.
func (c *centre) state(t *testing.T, id, path, state string, within time.Duration) api.Meter {
	t.Helper()
	var m api.Meter
	eventually(t, within, func() string {
		var err error
		if m, err = c.api.Meter(t.Context(), id); err != nil {
			return err.Error()
		}
		if m.Path != path || m.State != state {
			return m.Path + " " + m.State
		}
		return ""
	})
	return m
}

func (c *centre) control(t *testing.T, id, typ string) api.Command {
	t.Helper()
	cmd, err := c.api.CreateCommand(t.Context(), api.CommandRequest{Target: api.Target{Meter: id}, Type: typ})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func (c *centre) ends(t *testing.T, id string, within time.Duration) api.Command {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd, err := c.api.WaitCommand(ctx, id)
	if err != nil {
		t.Fatalf("command %s: %v, %+v", id, err, cmd)
	}
	return cmd
}

// TestSN has a meter do its four businesses over MQTT-SN: readings and profile, commands, last gasp; then it moves.
func TestSN(t *testing.T) {
	text, _ := simClock(t0.Add(10*24*time.Hour), 1)
	c := startCentre(t, "--clock", text)
	_, a1 := startSN(t, "C1", c.mqtt)
	_, a2 := startSN(t, "C2", c.mqtt)
	const id = "M1000317"
	dir := t.TempDir()
	args := func(addr string) []string {
		return []string{"meter", "--id", id, "--concentrator", "mqttsn://" + addr, "--data", dir, "--history", "240h", "--clock", text, "--retry", "1s"}
	}
	m := start(t, "meter at C1", args(a1)...)
	c.state(t, id, "C1", api.StateOnline, 60*time.Second)
	to := t0.Add(10*24*time.Hour - 30*time.Minute) // the last interval is not due for another minute
	c.completeUpTo(t, to, 479, 180*time.Second)
	c.sameAsData(t, []string{id}, to)
	for _, what := range []string{"read", "profile", "disconnect", "reconnect", "ping"} {
		if out, status := wattbusRun(t, c, what, id, "--wait"); status != 0 {
			t.Fatalf("%s: status %d %s", what, status, out)
		}
	}
	signal(t, m, syscall.SIGUSR1)
	c.state(t, id, "C1", api.StatePowerLost, 60*time.Second)
	signal(t, m, syscall.SIGUSR1)
	c.state(t, id, "C1", api.StateOnline, 60*time.Second)
	m.kill()
	start(t, "meter at C2", args(a2)...)
	c.state(t, id, "C2", api.StateOnline, 60*time.Second)
	if out, status := wattbusRun(t, c, "read", id); status != 0 {
		t.Fatalf("read: status %d %s", status, out)
	}
}

// TestSNOverDTLS: a meter whose pre-shared key has the identity M1 can be M1 and nobody else; a wrong key is nobody.
func TestSNOverDTLS(t *testing.T) {
	c := startCentre(t)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("# id:key\nM1000317:00112233445566778899aabbccddeeff\nM1004851:ffeeddccbbaa99887766554433221100\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := pc.LocalAddr().String()
	pc.Close()
	start(t, "C1", "concentrator", "--id", "C1", "--upstream", "mqtt://"+c.mqtt, "--mqtt", freeAddr(t), "--sns", addr, "--sns-psk", keys)
	meter := func(id, psk string) {
		start(t, id, "meter", "--id", id, "--concentrator", "mqttsns://"+addr, "--psk", psk, "--retry", "1s")
	}
	meter("M1004851", "00112233445566778899aabbccddeeff") // the key of the other one
	meter("M1000317", "00112233445566778899aabbccddeeff")
	c.state(t, "M1000317", "C1", api.StateOnline, 60*time.Second)
	if out, status := wattbusRun(t, c, "disconnect", "M1000317", "--wait"); status != 0 {
		t.Fatalf("disconnect: status %d %s", status, out)
	}
	if m, err := c.api.Meter(t.Context(), "M1004851"); err == nil {
		t.Errorf("came in with another one's key: %+v", m)
	}

	// With its own key, but another one's client id.
	own, err := snlink.DialDTLS(t.Context(), addr, snlink.DTLSClientOptions{Identity: "M1004851", Key: nil})
	if err == nil {
		own.Close()
		t.Fatal("a session without a key")
	}
	key, _ := hex.DecodeString("ffeeddccbbaa99887766554433221100")
	if own, err = snlink.DialDTLS(t.Context(), addr, snlink.DTLSClientOptions{Identity: "M1004851", Key: key}); err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for id, want := range map[string]mqttsn.ReturnCode{"M1000317": mqttsn.NotSupported, "M1004851": mqttsn.Accepted} {
		b, err := mqttsn.Connect{ClientID: id, Duration: 60}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := own.WriteTo(b, nil); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 100)
		n, _, err := own.ReadFrom(answer)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mqttsn.Decode(answer[:n])
		if a, ok := m.(mqttsn.Connack); err != nil || !ok || a.Code != want {
			t.Errorf("CONNECT as %s: %+v, %v", id, m, err)
		}
	}
}

func signal(t *testing.T, p *process, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// TestSleeping has a meter sleep: the centre says until when a command is queued, and the meter gets it when it wakes.
func TestSleeping(t *testing.T) {
	t.Parallel() // it waits more than it works
	c := startCentre(t)
	_, a1 := startSN(t, "C1", c.mqtt)
	const id = "M1000317"
	p := start(t, "meter", "meter", "--id", id, "--concentrator", "mqttsn://"+a1, "--sleep", "10s", "--retry", "1s", "--log-level", "debug")
	m := c.state(t, id, "C1", api.StateSleeping, 60*time.Second)
	if m.WakesAt == nil || time.Until(*m.WakesAt) > 12*time.Second || !strings.Contains(fmt.Sprint(m.Capabilities), "sleeping") {
		t.Errorf("%+v", m)
	}
	says(t, p, "state=asleep", 1)
	time.Sleep(3 * time.Second) // it lingers, then it sleeps
	told := 0
	for range 2 {
		began := time.Now()
		cmd := c.control(t, id, api.CommandDisconnect)
		if cmd.QueuedUntil == nil {
			t.Fatalf("%+v", cmd)
		}
		out, status := wattbusRun(t, c, "commands", cmd.ID)
		switch {
		case status != 0:
			t.Errorf("status %d, %s", status, out)
		case strings.Contains(out, "queued until "+cmd.QueuedUntil.Local().Format("15:04:05")):
			told++
		case !strings.Contains(out, api.CommandDone): // as it is, if the machine is busy
			t.Error(out)
		}
		done := c.ends(t, cmd.ID, 60*time.Second)
		took := time.Since(began)
		if done.State != api.CommandDone || done.Sends != 1 && took < 20*time.Second {
			t.Errorf("after %s: %+v", took, done)
		}
		t.Logf("queued until %s, done after %s", cmd.QueuedUntil.Format("15:04:05"), took.Round(time.Millisecond))
		time.Sleep(3 * time.Second)
	}
	if told == 0 {
		t.Error("no command was told to be queued")
	}
	c.state(t, id, "C1", api.StateSleeping, 60*time.Second)
}

// TestLossyLink runs meters on a link that loses a tenth of what is sent, each way, and doubles and delays some: no reading is
// lost, no command is executed twice. The link is simulated, the gateway, the concentrator and the centre are real.
//
//	meters ══simulated link══> gateway in a concentrator ──> centre
func TestLossyLink(t *testing.T) {
	t.Parallel() // it waits more than it works
	const meters, intervals = 6, 16
	begin := t0.Add(20 * 24 * time.Hour)
	text, clk := simClock(begin, 600)
	c := startCentre(t, "--clock", text, "--no-backfill")
	m, err := snlink.NewMedium(snlink.MediumOptions{BitRate: 200_000, Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond,
		Loss: 0.1, Duplicate: 0.05, Reorder: 0.05, ReorderBy: 300 * time.Millisecond, Queue: 1000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	node, err := m.Attach("gateway")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	conc, err := concentrator.New(concentrator.Options{ID: "C1", Upstreams: []string{"mqtt://" + c.mqtt}, Clock: clk, Logger: slog.Default(),
		SN: []gateway.Link{{Name: "air", Conn: node, Broadcast: true}}, SNGateway: gateway.Options{Retry: 400 * time.Millisecond, MaxRetries: 8}})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if err := conc.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	set, err := dataset.Load()
	if err != nil {
		t.Fatal(err)
	}
	states := &meter.Memory{}
	var agents []*meter.Agent
	var ids []string
	mctx, leave := context.WithCancel(ctx)
	var running sync.WaitGroup
	for i := range meters {
		h := set.Household(i)
		n := 0
		a, err := meter.New(meter.Options{ID: h.ID(), Source: h, Clock: clk, Store: states, URL: "mqttsn+multicast://239.0.0.1:1",
			MinBackoff: 200 * time.Millisecond, Capabilities: record.CapBreaker,
			SN: meter.SN{Retry: 400 * time.Millisecond, Dial: func(context.Context, string) (snlink.Link, error) {
				n++
				conn, err := m.Attach(fmt.Sprintf("%s-%d", h.ID(), n))
				return snlink.Link{Conn: conn}, err // the gateway is to be found
			}}})
		if err != nil {
			t.Fatal(err)
		}
		agents, ids = append(agents, a), append(ids, h.ID())
		running.Go(func() {
			if err := a.Run(mctx); err != nil {
				t.Error(err)
			}
		})
	}
	defer running.Wait()
	defer leave()
	for _, id := range ids {
		c.state(t, id, "C1", api.StateOnline, 60*time.Second)
	}
	// In the half minute that this takes at least, ten intervals end. Nothing fetches what would be missing.
	commands := map[string][]string{}
	for i := range intervals {
		for k, id := range ids {
			typ := []string{api.CommandPing, api.CommandRead}[(i+k)%2]
			commands[id] = append(commands[id], c.control(t, id, typ).ID)
		}
		time.Sleep(2 * time.Second)
	}
	for _, id := range ids {
		for _, cmd := range commands[id] {
			if got := c.ends(t, cmd, 60*time.Second); got.State != api.CommandDone {
				t.Errorf("%s: %+v", id, got)
			}
		}
	}
	for i, a := range agents {
		// What was due has arrived when it has been acknowledged.
		eventually(t, 60*time.Second, func() string {
			if s := a.Stats(); s.Acked != s.Readings || s.Readings == 0 {
				return fmt.Sprintf("%+v", s)
			}
			return ""
		})
		s := a.Stats()
		st, _, err := states.Load(ids[i])
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint64]int{}
		for _, e := range st.Executed {
			seen[e.ID]++
		}
		if int(s.Commands) != len(commands[ids[i]]) || len(seen) != len(commands[ids[i]]) || s.Dropped != 0 {
			t.Errorf("%s executed %d commands, %d different ones, of %d: %+v", ids[i], s.Commands, len(seen), len(commands[ids[i]]), s)
		}
	}
	to := clk.Now().Add(-time.Hour).Truncate(30 * time.Minute)
	var all api.Completeness
	eventually(t, 60*time.Second, func() string {
		if all, err = c.api.Completeness(t.Context(), time.Time{}, to); err != nil {
			return err.Error()
		}
		// A meter's first interval has no register before it: only a load profile would tell.
		if all.Missing != meters || all.Received < 6*meters || all.Recovered != 0 || len(all.Meters) != meters {
			return fmt.Sprintf("%+v %+v", all.Counts, all.Meters)
		}
		return ""
	})
	stats := m.Stats()
	if share := float64(stats.Lost) / float64(stats.Frames); share < 0.05 || share > 0.2 {
		t.Errorf("%.1f %% of the frames lost: %+v", 100*share, stats)
	}
	t.Logf("%d readings and %d commands; on the air %+v", all.Received, meters*intervals, stats)
}
