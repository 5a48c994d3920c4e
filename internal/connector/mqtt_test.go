package connector

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// mosquitto is a Mosquitto with its data on the disk.
type mosquitto struct {
	t    testing.TB
	port string
	conf string
	path string
	p    *program
}

func newMosquitto(t testing.TB, more string) *mosquitto {
	t.Helper()
	m := &mosquitto{t: t, port: fmt.Sprint(freePorts(t, 1)[0])}
	var err error
	if m.path, err = exec.LookPath("mosquitto"); err != nil {
		if m.path, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			foreign(t, "Mosquitto (apt-get install mosquitto)")
		}
	}
	for _, tool := range []string{"mosquitto_sub", "mosquitto_rr"} {
		if _, err := exec.LookPath(tool); err != nil {
			foreign(t, tool+" (apt-get install mosquitto-clients)")
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { // started by root it becomes another user
		t.Fatal(err)
	}
	m.conf = filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("user root\nlistener %s 127.0.0.1\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nmax_inflight_messages 0\nlog_dest stderr\nlog_type error\nlog_type information\nlog_type subscribe\n%s", m.port, dir, more)
	if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.p = start(m.t, exec.Command(m.path, "-c", m.conf))
	m.p.expect(m.t, "mosquitto version .* running")
}

// stop ends it in order: it writes what it keeps only then.
func (m *mosquitto) stop() {
	m.t.Helper()
	m.p.stop(m.t)
	for range m.p.lines { // it has nothing more to say that matters
	}
}

func (m *mosquitto) url() string { return "mqtt://127.0.0.1:" + m.port }

func (m *mosquitto) sub(args ...string) *program {
	m.t.Helper()
	return start(m.t, exec.Command("mosquitto_sub", append([]string{"-h", "127.0.0.1", "-p", m.port, "-V", "5"}, args...)...))
}

// TestMQTT: mosquitto_sub takes 10,000 readings from Mosquitto, those of a meter in order, and misses none while it, and then
// Mosquitto, is stopped and started again.
func TestMQTT(t *testing.T) {
	long(t)
	for _, encoding := range []string{Structured, Binary} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			readings := many()
			m := newMosquitto(t, "allow_anonymous true\n")
			subscribe := func() *program {
				p := m.sub("-c", "-i", "billing", "-q", "1", "-t", "out/meter/+/reading", "-F", "got %t|%q|%C|%P|%p")
				m.p.expect(t, "billing 1 out/meter/") // mosquitto_sub itself says it late
				return p
			}
			p := subscribe()
			r := newRig(t, fmt.Sprintf("targets:\n- {name: m, type: mqtt, url: '%s', address: 'out/{kind}/{id}/{name}', events: [reading], encoding: %s, timeout: 10s}\n", m.url(), encoding))
			const line = `^got ([^|]*)\|(\d)\|([^|]*)\|([^|]*)\|(.*)$`
			var l ledger
			check := func(got []string) {
				var uid string
				if encoding == Structured {
					var ev api.Event
					if err := json.Unmarshal([]byte(got[5]), &ev); err != nil || got[3] != "application/cloudevents+json" {
						t.Fatalf("%q, %v", got[0], err)
					}
					uid = ev.ID
				} else if id := regexp.MustCompile(`\bid:(u\d+)\b`).FindStringSubmatch(got[4]); id != nil {
					uid = id[1]
				}
				i := number(t, uid)
				want := event(i)
				if got[1] != "out/meter/"+want.ID+"/reading" || got[2] != "1" {
					t.Fatalf("%q", got[0])
				}
				if encoding == Binary && (got[3] != "application/json" || got[5] != string(want.Data) || !strings.Contains(got[4], "specversion:1.0") || !strings.Contains(got[4], "type:wattbus.reading.v1") ||
					!strings.Contains(got[4], "source:"+want.Source()) || !strings.Contains(got[4], "subject:"+want.ID)) {
					t.Fatalf("%q", got[0])
				}
				l.add(i)
			}
			next := func() { check(p.expect(t, line)) }
			r.publish(readings / 4)
			// All of them: on its way out mosquitto_sub acknowledges what it does not print any more.
			l.take(readings/4, next)
			p.stop(t)
			r.publish(readings / 4)
			r.until("all are at Mosquitto", func() bool { return r.status("m").PendingBatches == 0 })
			p = subscribe()
			l.take(readings/2, next)
			m.stop()
			r.publish(readings / 2)
			r.until("Mosquitto is missed", func() bool { return r.status("m").State == api.TargetWaiting })
			m.start() // mosquitto_sub connects again by itself
			l.take(readings, next)
			l.check(t, readings)
			t.Logf("%d readings, %d of them came again", readings, l.twice)
		})
	}
}

// TestMQTTTrouble: what an operator does wrong is told, and mended without a restart; what is too large is a dead letter.
func TestMQTTTrouble(t *testing.T) {
	long(t)
	t.Parallel()
	dir := t.TempDir()
	passwords, password := filepath.Join(dir, "passwords"), filepath.Join(dir, "password")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", passwords, "wattbus", "right").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	acl := filepath.Join(dir, "acl")
	for name, text := range map[string]string{password: "wrong", acl: "user wattbus\ntopic write out/#\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := newMosquitto(t, fmt.Sprintf("allow_anonymous false\npassword_file %s\nacl_file %s\nmax_packet_size 8000\n", passwords, acl))
	declare := func(more string) string {
		return fmt.Sprintf("targets:\n- {name: m, type: mqtt, url: '%s', events: [reading], timeout: 5s, username: wattbus, password-file: %q, %s}\n", m.url(), password, more)
	}
	r := newRig(t, declare("address: 'out/{id}'"))
	r.waits("m", "not authorized")
	if err := os.WriteFile(password, []byte("right"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.publish(20)
	r.reload(declare("address: 'secret/{id}'"))
	r.waits("m", "topic secret/M0: not authorized")
	r.reload(declare("address: 'out/{id}'"))
	r.large(10_000)
	r.publish(20)
	r.until("all are there or refused", func() bool {
		s := r.status("m")
		return s.Sent == 40 && s.Refused == 1 && s.PendingBatches == 0
	})
	letters, err := r.bus.DeadLetters(t.Context(), 10, 0)
	if err != nil || len(letters) != 1 || !strings.Contains(letters[0].Detail, "at most 8000 allowed") {
		t.Errorf("%+v, %v", letters, err)
	}
}

// TestMQTTCommands: mosquitto_rr asks for commands with a response topic and correlation data.
func TestMQTTCommands(t *testing.T) {
	long(t)
	t.Parallel()
	m := newMosquitto(t, "allow_anonymous true\n")
	r := newRig(t, fmt.Sprintf("targets:\n- {name: m, type: mqtt, url: '%s', commands: {address: 'wattbus/commands', window: 4}}\n", m.url()))
	made := fakeCommands(t, r)
	const body = `{"target":{"meter":"M1"},"type":"disconnect","expiresIn":60}`
	ask := func(qos, token, key, body string) *program {
		args := []string{"-h", "127.0.0.1", "-p", m.port, "-V", "5", "-t", "wattbus/commands", "-e", "answers/erp", "-q", qos, "-W", "60", "-m", body, "-F", "answer %C|%D|%P|%p",
			"-D", "publish", "correlation-data", "order-1", "-D", "publish", "user-property", "wattbus_token", token}
		if key != "" {
			args = append(args, "-D", "publish", "user-property", "wattbus_key", key)
		}
		return start(t, exec.Command("mosquitto_rr", args...))
	}
	r.until("requests are taken", func() bool { c := r.status("m").Commands; return c != nil && c.State == api.TargetConnected })
	for _, tc := range []struct{ qos, token, key, body, status, want string }{
		{"0", "operator", "", body, api.CommandDone, `"id":"1"`},
		{"1", "operator", "k1", body, api.CommandDone, `"id":"2"`},
		{"1", "operator", "k1", body, api.CommandDone, `"id":"2"`},
		{"1", "operator", "", body, "400", "wattbus_key"},
		{"1", "stranger", "k2", body, "401", "nobody's token"},
		{"1", "viewer", "k3", body, "403", "needs the right"},
		{"1", "operator", "k4", "{", "400", "at offset 1: it ends before"},
	} {
		p := ask(tc.qos, tc.token, tc.key, tc.body)
		got := p.expect(t, `^answer ([^|]*)\|([^|]*)\|([^|]*)\|(.*)$`)
		if got[2] != "order-1" || !strings.Contains(got[3], "wattbus_status:"+tc.status) || !strings.Contains(got[4], tc.want) || !strings.Contains(got[1], "json") {
			t.Errorf("%+v: %q", tc, got[0])
		}
	}
	// What comes while nobody is there waits in the session.
	r.stop()
	p := ask("1", "operator", "k5", body)
	time.Sleep(10 * time.Millisecond) // it may come before or after the start
	r.run()
	if got := p.expect(t, `^answer ([^|]*)\|([^|]*)\|([^|]*)\|(.*)$`); !strings.Contains(got[4], `"id":"3"`) {
		t.Errorf("%q", got[0])
	}
	if n := made(); n != 3 {
		t.Errorf("%d commands", n)
	}
}

func TestAckOrder(t *testing.T) {
	a := &ackOrder{}
	var got []int
	var all []*pendingAck
	for n := range 4 {
		all = append(all, a.add(func() bool { got = append(got, n); return true }))
	}
	for _, n := range []int{2, 0, 1, 3} {
		a.finish(all[n])
	}
	if fmt.Sprint(got) != "[0 1 2 3]" {
		t.Error(got)
	}
}
