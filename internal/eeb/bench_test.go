package eeb

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/client"
)

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkUplink: readings published one by one at QoS 1 through one connection, over TCP, into the synced stream. The CPU
// is that of the whole process: client, broker, EEB and bus.
func BenchmarkUplink(b *testing.B) {
	r := newRig(b, nil, func(o *bus.Options) { o.MaxBytes = 64 << 30 })
	p := r.connect("C1")
	topics := make([]string, 10_000)
	for i := range topics {
		topics[i] = fmt.Sprintf("up/C1/C%02d/meter/M%06d/reading", i%20, i)
	}
	payload := reading(1800)
	publish := func(n int) {
		for i := range n {
			if err := p.c.Publish(b.Context(), client.Message{Topic: topics[i%len(topics)], Payload: payload, QoS: 1}); err != nil {
				b.Fatal(err)
			}
		}
		p.flush()
	}
	publish(len(topics)) // the location table knows them all
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	publish(b.N)
	used := cpu() - before
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "readings/s")
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/reading")
	b.ReportMetric(float64(b.N)/r.metric("wattbus_batch_size"), "readings/commit")
}

// BenchmarkTake is the EEB's own part, without the broker.
func BenchmarkInspect(b *testing.B) {
	payload := reading(1800)
	b.ReportAllocs()
	for b.Loop() {
		if u := inspect("up/C1/C07/meter/M000123/reading", payload); u.reason != "" {
			b.Fatal(u.detail)
		}
	}
}
