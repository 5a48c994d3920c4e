package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// natsServer is a NATS of another party, with its data on the disk.
type natsServer struct {
	t testing.TB
	o server.Options
	s *server.Server
}

func newNATS(t testing.TB, change func(*server.Options)) *natsServer {
	t.Helper()
	n := &natsServer{t: t, o: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir()}}
	if change != nil {
		change(&n.o)
	}
	n.start()
	t.Cleanup(func() { n.stop() })
	return n
}

func (n *natsServer) start() {
	n.t.Helper()
	o := n.o
	s, err := server.NewServer(&o)
	if err != nil {
		n.t.Fatal(err)
	}
	n.s = s
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		n.t.Fatal("NATS does not start")
	}
	n.o.Port = o.Port
}

func (n *natsServer) stop() {
	n.s.Shutdown()
	n.s.WaitForShutdown()
}

func (n *natsServer) addr() string { return fmt.Sprintf("127.0.0.1:%d", n.o.Port) }

func (n *natsServer) client(opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	n.t.Helper()
	c, err := nats.Connect("nats://"+n.addr(), append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(c.Close)
	js, err := jetstream.New(c)
	if err != nil {
		n.t.Fatal(err)
	}
	return c, js
}

// TestNATS: 10,000 readings come into a stream, those of a meter in order and each once, while the server is stopped and started again.
func TestNATS(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{Structured, Binary} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			readings := many()
			n := newNATS(t, nil)
			_, js := n.client()
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "METERS", Subjects: []string{"meters.>"}}); err != nil {
				t.Fatal(err)
			}
			r := newRig(t, fmt.Sprintf("targets:\n- {name: n, type: nats, url: 'nats://%s', address: 'meters.{kind}.{name}.{id}', events: [reading], encoding: %s, timeout: 5s}\n", n.addr(), encoding))
			r.publish(readings / 2)
			r.until("some are there", func() bool { return r.status("n").Sent >= int64(readings/4) })
			n.stop()
			r.publish(readings / 2)
			r.until("NATS is missed", func() bool { return r.status("n").State == api.TargetWaiting })
			n.start()
			r.until("all are there", func() bool { return r.status("n").PendingBatches == 0 })
			in, err := js.OrderedConsumer(t.Context(), "METERS", jetstream.OrderedConsumerConfig{})
			if err != nil {
				t.Fatal(err)
			}
			var l ledger
			for range readings {
				m, err := in.Next(jetstream.FetchMaxWait(30 * time.Second))
				if err != nil {
					t.Fatal(err)
				}
				id, h := m.Headers().Get("ce-id"), m.Headers()
				var ev api.Event
				if encoding == Structured {
					if err := json.Unmarshal(m.Data(), &ev); err != nil || h.Get("Content-Type") != "application/cloudevents+json" {
						t.Fatalf("%v %s, %v", h, m.Data(), err)
					}
					id = ev.ID
				}
				i := number(t, id)
				want := event(i)
				if m.Subject() != "meters.meter.reading."+want.ID || h.Get(nats.MsgIdHdr) != want.UID || encoding == Binary && (h.Get("ce-type") != "wattbus.reading.v1" ||
					h.Get("ce-source") != want.Source() || h.Get("ce-subject") != want.ID || h.Get("ce-datacontenttype") != "application/json" || h.Get("Content-Type") != "" || !bytes.Equal(m.Data(), want.Data)) {
					t.Fatalf("%s %v %s", m.Subject(), h, m.Data())
				}
				l.add(i)
			}
			l.check(t, readings)
			if s, err := js.Stream(t.Context(), "METERS"); err != nil || s.CachedInfo().State.Msgs != uint64(readings) {
				t.Errorf("%+v, %v", s.CachedInfo().State, err)
			}
			// Again, and none is kept twice.
			r.publish(10)
			r.until("they are there", func() bool { return r.status("n").PendingBatches == 0 })
			if _, err := bus.Request[api.TargetReplay, api.TargetStatus](t.Context(), r.bus, api.QueryTargetReplay, api.TargetReplay{Name: "n", From: time.Now().Add(-time.Hour)}); err != nil {
				t.Fatal(err)
			}
			r.until("they came again", func() bool { s := r.status("n"); return s.PendingBatches == 0 && s.Sent >= int64(readings) })
			if s, err := js.Stream(t.Context(), "METERS"); err != nil || s.CachedInfo().State.Msgs != uint64(readings+10) {
				t.Errorf("%+v, %v", s.CachedInfo().State, err)
			}
		})
	}
}

// TestNATSTrouble: what an operator does wrong is told, and mended without a restart; what is too large is a dead letter.
func TestNATSTrouble(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, ca := certificate(t, dir)
	n := newNATS(t, func(o *server.Options) {
		o.TLSConfig, o.MaxPayload = cert, 8192
		o.Users = []*server.User{{Username: "root", Password: "root"}, {Username: "wattbus", Password: "right", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Deny: []string{"secret.>"}},
			Subscribe: &server.SubjectPermission{Deny: []string{"secret.>"}}}}}
	})
	_, js := n.client(nats.UserInfo("root", "root"), nats.RootCAs(ca))
	declare := func(address, more string) string {
		return fmt.Sprintf("targets:\n- {name: n, type: nats, url: 'tls://%s', address: '%s', events: [reading], timeout: 2s, username: wattbus, password-file: %q, tls: {ca: %q}%s}\n",
			n.addr(), address, password, ca, more)
	}
	r := newRig(t, declare("meters.{id}", ""))
	r.waits("n", "Authorization Violation")
	if err := os.WriteFile(password, []byte("right"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reload(declare("meters.{id}", ""))
	r.waits("n", "no stream keeps subject meters.*; make one there, or set nats.core")
	r.publish(20)
	r.reload(declare("secret.{id}", ", nats: {core: true}"))
	r.waits("n", "Permissions Violation for Publish")
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "METERS", Subjects: []string{"meters.>"}, MaxMsgSize: 4096}); err != nil {
		t.Fatal(err)
	}
	r.reload(declare("meters.{id}", ""))
	r.large(5000)
	r.large(10_000)
	r.publish(20)
	r.until("all are there or refused", func() bool {
		s := r.status("n")
		return s.Sent == 40 && s.Refused == 2 && s.PendingBatches == 0
	})
	letters, err := r.bus.DeadLetters(t.Context(), 10, 0)
	if err != nil || len(letters) != 2 || !slices.ContainsFunc(letters, func(l bus.DeadLetter) bool { return strings.Contains(l.Detail, "message size exceeds") }) ||
		!slices.ContainsFunc(letters, func(l bus.DeadLetter) bool { return strings.Contains(l.Detail, "maximum payload") }) {
		t.Errorf("%+v, %v", letters, err)
	}
}

func TestWaves(t *testing.T) {
	var all []bus.OutEvent
	for _, id := range []string{"a", "b", "a", "a", "c", "b"} {
		all = append(all, bus.OutEvent{ID: id})
	}
	if got := fmt.Sprint(waves(all)); got != "[[0 1 4] [2 5] [3]]" {
		t.Error(got)
	}
}

// TestNATSCore: who subscribes gets events; commands are asked for by request and reply.
func TestNATSCore(t *testing.T) {
	n := newNATS(t, func(o *server.Options) { o.JetStream = false; o.Authorization = "hush" })
	c, _ := n.client(nats.Token("hush"))
	in, err := c.SubscribeSync("wattbus.reading.*")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WATTBUS_TEST_TOKEN", "hush")
	r := newRig(t, fmt.Sprintf("targets:\n- {name: n, type: nats, url: 'nats://%s', address: 'wattbus.{name}.{id}', events: [reading], password-env: WATTBUS_TEST_TOKEN, nats: {core: true}, commands: {address: wattbus.commands}}\n", n.addr()))
	made := fakeCommands(t, r)
	r.publish(1000)
	var l ledger
	for range 1000 {
		m, err := in.NextMsg(30 * time.Second)
		var ev api.Event
		if err != nil || json.Unmarshal(m.Data, &ev) != nil {
			t.Fatalf("%v, %v", m, err)
		}
		l.add(number(t, ev.ID))
	}
	l.check(t, 1000)
	ask := func(token, key, body string) (*nats.Msg, error) {
		q := nats.NewMsg("wattbus.commands")
		q.Data = []byte(body)
		q.Header.Set("wattbus_token", token)
		q.Header.Set("wattbus_key", key)
		return c.RequestMsg(q, 30*time.Second)
	}
	const body = `{"target":{"meter":"M1"},"type":"disconnect","expiresIn":60}`
	r.until("requests are taken", func() bool { _, err := ask("", "", "{}"); return !errors.Is(err, nats.ErrNoResponders) })
	for _, tc := range []struct{ token, key, body, status, want string }{
		{"operator", "", body, api.CommandDone, `"id":"1"`},
		{"operator", "k1", body, api.CommandDone, `"id":"2"`},
		{"operator", "k1", body, api.CommandDone, `"id":"2"`},
		{"stranger", "", body, "401", "nobody's token"},
		{"viewer", "", body, "403", "needs the right"},
		{"operator", "", `{"target":{"meter":"M1"},"type":"disconnect","force":true}`, "400", "force"},
	} {
		m, err := ask(tc.token, tc.key, tc.body)
		if err != nil || m.Header.Get("wattbus_status") != tc.status || !strings.Contains(string(m.Data), tc.want) {
			t.Errorf("%+v: %v, %v", tc, m, err)
		}
	}
	if n := made(); n != 2 {
		t.Errorf("%d commands", n)
	}
}
