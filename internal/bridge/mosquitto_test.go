package bridge

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/client"
)

// program finds a program of Mosquitto.
func program(tb testing.TB, name string) string {
	tb.Helper()
	for _, p := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	if os.Getenv("WATTBUS_CI") == "1" {
		tb.Fatal(name + " not installed")
	}
	tb.Skip(name + " not installed")
	return ""
}

// mosquitto runs the real server at addr with further lines of configuration; kill ends it without a word.
func mosquitto(tb testing.TB, addr string, lines ...string) (kill func()) {
	tb.Helper()
	bin := program(tb, "mosquitto")
	host, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(tb.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s %s\nallow_anonymous true\nmax_queued_messages 0\n%s\n", port, host, strings.Join(lines, "\n"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(bin, "-c", conf)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	tb.Cleanup(kill)
	eventually(tb, "mosquitto accepts", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return kill
}

// TestMosquittoAsUpstream: our bridge below a real Mosquitto, which is killed and comes back without its sessions.
func TestMosquittoAsUpstream(t *testing.T) {
	local, addr := newNode(t, ""), freeAddr(t)
	kill := mosquitto(t, addr)
	seen := make(chan string, 100)
	watch := func() (stop func()) {
		_, stop = newClient(t, client.Options{URL: "mqtt://" + addr, ClientID: "watch", Clean: true,
			Subscriptions: []client.Subscription{{Filter: "up/#", QoS: 1}},
			Birth:         func() *client.Message { return &client.Message{Topic: "up/watch", QoS: 1} },
			OnMessage:     func(m *client.Message) { seen <- m.Topic + "=" + string(m.Payload) }})
		return stop
	}
	stop := watch()
	expect(t, seen, "up/watch=")
	b, stopBridge := newBridge(t, local, "mqtt://"+addr)
	expect(t, seen, "up/concentrator/C7/status=online")

	meter, _ := newClient(t, client.Options{URL: local.url(), ClientID: "M1", Subscriptions: []client.Subscription{{Filter: "dn/meter/M1/#", QoS: 1}},
		OnMessage: func(m *client.Message) { seen <- m.Topic + "=" + string(m.Payload) }})
	publish := func(payload string) {
		if err := meter.Publish(t.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: []byte(payload), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		if err := meter.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	publish("1")
	expect(t, seen, "up/C7/meter/M1/reading=1")
	pub := exec.Command(program(t, "mosquitto_pub"), "-p", addr[strings.LastIndexByte(addr, ':')+1:], "-q", "1", "-t", "dn/C7/meter/M1/cmd", "-m", "ping")
	if out, err := pub.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	expect(t, seen, "dn/meter/M1/cmd=ping")

	kill()
	stop()
	eventually(t, "upstream away", func() bool { return !b.Stats().Connected })
	publish("2")
	publish("3")
	mosquitto(t, addr)
	// Whether the watcher or the bridge is there first is open; what the bridge sends before the watcher subscribes nobody sees.
	eventually(t, "upstream back and the queue empty", func() bool { s := b.Stats(); return s.Connected && s.Queued == 0 })
	if s := b.Stats(); s.Acked != 3 {
		t.Errorf("%+v", s)
	}
	watch()
	expect(t, seen, "up/watch=")
	stopBridge()
	expect(t, seen, "up/concentrator/C7/status=offline")
}

// TestMosquittoAsConcentrator: a Mosquitto with the five lines of the contract below our broker.
func TestMosquittoAsConcentrator(t *testing.T) {
	up, addr := newNode(t, ""), freeAddr(t)
	kill := mosquitto(t, addr,
		"connection C7", "address "+up.addr, "remote_clientid C7", "restart_timeout 1 1",
		"notification_topic up/concentrator/C7/status", "notifications true",
		"topic # out 1 up/ up/C7/",
		"topic # in 1 dn/ dn/C7/",
		"topic all/# in 1 dn/ dn/",
		"topic group/# in 1 dn/ dn/",
		"topic concentrator/C7/# in 1 dn/ dn/",
	)
	has := func(want string) func() bool {
		return func() bool {
			for _, s := range up.received() {
				if strings.HasPrefix(s, want) {
					return true
				}
			}
			return false
		}
	}
	eventually(t, "Mosquitto's bridge is online", has("up/concentrator/C7/status=1"))
	seen := make(chan string, 10)
	meter, _ := newClient(t, client.Options{URL: "mqtt://" + addr, ClientID: "M1",
		Subscriptions: []client.Subscription{{Filter: "dn/meter/M1/#", QoS: 1}, {Filter: "dn/all/meter/#", QoS: 1}},
		Birth:         func() *client.Message { return &client.Message{Topic: "up/meter/M1/location", Payload: []byte("here")} },
		OnMessage:     func(m *client.Message) { seen <- m.Topic + "=" + string(m.Payload) }})
	eventually(t, "location", has("up/C7/meter/M1/location=here q0"))
	if err := meter.Publish(t.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: []byte("r"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reading", has("up/C7/meter/M1/reading=r q1"))
	for _, topic := range []string{"dn/C7/meter/M1/cmd", "dn/all/meter/cmd"} {
		if _, err := up.Publish(topic, []byte("c"), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, seen, "dn/meter/M1/cmd=c")
	expect(t, seen, "dn/all/meter/cmd=c")
	kill()
	eventually(t, "the will", has("up/concentrator/C7/status=0"))
}

func expect(t *testing.T, seen <-chan string, want string) {
	t.Helper()
	got := ""
	eventually(t, want, func() bool {
		select {
		case got = <-seen:
			return true
		default:
			return false
		}
	})
	if got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}
