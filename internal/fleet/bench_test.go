package fleet

import (
	"runtime"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/clock"
)

// BenchmarkLoad sends readings into a broker that hands them to a counting function: the cost of the generator and the
// broker's front together, in one process.
func BenchmarkLoad(b *testing.B) {
	c := newCentre(b)
	c.quiet = true
	d := sample(b)
	l, err := NewLoad(LoadOptions{URL: c.url, Dataset: d, Concentrators: 10, Meters: 1000, Readings: max(b.N, 10_000), NoRegistration: true})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	r, err := l.Run(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if n := c.n("reading"); uint64(n) != r.Sent || r.Acked != r.Sent {
		b.Fatalf("sent %d, acknowledged %d, arrived %d", r.Sent, r.Acked, n)
	}
	b.ReportMetric(r.Rate(), "readings/s")
	b.ReportMetric(r.CPUPerMillion().Seconds(), "cpu-s/M")
	b.ReportMetric(float64(r.P99.Milliseconds()), "p99-ms")
}

// BenchmarkAgents tells what an idle, registered meter takes: heap and stacks of agent and client; the broker's side is in it
// too.
func BenchmarkAgents(b *testing.B) {
	c := newCentre(b)
	d := sample(b)
	const meters = 2000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f, err := New(Options{Meters: meters, Dataset: d, Clock: clock.New(start(d), 1), Concentrators: []string{c.url}, History: 45 * 24 * time.Hour, Ramp: 10_000})
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	made := float64(after.HeapAlloc-before.HeapAlloc) / meters
	done := make(chan error, 1)
	ctx := b.Context()
	go func() { done <- f.Run(ctx) }()
	began := time.Now()
	for f.Stats().Registered < meters {
		time.Sleep(5 * time.Millisecond)
	}
	registered := time.Since(began)
	time.Sleep(200 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() { // takes metrics reported before it away
		f.Stats()
	}
	b.ReportMetric(registered.Seconds(), "s-to-register")
	b.ReportMetric(made, "B/agent-made")
	b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/meters, "B/meter-with-broker")
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/meters, "B-stacks/meter")
	b.ReportMetric(float64(runtime.NumGoroutine())/meters, "goroutines/meter")
}
