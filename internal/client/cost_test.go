package client_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
)

// TestIdleClientsAreSmall measures what a connected client with two subscriptions costs, both ends of it in this process.
func TestIdleClientsAreSmall(t *testing.T) {
	b, url := newBroker(t)
	const clients = 1000
	before := inUse()
	for i := range clients {
		run(t, client.Options{URL: url, ClientID: fmt.Sprintf("M%d", i), OnMessage: func(*client.Message) {},
			Subscriptions: []client.Subscription{{Filter: fmt.Sprintf("dn/meter/M%d/#", i), QoS: 1}, {Filter: "dn/all/meter/#", QoS: 1}}})
	}
	eventually(t, "all subscribed", func() bool { return b.Stats().Subscriptions == 2*clients })
	perClient := (inUse() - before) / clients
	t.Logf("%d bytes for a client and the broker's end of it", perClient)
	if perClient > 30<<10 {
		t.Errorf("%d bytes for a client and the broker's end of it", perClient)
	}
	if n := runtime.NumGoroutine(); n > 3*clients {
		t.Errorf("%d goroutines", n)
	}
}

// inUse is the memory of heap and stacks after collection.
func inUse() uint64 {
	for range 3 {
		runtime.GC() // stacks shrink by half each time
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPublish sends readings over one connection to our broker in the same process; cpu-s/M is the processor time of both
// ends for a million messages.
func BenchmarkPublish(b *testing.B) {
	for _, tc := range []struct {
		senders int
		qos     byte
	}{{1, 0}, {1, 1}, {100, 1}, {1, 2}} {
		b.Run(fmt.Sprintf("senders=%d/qos=%d", tc.senders, tc.qos), func(b *testing.B) {
			srv, url := newBroker(b)
			var got atomic.Int64
			srv.Handle("up/#", func(*broker.Inbound) { got.Add(1) })
			connected := make(chan struct{})
			c := run(b, client.Options{URL: url, ClientID: "C1", MaxInflight: client.MaxInflight, QueueBytes: 16 << 20,
				OnConnect: func(bool) { close(connected) }})
			<-connected
			payload := make([]byte, 32)
			b.ReportAllocs()
			b.ResetTimer()
			cpu, began := cpuTime(), time.Now()
			var wg sync.WaitGroup
			for s := range tc.senders {
				wg.Go(func() {
					for i := s; i < b.N; i += tc.senders {
						if err := c.Publish(b.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: payload, QoS: tc.qos}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if err := c.Flush(b.Context()); err != nil {
				b.Error(err)
			}
			for got.Load() < int64(b.N) {
				runtime.Gosched()
			}
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "msg/s")
			b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N)*1e6, "cpu-s/M")
			b.ReportMetric(float64(c.Stats().Writes), "writes")
		})
	}
}
