package connector

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// rabbitServer is where Debian has the server; the one in the PATH insists on being a service.
const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// rabbit is a RabbitMQ of its own with the plug-in for AMQP 1.0, with its data on the disk.
type rabbit struct {
	t    testing.TB
	dir  string
	addr string
	env  []string
	p    *program
}

func newRabbit(t testing.TB) *rabbit {
	t.Helper()
	if _, err := os.Stat(rabbitServer); err != nil {
		foreign(t, "RabbitMQ (apt-get install rabbitmq-server)")
	}
	if err := exec.Command("/usr/bin/python3", "-c", "import proton").Run(); err != nil {
		foreign(t, "Qpid Proton for Python (apt-get install python3-qpid-proton)")
	}
	ports := freePorts(t, 3)
	r := &rabbit{t: t, dir: t.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	if err := os.WriteFile(filepath.Join(r.dir, "plugins"), []byte("[rabbitmq_amqp1_0].\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.env = append(os.Environ(), "HOME="+r.dir, "RABBITMQ_NODENAME=wattbus"+fmt.Sprint(ports[0])+"@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+fmt.Sprint(ports[0]), "RABBITMQ_DIST_PORT="+fmt.Sprint(ports[1]), "ERL_EPMD_PORT="+fmt.Sprint(ports[2]), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_MNESIA_BASE="+r.dir, "RABBITMQ_LOG_BASE="+r.dir, "RABBITMQ_LOGS=-", "RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(r.dir, "plugins"),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(r.dir, "none"), "RABBITMQ_CONF_ENV_FILE="+filepath.Join(r.dir, "none.conf"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2 +sbwt none")
	t.Cleanup(func() { // the port mapper that Erlang starts stays otherwise
		if r.p != nil {
			r.p.kill()
		}
		cmd := exec.Command("epmd", "-kill")
		cmd.Env = r.env
		_ = cmd.Run() // it may not have come to be
	})
	return r
}

func (r *rabbit) start() {
	r.t.Helper()
	cmd := exec.Command(rabbitServer)
	cmd.Env, cmd.Dir = r.env, r.dir
	r.p = start(r.t, cmd)
	r.p.expect(r.t, "Server startup complete")
}

func (r *rabbit) client(what, address string, args ...string) *program {
	r.t.Helper()
	return start(r.t, exec.Command("/usr/bin/python3", append([]string{"testdata/amqp_client.py", what, "amqp://" + r.addr, address}, args...)...))
}

// ask starts a program that sends requests with these bodies, each behind its kind, one after the other, and prints the answers.
func (r *rabbit) ask(address, token, key string, bodies ...string) *program {
	r.t.Helper()
	return r.client("request", address, append([]string{token, key}, bodies...)...)
}

// TestAMQP: a program that speaks AMQP 1.0 takes 10,000 readings from a durable queue of RabbitMQ, those of a meter in order, and
// misses none while it, and then RabbitMQ, is killed and started again; it asks for commands and gets the results; what is malformed is answered
// and becomes a dead letter that names the field and the offset; and it opens the breaker of a meter through a centre and a concentrator.
func TestAMQP(t *testing.T) {
	long(t)
	t.Parallel()
	const readings = 10_000
	rmq := newRabbit(t)
	rmq.start()
	const line = `^got (\S+) (\S+) (\S+) (\S+) (.*)$`
	var l ledger
	var p *program
	check := func(got []string) {
		i := number(t, got[1])
		var ev api.Event
		if want := event(i); got[2] != "meter/"+want.ID || got[3] != "wattbus.reading.v1" || got[4] != "True" || json.Unmarshal([]byte(got[5]), &ev) != nil || ev.ID != want.UID {
			t.Fatalf("%q", got[0])
		}
		l.add(i)
	}
	next := func() { check(p.expect(t, line)) }
	subscribe := func() {
		p = rmq.client("subscribe", "/queue/readings")
		p.expect(t, "^ready$")
	}
	subscribe()
	r := newRig(t, fmt.Sprintf("targets:\n- {name: mq, type: amqp, url: 'amqp://%s', address: /queue/readings, events: [reading], timeout: 10s, commands: {address: /queue/wattbus.commands}}\n", rmq.addr))
	made := fakeCommands(t, r)
	r.publish(readings / 4)
	l.take(readings/8, next)
	p.kill()
	p.drain(line, check)
	r.publish(readings / 4)
	r.until("all are at RabbitMQ", func() bool { return r.status("mq").PendingBatches == 0 })
	subscribe()
	r.publish(readings / 4)
	l.take(readings*5/8, next)
	rmq.p.kill()
	r.publish(readings / 4)
	r.until("RabbitMQ is missed", func() bool { return r.status("mq").State == api.TargetWaiting })
	rmq.start()
	l.take(readings, next)
	l.check(t, readings)
	t.Logf("%d readings, %d of them came again", readings, l.twice)

	const body = `{"target":{"meter":"M1"},"type":"disconnect","expiresIn":60}`
	const answer = `^answer (\S+) (\S+) (.*)$` // to which request, state or status, JSON
	for _, tc := range []struct {
		token, key   string
		times        int
		status, want string
	}{
		{"operator", "order-4711", 2, api.CommandDone, `"breaker":"open"`},
		{"viewer", "", 1, "403", "needs the right"},
	} {
		p := rmq.ask("/queue/wattbus.commands", tc.token, tc.key, slices.Repeat([]string{"text:" + body}, tc.times)...)
		for n := range tc.times {
			if got := p.expect(t, answer); got[1] != fmt.Sprintf("order-%d", n) || got[2] != tc.status || !strings.Contains(got[3], tc.want) {
				t.Errorf("%q", got[0])
			}
		}
	}
	malformed := []struct{ body, detail string }{
		{"text:no JSON", "at offset 1: invalid character 'o'"},
		{`text:{"target":{"meter":"M1"},"type":7}`, "type: at offset 32: number, want a string"},
		{`text:{"target":{"meter":"M1"},"type":"disconnect","force":true}`, "force: at offset 53: there is no such field"},
		{`text:{"target":{"meter":"none"},"type":"ping"}`, "no meter none"},
		{"binary:7b22747970650022", "at offset 6: invalid character"},
		{"binary:fffe00", "at offset 0: invalid character"},
		{"number:7", "the message's body is the value 7, want JSON"},
		{"map:ping", "the message's body is a map, want JSON"},
		{"list:ping", "the message's body is a list, want JSON"},
		{"none:", "the message has 0 bytes"},
	}
	var bodies []string
	for _, m := range malformed {
		bodies = append(bodies, m.body)
	}
	p = rmq.ask("/queue/wattbus.commands", "operator", "", bodies...)
	for i, m := range malformed {
		if got := p.expect(t, answer); got[1] != fmt.Sprintf("order-%d", i) || got[2] != "400" && got[2] != "404" {
			t.Errorf("%s: %q", m.body, got[0])
		}
	}
	letters, err := r.bus.DeadLetters(t.Context(), 100, 0)
	if err != nil || len(letters) != 1+len(malformed) { // the viewer's, and these
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
	for _, m := range malformed {
		if !slices.ContainsFunc(letters, func(l bus.DeadLetter) bool {
			return l.Reason == "command" && l.Topic == "target/mq/commands" && strings.Contains(l.Detail, m.detail)
		}) {
			t.Errorf("no dead letter says %q: %+v", m.detail, letters)
		}
	}
	if n := made(); n != 1 {
		t.Errorf("%d commands were made", n)
	}

	w := newWhole(t, fmt.Sprintf("targets:\n- {name: mq, type: amqp, url: 'amqp://%s', address: '/topic/whole.{name}', events: [command], commands: {address: /queue/wattbus.whole}}\n", rmq.addr))
	p = rmq.ask("/queue/wattbus.whole", w.token, "whole", "text:"+body)
	got := p.expect(t, answer)
	w.opens(got[2], got[3])
}
