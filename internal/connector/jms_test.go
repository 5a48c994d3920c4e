package connector

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// foreign skips a test whose outside program is missing; in CI it has to be there.
func foreign(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("WATTBUS_CI") != "" {
		t.Fatalf("%s is missing, and CI needs it", what)
	}
	t.Skipf("not tested: %s is missing", what)
}

// long skips what -short leaves out: tests against servers of others, which the race detector sees nothing of.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts the servers of others")
	}
}

// classPath is that of ActiveMQ and of programs that use it, as Debian's libactivemq-java has them.
func classPath(t testing.TB) string {
	t.Helper()
	var all []string
	for _, n := range []string{"activemq-broker", "activemq-client", "activemq-kahadb-store", "activemq-openwire-legacy", "activemq-stomp", "activemq-console",
		"activemq-protobuf", "geronimo-jms_1.1_spec", "geronimo-j2ee-management-1.1-spec", "geronimo-jta-1.2-spec", "hawtbuf", "slf4j-api", "slf4j-simple", "activeio-core"} {
		jar := "/usr/share/java/" + n + ".jar"
		if _, err := os.Stat(jar); err != nil {
			foreign(t, jar+" (apt-get install libactivemq-java)")
		}
		all = append(all, jar)
	}
	return strings.Join(all, ":")
}

// program is a process whose output is read line by line.
type program struct {
	cmd   *exec.Cmd
	lines chan string // closed when it has ended
	mu    sync.Mutex
	log   []string
}

// start runs a program that is killed at the end of the test.
func start(t testing.TB, cmd *exec.Cmd) *program {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	p := &program{cmd: cmd, lines: make(chan string, 100_000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(p.lines)
		defer out.Close()
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			p.mu.Lock()
			p.log = append(p.log, line)
			p.mu.Unlock()
			p.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	t.Cleanup(func() {
		p.kill()
		<-ended
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("%s said, at the end:\n%s", filepath.Base(cmd.Path), strings.Join(p.log[max(len(p.log)-20, 0):], ""))
		}
	})
	return p
}

// kill ends it and all that it started, without a chance to say goodbye.
func (p *program) kill() {
	if p.cmd.ProcessState == nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = p.cmd.Wait()                                      // it was killed
	}
}

// stop asks it to end; its lines end when it has.
func (p *program) stop(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// drain reads what it has printed, to its end, and calls f with the groups of each line that matches.
func (p *program) drain(re string, f func(groups []string)) {
	x := regexp.MustCompile(re)
	for line := range p.lines {
		if m := x.FindStringSubmatch(line); m != nil {
			f(m)
		}
	}
}

// expect reads lines until one matches, and returns its groups.
func (p *program) expect(t testing.TB, re string) []string {
	t.Helper()
	x := regexp.MustCompile(re)
	end := time.After(4 * time.Minute)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("it ended before it said %s", re)
			}
			if m := x.FindStringSubmatch(line); m != nil {
				return m
			}
		case <-end:
			t.Fatalf("not within four minutes: %s", re)
		}
	}
}

// activeMQ is a broker of its own, with its data on the disk. Ports are free ones at the first start and the same ones afterwards.
type activeMQ struct {
	t          testing.TB
	cp, dir    string
	stomp, jms string
	p          *program
}

func newActiveMQ(t testing.TB) *activeMQ {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		foreign(t, "javac (apt-get install default-jdk-headless)")
	}
	a := &activeMQ{t: t, cp: classPath(t), dir: t.TempDir(), stomp: "127.0.0.1:0", jms: "127.0.0.1:0"}
	a.start()
	return a
}

func (a *activeMQ) start() {
	a.t.Helper()
	a.p = start(a.t, exec.Command("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dactivemq.home="+a.dir, "-cp", a.cp, "org.apache.activemq.console.command.ShellCommand", "start",
		fmt.Sprintf("broker:(stomp://%s,tcp://%s)?persistent=true&useJmx=false&dataDirectory=%s", a.stomp, a.jms, a.dir)))
	a.stomp = "127.0.0.1:" + a.p.expect(a.t, `Listening for connections at: stomp://[^:]*:(\d+)`)[1]
	a.jms = "127.0.0.1:" + a.p.expect(a.t, `Listening for connections at: tcp://[^:]*:(\d+)`)[1]
	a.p.expect(a.t, `Apache ActiveMQ .* started`)
}

// compile makes classes of the Java program and returns where they are.
func (a *activeMQ) compile() string {
	a.t.Helper()
	dir := a.t.TempDir()
	if out, err := exec.Command("javac", "-cp", a.cp, "-d", dir, "testdata/JmsClient.java").CombinedOutput(); err != nil {
		a.t.Fatalf("javac: %v\n%s", err, out)
	}
	return dir
}

func (a *activeMQ) client(classes string, args ...string) *program {
	a.t.Helper()
	return start(a.t, exec.Command("java", append([]string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", a.cp + ":" + classes, "JmsClient"}, args...)...))
}

// TestJMS: a Java program that is a durable subscriber of ActiveMQ gets 10,000 readings that the centre sends by STOMP, those of a
// meter in order, and misses none while it, and then ActiveMQ, is killed and started again.
func TestJMS(t *testing.T) {
	long(t)
	t.Parallel()
	const readings = 10_000
	a := newActiveMQ(t)
	classes := a.compile()
	subscribe := func() *program {
		p := a.client(classes, "subscribe", "failover:(tcp://"+a.jms+")?maxReconnectDelay=200", "wattbus.reading")
		p.expect(t, "^ready$")
		return p
	}
	p := subscribe()
	r := newRig(t, fmt.Sprintf("targets:\n- {name: jms, type: stomp, url: 'stomp://%s', address: '/topic/wattbus.{name}', events: [reading], timeout: 10s}\n", a.stomp))
	var l ledger
	const line = `^got (\S+) (\S+) (\S+) (\S+) (.*)$`
	check := func(got []string) {
		i := number(t, got[1])
		var ev api.Event
		if want := event(i); got[2] != "meter/"+want.ID || got[3] != "wattbus.reading.v1" || got[4] != "true" || json.Unmarshal([]byte(got[5]), &ev) != nil || ev.ID != want.UID || ev.Subject != want.ID {
			t.Fatalf("%q", got[0])
		}
		l.add(i)
	}
	next := func() { check(p.expect(t, line)) }
	r.publish(readings / 4)
	l.take(readings/8, next)
	p.kill()
	p.drain(line, check) // of that it gets again what it has not acknowledged
	r.publish(readings / 4)
	r.until("all are at ActiveMQ", func() bool { return r.status("jms").PendingBatches == 0 })
	p = subscribe()
	r.publish(readings / 4)
	l.take(readings*5/8, next)
	a.p.kill()
	r.publish(readings / 4)
	r.until("ActiveMQ is missed", func() bool { return r.status("jms").State == api.TargetWaiting })
	a.start()
	l.take(readings, next)
	l.check(t, readings)
	t.Logf("%d readings, %d of them came again", readings, l.twice)
}

// TestJMSCommands: a Java program asks for a command with JMSReplyTo and JMSCorrelationID and gets the result; a request that comes
// twice is carried out once, one without a token not at all. Then it opens the breaker of a meter, through a centre and a concentrator.
func TestJMSCommands(t *testing.T) {
	long(t)
	t.Parallel()
	a := newActiveMQ(t)
	classes := a.compile()
	r := newRig(t, fmt.Sprintf("targets:\n- {name: jms, type: stomp, url: 'stomp://%s', commands: {address: /queue/wattbus.commands}}\n", a.stomp))
	made := fakeCommands(t, r)
	const body = `{"target":{"meter":"M1"},"type":"disconnect","expiresIn":60}`
	ask := func(token, key, body string, times int) *program {
		return a.client(classes, "request", "tcp://"+a.jms, "wattbus.commands", token, key, body, fmt.Sprint(times))
	}
	p := ask("operator", "", body, 1)
	got := p.expect(t, `^answer (\S+) (\S+) (.*)$`)
	var cmd api.Command
	if err := json.Unmarshal([]byte(got[3]), &cmd); err != nil || got[1] != "order-0" || got[2] != api.CommandDone || cmd.ID != "1" || cmd.By != "erp" || cmd.Result == nil || cmd.Result.Breaker != "open" {
		t.Errorf("%q, %v", got[0], err)
	}
	p = ask("operator", "order-4711", body, 2)
	for range 2 {
		if got := p.expect(t, `^answer (\S+) (\S+) (.*)$`); got[2] != api.CommandDone || !strings.Contains(got[3], `"id":"2"`) {
			t.Errorf("%q", got[0])
		}
	}
	for _, tc := range []struct{ token, body, status, detail string }{
		{"", body, "401", "no property wattbus_token"},
		{"stranger", body, "401", "nobody's token"},
		{"viewer", body, "403", "needs the right"},
		{"operator", `{"target":{"meter":"M1"},"type":"disconnect","force":true}`, "400", "at offset 53: there is no such field"},
		{"operator", `{"target":{"meter":"none"},"type":"ping"}`, "404", "none"},
	} {
		p := ask(tc.token, "", tc.body, 1)
		if got := p.expect(t, `^answer (\S+) (\S+) (.*)$`); got[2] != tc.status || !strings.Contains(got[3], tc.detail) {
			t.Errorf("%+v: %q", tc, got[0])
		}
	}
	if n := made(); n != 2 {
		t.Errorf("%d commands were made", n)
	}
	if letters, err := r.bus.DeadLetters(t.Context(), 10, 0); err != nil || len(letters) != 5 {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}

	w := newWhole(t, fmt.Sprintf("targets:\n- {name: jms, type: stomp, url: 'stomp://%s', address: '/topic/whole.{name}', events: [command], commands: {address: /queue/wattbus.whole}}\n", a.stomp))
	p = a.client(classes, "request", "tcp://"+a.jms, "wattbus.whole", w.token, "", body, "1")
	got = p.expect(t, `^answer (\S+) (\S+) (.*)$`)
	w.opens(got[2], got[3])
}
