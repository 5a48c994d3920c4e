package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take; the machine may be busy.
const patience = 30 * time.Second

// server is a broker on a loopback port, ended with the test.
type server struct {
	*broker.Broker
	host, port string
	listeners  int // programs of Mosquitto that are connected
}

func (s *server) addr() string { return net.JoinHostPort(s.host, s.port) }

func start(t *testing.T) *server {
	t.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		st := b.Stats()
		if st.Malformed > 0 || st.Disconnects["fault"] > 0 {
			t.Errorf("%d connections ended for what they sent, %d by a fault", st.Malformed, st.Disconnects["fault"])
		}
	})
	s := &server{Broker: b}
	s.host, s.port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// missing skips the test, or fails it in CI.
func missing(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("WATTBUS_CI") == "1" {
		t.Fatalf("%s is needed: %v", what, err)
	}
	t.Skipf("%s is not installed: %v", what, err)
}

// program finds one of another project.
func program(t *testing.T, names ...string) string {
	t.Helper()
	var err error
	for _, name := range names {
		var path string
		if path, err = exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, names[0], err)
	return ""
}

// run runs a command to its end and wants it to succeed.
func run(t *testing.T, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", path, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("timed out waiting for %s", what)
}

// versions runs a test for each version, or some of them.
func versions(t *testing.T, test func(t *testing.T, s *server, v mqtt.Version), speaks ...mqtt.Version) {
	for _, v := range speaks {
		t.Run(fmt.Sprintf("MQTT %v", v), func(t *testing.T) {
			test(t, start(t), v)
		})
	}
}

// received waits for what a client's callback puts into a channel.
func received[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(patience):
		t.Fatal("nothing received")
		panic("unreachable")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
