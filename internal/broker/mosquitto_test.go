package broker

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// program finds a program of another project to test against. Where CI sets
// WATTBUS_CI=1 it has to be there.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		if os.Getenv("WATTBUS_CI") == "1" {
			t.Fatalf("%s is needed: %v", name, err)
		}
		t.Skip(name + " is not installed")
	}
	return path
}

// tool runs one of Mosquitto's clients against the broker.
func (s *server) tool(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(program(t, name), append([]string{"-h", host, "-p", port}, args...)...)
}

// subscriber starts mosquitto_sub and waits until it has subscribed.
func (s *server) subscriber(t *testing.T, args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	t.Helper()
	before := s.Stats().Subscriptions
	cmd = s.tool(t, "mosquitto_sub", args...)
	out = new(bytes.Buffer)
	cmd.Stdout = out
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	eventually(t, "the subscription of mosquitto_sub", func() bool { return s.Stats().Subscriptions > before })
	return cmd, out
}

func wait(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%v: %v", cmd.Args, err)
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-done
		t.Errorf("%v does not end", cmd.Args)
	}
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v: %s", cmd.Args, err, out)
	}
	return string(out)
}

// TestMosquittoClients: every version and QoS, between Mosquitto's own clients.
func TestMosquittoClients(t *testing.T) {
	s := start(t, Options{})
	for _, version := range []string{"mqttv31", "mqttv311"} {
		for qos := range 3 {
			t.Run(fmt.Sprintf("%s QoS %d", version, qos), func(t *testing.T) {
				q := strconv.Itoa(qos)
				sub, out := s.subscriber(t, "-V", version, "-q", q, "-t", "up/#", "-C", "20", "-v")
				for i := range 20 {
					if i%10 == 0 {
						pub := s.tool(t, "mosquitto_pub", "-V", version, "-q", q, "-t", "up/meter/M1/reading", "-l")
						pub.Stdin = strings.NewReader(lines(i, 10))
						run(t, pub)
					}
				}
				wait(t, sub)
				want := "up/meter/M1/reading " + strings.ReplaceAll(strings.TrimSpace(lines(0, 20)), "\n", "\nup/meter/M1/reading ") + "\n"
				if out.String() != want {
					t.Errorf("got %q", out)
				}
			})
		}
	}
}

func lines(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "message %d\n", from+i)
	}
	return b.String()
}

// TestMosquittoWill: mosquitto_sub is killed, its will arrives.
func TestMosquittoWill(t *testing.T) {
	s := start(t, Options{})
	watch := s.clean(t, "watch")
	watch.subscribe(1, "will/#")
	sub, _ := s.subscriber(t, "-t", "x", "--will-topic", "will/m", "--will-payload", "gone", "--will-qos", "1", "--will-retain")
	if err := sub.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sub.Wait() // killed
	watch.want(pub(1, 1, "will/m", "gone"))
	if out := run(t, s.tool(t, "mosquitto_sub", "-t", "will/+", "-C", "1", "-W", "5", "-F", "%r %p")); out != "1 gone\n" {
		t.Errorf("retained will: %q", out)
	}
}

// TestMosquittoPersistentSession: what comes while it is away is there when it is
// back, in order.
func TestMosquittoPersistentSession(t *testing.T) {
	s := start(t, Options{})
	away := s.tool(t, "mosquitto_sub", "-i", "M1", "-c", "-q", "2", "-t", "dn/#", "-E")
	run(t, away)
	pub := s.tool(t, "mosquitto_pub", "-q", "2", "-t", "dn/meter/M1/cmd", "-l")
	pub.Stdin = strings.NewReader(lines(0, 200))
	run(t, pub)
	back := s.tool(t, "mosquitto_sub", "-i", "M1", "-c", "-q", "2", "-t", "dn/#", "-C", "200", "-W", "30")
	if out := run(t, back); out != lines(0, 200) {
		t.Errorf("got %q", out)
	}
}

// TestMosquittoAuthentication: user name and password.
func TestMosquittoAuthentication(t *testing.T) {
	s := start(t, Options{Auth: acl{}})
	run(t, s.tool(t, "mosquitto_pub", "-q", "1", "-u", "u", "-P", "yes", "-t", "a", "-m", "x"))
	for _, args := range [][]string{{}, {"-u", "u", "-P", "no"}} {
		if out, err := s.tool(t, "mosquitto_pub", append(args, "-t", "a", "-m", "x")...).CombinedOutput(); err == nil {
			t.Errorf("%v was let in: %s", args, out)
		}
	}
}

// TestMosquittoBridge: a Mosquitto with the contract's bridge lines stands below
// the broker; it offers protocol level 0x84.
func TestMosquittoBridge(t *testing.T) {
	var mu sync.Mutex
	var in []SessionEvent
	s := start(t, Options{OnSession: func(e SessionEvent) {
		mu.Lock()
		in = append(in, e)
		mu.Unlock()
	}})
	below := startMosquitto(t, fmt.Sprintf(`
connection C7
address %s
remote_clientid C7
cleansession false
topic # out 1 up/ up/C7/
topic # in 1 dn/ dn/C7/
topic all/# in 1 dn/ dn/
notification_topic up/concentrator/C7/status
restart_timeout 1
`, s.addr))
	watch := s.clean(t, "watch")
	watch.subscribe(1, "up/concentrator/C7/status")
	if m := watch.read().(mqtt.Publish); string(m.Payload) != "1" {
		t.Errorf("status %+v", m)
	}
	eventually(t, "the subscriptions of the bridge", func() bool { return s.Stats().Subscriptions >= 3 })
	up := make(chan string, 9)
	s.Handle("up/C7/meter/#", func(m *Inbound) { up <- m.Topic + " " + string(m.Payload) })
	device := below.tool(t, "mosquitto_sub", "-t", "dn/meter/M1/#", "-C", "1", "-W", "30", "-v")
	answer := new(bytes.Buffer)
	device.Stdout = answer
	if err := device.Start(); err != nil {
		t.Fatal(err)
	}
	run(t, below.tool(t, "mosquitto_pub", "-q", "1", "-t", "up/meter/M1/reading", "-m", "42"))
	select {
	case got := <-up:
		if got != "up/C7/meter/M1/reading 42" {
			t.Errorf("upward %q", got)
		}
	case <-time.After(patience):
		t.Fatal("nothing came up")
	}
	// Retained, which the bridge hands on as such: the device may subscribe a little later.
	if n, err := s.Publish("dn/C7/meter/M1/cmd", []byte("read"), 1, true); n != 1 || err != nil {
		t.Errorf("downward: %d, %v", n, err)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		wait(t, device)
	}()
	for waiting := true; waiting; { // the device may have subscribed only after the first
		select {
		case <-left:
			waiting = false
		case <-time.After(200 * time.Millisecond):
			if _, err := s.Publish("dn/C7/meter/M1/cmd", []byte("read"), 1, false); err != nil {
				t.Error(err)
			}
		}
	}
	if answer.String() != "dn/meter/M1/cmd read\n" {
		t.Errorf("downward %q", answer)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.ContainsFunc(in, func(e SessionEvent) bool { return e.ClientID == "C7" && e.Version == mqtt.V311 && !e.Clean }) {
		t.Errorf("sessions %+v", in)
	}
}

// startMosquitto runs a Mosquitto broker with more lines of configuration.
func startMosquitto(t *testing.T, more string) *server {
	t.Helper()
	path := program(t, "mosquitto")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close() // for Mosquitto to take
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\n%s", port, more)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", conf)
	out := new(bytes.Buffer)
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("mosquitto: %s", out)
		}
	})
	eventually(t, "mosquitto", func() bool {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	})
	return &server{addr: addr}
}
