package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// fakeKafka is a cluster of kfake with its data on the disk. It has no process: stop takes its listeners away.
type fakeKafka struct {
	t     testing.TB
	c     *kfake.Cluster
	port  int
	opts  []kfake.Opt
	ended bool
}

func newKafka(t testing.TB, opts ...kfake.Opt) *fakeKafka {
	t.Helper()
	k := &fakeKafka{t: t, opts: append([]kfake.Opt{kfake.NumBrokers(1), kfake.DataDir(t.TempDir()), kfake.SyncWrites()}, opts...)}
	k.start(kfake.SeedTopics(3, "wattbus.reading", "wattbus.commands"), kfake.SeedTopics(1, "answers"))
	t.Cleanup(k.stop)
	return k
}

func (k *fakeKafka) start(more ...kfake.Opt) {
	k.t.Helper()
	c, err := kfake.NewCluster(append(append(more, kfake.Ports(k.port)), k.opts...)...)
	if err != nil {
		k.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(c.ListenAddrs()[0])
	if err != nil {
		k.t.Fatal(err)
	}
	if _, err := fmt.Sscan(port, &k.port); err != nil {
		k.t.Fatal(err)
	}
	k.c, k.ended = c, false
}

func (k *fakeKafka) stop() {
	if !k.ended {
		k.ended = true
		k.c.Close()
	}
}

func (k *fakeKafka) addr() string { return fmt.Sprintf("127.0.0.1:%d", k.port) }

// client is another program's.
func (k *fakeKafka) client(opts ...kgo.Opt) *kgo.Client {
	k.t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(k.addr()))...)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(c.Close)
	return c
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// poll waits for records.
func poll(t testing.TB, c *kgo.Client) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := c.PollFetches(ctx)
	if errors.Is(all.Err0(), context.DeadlineExceeded) {
		t.Fatal("no record within a minute")
	}
	return all.Records()
}

// TestKafka: a consumer gets 10,000 readings, those of a meter from one partition and in order, and misses none while the cluster is
// stopped and started again in the midst of them.
func TestKafka(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{Structured, Binary} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			readings := many()
			k := newKafka(t)
			r := newRig(t, fmt.Sprintf("targets:\n- {name: k, type: kafka, url: 'kafka://%s', address: 'wattbus.{name}', events: [reading], encoding: %s, timeout: 2s}\n", k.addr(), encoding))
			in := k.client(kgo.ConsumeTopics("wattbus.reading"))
			var l ledger
			partition := map[string]int32{}
			check := func(rec *kgo.Record) {
				id := header(rec, "ce_id")
				var ev api.Event
				if encoding == Structured {
					if err := json.Unmarshal(rec.Value, &ev); err != nil || header(rec, "content-type") != "application/cloudevents+json" {
						t.Fatalf("%v %s, %v", rec.Headers, rec.Value, err)
					}
					id = ev.ID
				}
				i := number(t, id)
				want := event(i)
				if encoding == Binary && (header(rec, "content-type") != "application/json" || header(rec, "ce_type") != "wattbus.reading.v1" || header(rec, "ce_specversion") != "1.0" ||
					header(rec, "ce_source") != want.Source() || header(rec, "ce_subject") != want.ID || header(rec, "ce_time") == "" || !bytes.Equal(rec.Value, want.Data)) {
					t.Fatalf("%v %s", rec.Headers, rec.Value)
				}
				if p, ok := partition[want.ID]; string(rec.Key) != want.ID || ok && p != rec.Partition {
					t.Fatalf("key %q of %s in partition %d, before in %d", rec.Key, want.ID, rec.Partition, p)
				}
				partition[want.ID] = rec.Partition
				l.add(i)
			}
			next := func() {
				for _, rec := range poll(t, in) {
					check(rec)
				}
			}
			r.publish(readings / 2)
			l.take(readings/4, next)
			k.stop()
			r.publish(readings / 4)
			r.until("Kafka is missed", func() bool { return r.status("k").State == api.TargetWaiting })
			k.start()
			r.publish(readings / 4)
			l.take(readings, next)
			l.check(t, readings)
			t.Logf("%d readings, %d of them came again", readings, l.twice)
		})
	}
}

// TestKafkaTrouble: what an operator does wrong is told, and mended without a restart; what is too large is a dead letter.
func TestKafkaTrouble(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, ca := certificate(t, dir)
	k := newKafka(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "wattbus", "right"), kfake.Superuser("PLAIN", "wattbus", "plainly"), kfake.TLS(cert))
	declare := func(scheme, topic, more string) string {
		return fmt.Sprintf("targets:\n- {name: k, type: kafka, url: '%s://%s', address: %s, events: [reading], timeout: 2s, username: wattbus, password-file: %q, tls: {ca: %q}, kafka: {batch-bytes: 4096%s}}\n",
			scheme, k.addr(), topic, password, ca, more)
	}
	r := newRig(t, declare("kafkas", "wattbus.reading", ""))
	r.waits("k", "user name, password and kafka.sasl right?")
	if err := os.WriteFile(password, []byte("right"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reload(declare("kafkas", "none", ""))
	r.waits("k", "topic none: UNKNOWN_TOPIC_OR_PARTITION")
	r.reload(declare("kafka", "wattbus.reading", ""))
	r.waits("k", "want it TLS or not")
	r.reload(declare("kafkas", "wattbus.reading", ""))
	r.until("connected", func() bool { return r.status("k").State == api.TargetConnected })
	r.publish(50)
	r.large(10_000)
	r.publish(50)
	r.until("all are there or refused", func() bool {
		s := r.status("k")
		return s.Sent == 100 && s.Refused == 1 && s.PendingBatches == 0
	})
	letters, err := r.bus.DeadLetters(t.Context(), 10, 0)
	if err != nil || len(letters) != 1 || letters[0].Reason != "refused" || !strings.Contains(letters[0].Detail, "MESSAGE_TOO_LARGE") {
		t.Errorf("%+v, %v", letters, err)
	}
	if err := os.WriteFile(password, []byte("plainly"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reload(declare("kafkas", "wattbus.reading", ", sasl: plain"))
	r.publish(50)
	r.until("all are there", func() bool { return r.status("k").PendingBatches == 0 && r.status("k").State == api.TargetConnected })
}

// TestKafkaTooLarge: where a topic takes less than a batch may hold, and so some batches of a partition and others not, nothing is
// missing, those of a meter come in order, and what fits by no means is refused.
func TestKafkaTooLarge(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{8000, 20_000, 1_000_000} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			t.Parallel()
			const readings = 3000
			k := newKafka(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "12000"}))
			in := k.client(kgo.ConsumeTopics("wattbus.reading"))
			r := newRig(t, fmt.Sprintf("targets:\n- {name: k, type: kafka, url: 'kafka://%s', address: 'wattbus.{name}', events: [reading], encoding: binary, kafka: {batch-bytes: %d}}\n", k.addr(), batch))
			noise := rand.New(rand.NewPCG(1, 2))
			all := make([]bus.OutEvent, readings)
			for n := range all {
				all[n] = event(n)
				size := 200
				if n == readings/2 {
					size = 20_000
				}
				data := make([]byte, size)
				for i := range data {
					data[i] = byte('!' + noise.IntN(90)) // what is compressed would fit
				}
				all[n].Data = data
			}
			r.events(all...)
			var l ledger
			l.take(readings-1, func() {
				for _, rec := range poll(t, in) {
					n := number(t, header(rec, "ce_id"))
					if m := n % 10; m == readings/2%10 && n > readings/2 && l.next[m] == readings/2/10 {
						l.next[m]++ // the one that is refused
					}
					l.add(n)
				}
			})
			l.check(t, readings-1)
			r.until("what is too large is refused", func() bool {
				s := r.status("k")
				return s.Sent == readings-1 && s.Refused == 1 && s.PendingBatches == 0
			})
			t.Logf("%d came again", l.twice)
		})
	}
}

// TestKafkaCommands: requests are carried out once each and answered, also when they come again after a restart; those of before the
// target came to be are not.
func TestKafkaCommands(t *testing.T) {
	t.Parallel()
	k := newKafka(t)
	out := k.client(kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	in := k.client(kgo.ConsumeTopics("answers"), kgo.FetchMaxWait(100*time.Millisecond))
	const body = `{"target":{"meter":"M1"},"type":"disconnect","expiresIn":60}`
	ask := func(body string, headers ...string) {
		t.Helper()
		rec := &kgo.Record{Topic: "wattbus.commands", Key: []byte("M1"), Value: []byte(body)}
		for i := 0; i < len(headers); i += 2 {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
		}
		if err := out.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ask(body, "wattbus_token", "operator", "reply-topic", "answers", "correlation-id", "too early")
	r := newRig(t, fmt.Sprintf("targets:\n- {name: k, type: kafka, url: 'kafka://%s', commands: {address: wattbus.commands}}\n", k.addr()))
	made := fakeCommands(t, r)
	r.until("requests are taken", func() bool { return r.status("k").State == api.TargetConnected })
	// answer waits for the next one. What was answered comes again where its place was not committed: then with the same answer.
	var waiting []*kgo.Record
	said := map[string]string{}
	answer := func() *kgo.Record {
		t.Helper()
		for {
			for len(waiting) == 0 {
				waiting = poll(t, in)
			}
			a := waiting[0]
			waiting = waiting[1:]
			correlation := header(a, "correlation-id") + header(a, "kafka_correlationId")
			old, again := said[correlation]
			if !again {
				said[correlation] = string(a.Value)
				return a
			}
			if old != string(a.Value) {
				t.Fatalf("%s again: %s, was %s", correlation, a.Value, old)
			}
		}
	}
	for _, tc := range []struct {
		token, key, body, correlation, status, want string
	}{
		{"operator", "", body, "order-1", api.CommandDone, `"id":"1"`},
		{"operator", "k1", body, "order-2", api.CommandDone, `"id":"2"`},
		{"operator", "k1", body, "order-3", api.CommandDone, `"id":"2"`},
		{"operator", "", body, "", api.CommandDone, `"id":"3"`},
		{"", "", body, "order-4", "401", "no property wattbus_token"},
		{"viewer", "", body, "order-5", "403", "needs the right"},
		{"operator", "", "{", "order-6", "400", "at offset 1: it ends before"},
		{"operator", "", `{"target":{"meter":"none"},"type":"ping"}`, "order-7", "404", "none"},
	} {
		ask(tc.body, "wattbus_token", tc.token, "wattbus_key", tc.key, "reply-topic", "answers", "correlation-id", tc.correlation)
		a := answer()
		if c := header(a, "correlation-id"); c != tc.correlation && !(tc.correlation == "" && strings.HasPrefix(c, "wattbus.commands/")) ||
			header(a, "wattbus_status") != tc.status || !strings.Contains(string(a.Value), tc.want) || string(a.Key) != "M1" {
			t.Errorf("%+v: %v %s", tc, a.Headers, a.Value)
		}
	}
	ask(body, "wattbus_token", "operator", "kafka_replyTopic", "answers", "kafka_correlationId", "spring")
	if a := answer(); header(a, "kafka_correlationId") != "spring" || !strings.Contains(string(a.Value), `"id":"4"`) {
		t.Errorf("%v %s", a.Headers, a.Value)
	}
	r.stop()
	ask(body, "wattbus_token", "operator", "reply-topic", "answers", "correlation-id", "while away")
	ask(body, "wattbus_token", "operator", "reply-topic", "nowhere") // nobody hears it; it is carried out all the same
	r.run()
	if a := answer(); header(a, "correlation-id") != "while away" {
		t.Errorf("%v %s", a.Headers, a.Value)
	}
	r.until("all are made, and none twice", func() bool { return made() == 6 })
}

func TestKafkaPlaces(t *testing.T) {
	p := &kafkaPlaces{all: map[int32]*kafkaPlace{}, moved: make(chan struct{}, 1)}
	var xs []*kafkaPlace
	var qs []*kafkaRecord
	for n := range 4 {
		x, q := p.add(&kgo.Record{Partition: 7, Offset: int64(n)})
		xs, qs = append(xs, x), append(qs, q)
	}
	for _, tc := range []struct{ done, want int64 }{{2, -1}, {0, 0}, {1, 2}} {
		got := int64(-1)
		if r := p.done(xs[tc.done], qs[tc.done]); r != nil {
			got = r.Offset
		}
		if got != tc.want {
			t.Errorf("%d done: up to %d, want %d", tc.done, got, tc.want)
		}
	}
	p.forget([]int32{7})
	if r := p.done(xs[3], qs[3]); r != nil {
		t.Errorf("a partition that went: %v", r)
	}
	if p.full() {
		t.Error("full")
	}
}

// TestKafkaOthers: programs on librdkafka read what is sent and ask for commands.
func TestKafkaOthers(t *testing.T) {
	long(t)
	t.Parallel()
	if _, err := exec.LookPath("kcat"); err != nil {
		foreign(t, "kcat (apt-get install kcat)")
	}
	k := newKafka(t)
	r := newRig(t, fmt.Sprintf("targets:\n- {name: k, type: kafka, url: 'kafka://%s', address: 'wattbus.{name}', events: [reading], encoding: binary, commands: {address: wattbus.commands}}\n", k.addr()))
	made := fakeCommands(t, r)
	r.publish(1000)
	p := start(t, exec.Command("kcat", "-m", "60", "-b", k.addr(), "-C", "-t", "wattbus.reading", "-c", "1000", "-f", "got %k %h %s\n", "-q"))
	var l ledger
	for range 1000 {
		got := p.expect(t, `^got (M\d) .*ce_id=(u\d+),.* (\{.*\})$`)
		i := number(t, got[2])
		if want := event(i); got[1] != want.ID || got[3] != string(want.Data) {
			t.Fatalf("%q", got[0])
		}
		l.add(i)
	}
	l.check(t, 1000)
	r.until("requests are taken", func() bool { return r.status("k").State == api.TargetConnected })
	ask := exec.Command("kcat", "-m", "60", "-b", k.addr(), "-P", "-t", "wattbus.commands", "-H", "wattbus_token=operator", "-H", "reply-topic=answers", "-H", "correlation-id=order-1")
	ask.Stdin = strings.NewReader(`{"target":{"meter":"M1"},"type":"disconnect","expiresIn":60}` + "\n")
	if out, err := ask.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	a := start(t, exec.Command("kcat", "-m", "60", "-b", k.addr(), "-C", "-t", "answers", "-c", "1", "-f", "answer %h %s\n", "-q"))
	if got := a.expect(t, `^answer (\S+) (.*)$`); !strings.Contains(got[1], "correlation-id=order-1") || !strings.Contains(got[1], "wattbus_status=done") || !strings.Contains(got[2], `"breaker":"open"`) {
		t.Errorf("%q", got[0])
	}
	if made() != 1 {
		t.Errorf("%d commands", made())
	}
}
