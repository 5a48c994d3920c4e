package peers

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

var mosquittoVersion = map[mqtt.Version]string{mqtt.V31: "mqttv31", mqtt.V311: "mqttv311", mqtt.V5: "mqttv5"}

// mosquitto is one of Mosquitto's programs for one version.
func (s *server) mosquitto(t *testing.T, name string, v mqtt.Version, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(program(t, name), append([]string{"-h", s.host, "-p", s.port, "-V", mosquittoVersion[v]}, args...)...)
}

func (s *server) pub(t *testing.T, v mqtt.Version, args ...string) {
	t.Helper()
	out, err := s.mosquitto(t, "mosquitto_pub", v, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("mosquitto_pub %q: %v: %s", args, err, out)
	}
}

// listener is a program that waits for messages.
type listener struct {
	t   *testing.T
	s   *server
	cmd *exec.Cmd
	out bytes.Buffer
}

// listen starts it and waits until it has subscribed.
func (s *server) listen(t *testing.T, name string, v mqtt.Version, args ...string) *listener {
	t.Helper()
	eventually(t, "the end of programs that have ended", func() bool { return s.Stats().Connections == s.listeners })
	before := s.Stats().Subscriptions
	l := &listener{t: t, s: s, cmd: s.mosquitto(t, name, v, args...)}
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.out
	check(t, l.cmd.Start())
	s.listeners++
	t.Cleanup(func() {
		if l.cmd.ProcessState == nil {
			l.kill()
		}
	})
	eventually(t, "the subscription of "+name, func() bool { return s.Stats().Subscriptions > before })
	return l
}

func (l *listener) kill() {
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait() // killed
	l.s.listeners--
}

// end waits for its end and compares what it has printed.
func (l *listener) end(want string) {
	l.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = l.cmd.Process.Kill() })
	err := l.cmd.Wait()
	timer.Stop()
	l.s.listeners--
	if err != nil || l.out.String() != want {
		l.t.Errorf("%q: %v: got %q, want %q", l.cmd.Args, err, l.out.String(), want)
	}
}

// sub runs mosquitto_sub for what is there already.
func (s *server) sub(t *testing.T, v mqtt.Version, want string, args ...string) {
	t.Helper()
	out, err := s.mosquitto(t, "mosquitto_sub", v, append(args, "-W", "20")...).CombinedOutput()
	if err != nil || string(out) != want {
		t.Errorf("mosquitto_sub %q: %v: got %q, want %q", args, err, out, want)
	}
}

func TestMosquitto(t *testing.T) {
	versions(t, func(t *testing.T, s *server, v mqtt.Version) {
		for _, step := range []struct {
			name string
			run  func(t *testing.T, s *server, v mqtt.Version)
		}{
			{"QoS", mosquittoQoS}, {"retained", mosquittoRetained}, {"will", mosquittoWill}, {"session", mosquittoSession},
		} {
			t.Run(step.name, func(t *testing.T) { step.run(t, s, v) })
		}
	}, mqtt.V31, mqtt.V311, mqtt.V5)
}

func mosquittoQoS(t *testing.T, s *server, v mqtt.Version) {
	for published := range 3 {
		for asked := range 3 {
			sub := s.listen(t, "mosquitto_sub", v, "-q", strconv.Itoa(asked), "-t", "q/+/#", "-C", "3", "-F", "%t %q %r %p")
			for i := range 3 {
				s.pub(t, v, "-q", strconv.Itoa(published), "-t", "q/a/b", "-m", strconv.Itoa(i))
			}
			line := fmt.Sprintf("q/a/b %d 0 ", min(asked, published))
			sub.end(line + "0\n" + line + "1\n" + line + "2\n")
		}
	}
}

func mosquittoRetained(t *testing.T, s *server, v mqtt.Version) {
	s.pub(t, v, "-q", "1", "-r", "-t", "r", "-m", "kept")
	s.sub(t, v, "1 kept\n", "-q", "1", "-t", "r", "-C", "1", "-F", "%r %p")
	s.pub(t, v, "-q", "1", "-r", "-n", "-t", "r")
	sub := s.listen(t, "mosquitto_sub", v, "-q", "1", "-t", "r", "-C", "1", "-F", "%r %p")
	s.pub(t, v, "-q", "1", "-t", "r", "-m", "new")
	sub.end("0 new\n")
}

func mosquittoWill(t *testing.T, s *server, v mqtt.Version) {
	watch := s.listen(t, "mosquitto_sub", v, "-q", "1", "-t", "w", "-C", "1", "-F", "%r %p")
	mortal := s.listen(t, "mosquitto_sub", v, "-t", "x", "--will-topic", "w", "--will-payload", "gone", "--will-qos", "1", "--will-retain")
	mortal.kill()
	watch.end("0 gone\n")
	s.sub(t, v, "1 gone\n", "-q", "1", "-t", "w", "-C", "1", "-F", "%r %p")
}

func mosquittoSession(t *testing.T, s *server, v mqtt.Version) {
	args := []string{"-i", "away", "-c", "-q", "2", "-t", "s/#"}
	if v == mqtt.V5 {
		args = append(args, "-x", "300")
	}
	s.sub(t, v, "", append(args, "-E")...)
	var lines strings.Builder
	for i := range 100 {
		fmt.Fprintf(&lines, "message %d\n", i)
	}
	for _, qos := range []string{"1", "2"} {
		pub := s.mosquitto(t, "mosquitto_pub", v, "-q", qos, "-t", "s/x", "-l")
		pub.Stdin = strings.NewReader(lines.String())
		if out, err := pub.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	s.sub(t, v, lines.String()+lines.String(), append(args, "-C", "200")...)
}

// TestMosquittoRequest: mosquitto_rr asks and gets its answer.
func TestMosquittoRequest(t *testing.T) {
	versions(t, func(t *testing.T, s *server, v mqtt.Version) {
		args := []string{"-q", "1", "-t", "ask", "-e", "answer", "-m", "?", "-W", "20"}
		if v == mqtt.V5 {
			args = append(args, "-D", "publish", "correlation-data", "42")
		}
		question := s.listen(t, "mosquitto_sub", v, "-q", "1", "-t", "ask", "-C", "1", "-F", "%p")
		rr := s.mosquitto(t, "mosquitto_rr", v, args...)
		var out bytes.Buffer
		rr.Stdout, rr.Stderr = &out, &out
		check(t, rr.Start())
		question.end("?\n")
		// It has subscribed to the answer before it asked.
		s.pub(t, v, "-q", "1", "-t", "answer", "-m", "!")
		if err := rr.Wait(); err != nil || out.String() != "!\n" {
			t.Errorf("mosquitto_rr: %v: %q", err, out.String())
		}
	}, mqtt.V311, mqtt.V5)
}

// TestMosquittoProperties: what -D sends, -F prints.
func TestMosquittoProperties(t *testing.T) { versions(t, mosquittoProperties, mqtt.V5) }

func mosquittoProperties(t *testing.T, s *server, v mqtt.Version) {
	sub := s.listen(t, "mosquitto_sub", v, "-q", "1", "-t", "p", "-C", "1", "-D", "subscribe", "subscription-identifier", "42",
		"-F", "%C|%D|%F|%P|%R|%S|%p")
	s.pub(t, v, "-q", "1", "-t", "p", "-m", "x", "-D", "publish", "content-type", "text", "-D", "publish", "correlation-data", "7",
		"-D", "publish", "payload-format-indicator", "1", "-D", "publish", "user-property", "k", "v", "-D", "publish", "response-topic", "r")
	sub.end("text|7|1|k:v|r|42|x\n")

	local := s.listen(t, "mosquitto_sub", v, "-i", "local", "-q", "1", "-t", "l", "--retain-as-published", "-C", "1", "-F", "%r %p")
	s.pub(t, v, "-q", "1", "-r", "-t", "l", "-m", "x")
	local.end("1 x\n")

	short := []string{"-i", "short", "-c", "-x", "300", "-q", "1", "-t", "e"}
	s.sub(t, v, "", append(short, "-E")...)
	s.pub(t, v, "-q", "1", "-t", "e", "-m", "late", "-D", "publish", "message-expiry-interval", "1")
	s.pub(t, v, "-q", "1", "-t", "e", "-m", "in time", "-D", "publish", "message-expiry-interval", "100")
	time.Sleep(2100 * time.Millisecond) // the time itself is what is tested
	s.sub(t, v, "in time\n", append(short, "-C", "1")...)
}
