package connector

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/wattbus/wattbus/internal/bus"
)

// BenchmarkTargets delivers readings from the bus to each type of target: readings a second, and the processor time of this process for a
// million of them. The other side is a process of its own. One round takes some seconds at most: -benchtime 3x is enough.
func BenchmarkTargets(b *testing.B) {
	for _, tc := range []struct {
		name     string
		readings int                       // a round
		target   func(b *testing.B) string // what the declaration says besides name and events
	}{
		{"files", 200_000, func(b *testing.B) string { return fmt.Sprintf("type: files, files: {dir: %q}", b.TempDir()) }},
		{"files-parquet", 200_000, func(b *testing.B) string {
			return fmt.Sprintf("type: files, files: {dir: %q, format: parquet}", b.TempDir())
		}},
		{"webhook", 10_000, func(b *testing.B) string {
			return "type: webhook, url: '" + sink(b, "webhook") + "', webhook: {parallel: 16}"
		}},
		{"kafka", 200_000, func(b *testing.B) string {
			return "type: kafka, url: '" + sink(b, "kafka") + "', address: 'wattbus.{name}'"
		}},
		{"nats", 50_000, func(b *testing.B) string { return "type: nats, url: '" + sink(b, "nats") + "', address: 'meters.{id}'" }},
		{"nats-core", 200_000, func(b *testing.B) string {
			return "type: nats, url: '" + sink(b, "nats") + "', address: 'core.{id}', nats: {core: true}"
		}},
		{"mqtt", 50_000, func(b *testing.B) string {
			return "type: mqtt, url: '" + newMosquitto(b, "allow_anonymous true\n").url() + "', address: 'out/{id}'"
		}},
		{"stomp", 10_000, func(b *testing.B) string {
			return "type: stomp, url: 'stomp://" + newActiveMQ(b).stomp + "', address: /queue/readings"
		}},
		{"amqp", 10_000, func(b *testing.B) string {
			r := newRabbit(b)
			r.start()
			return "type: amqp, url: 'amqp://" + r.addr + "', address: /queue/readings"
		}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			file := "targets:\n- {name: t, events: [reading], paused: %v, " + tc.target(b) + "}\n"
			r := newRig(b, fmt.Sprintf(file, true))
			var used time.Duration
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				r.declare(fmt.Sprintf(file, true))
				if err := r.c.Load(); err != nil {
					b.Fatal(err)
				}
				r.until("paused", func() bool { return r.status("t").State == "paused" })
				for range tc.readings / 10_000 {
					var all []bus.OutEvent
					for i := range 10_000 { // of as many meters
						e := event(r.sent)
						e.ID = fmt.Sprintf("M%d", i)
						all = append(all, e)
						r.sent++
					}
					r.events(all...)
				}
				r.declare(fmt.Sprintf(file, false))
				b.StartTimer()
				before := processor(b)
				if err := r.c.Load(); err != nil {
					b.Fatal(err)
				}
				r.until("delivered", func() bool {
					time.Sleep(100 * time.Millisecond) // a look costs as much as many readings
					s := r.status("t")
					return s.State == "connected" && s.Sent == int64(tc.readings) && s.PendingBatches == 0
				})
				used += processor(b) - before
			}
			n := float64(b.N * tc.readings)
			b.ReportMetric(n/b.Elapsed().Seconds(), "readings/s")
			b.ReportMetric(used.Seconds()/n*1e6, "cpu-s/million")
		})
	}
}

// processor is the processor time of this process.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sinkVariable names what a process of this test is to be instead of running tests.
const sinkVariable = "WATTBUS_TEST_SINK"

// sink starts another side in a process of its own and returns its URL.
func sink(t testing.TB, kind string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkVariable+"="+kind)
	url := start(t, cmd).expect(t, `^ready (\S+)$`)[1]
	if kind == "nats" {
		c, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		js, err := jetstream.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "METERS", Subjects: []string{"meters.>"}}); err != nil {
			t.Fatal(err)
		}
	}
	return url
}

// beSink is what such a process does until it is killed.
func beSink(kind string) error {
	url := ""
	switch kind {
	case "webhook":
		url = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusNoContent)
		})).URL
	case "kafka":
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(6, "wattbus.reading"))
		if err != nil {
			return err
		}
		url = "kafka://" + c.ListenAddrs()[0]
	case "nats":
		dir, err := os.MkdirTemp("", "wattbus-sink-")
		if err != nil {
			return err
		}
		s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir})
		if err != nil {
			return err
		}
		s.Start()
		if !s.ReadyForConnections(time.Minute) {
			return fmt.Errorf("NATS does not start")
		}
		url = s.ClientURL()
	default:
		return fmt.Errorf("%q is nothing to be", kind)
	}
	fmt.Println("ready " + strings.TrimSuffix(url, "/"))
	select {}
}
