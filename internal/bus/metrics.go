package bus

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	batches  prometheus.Counter
	bytes    prometheus.Counter
	retries  prometheus.Counter
	stalled  prometheus.Gauge
	restarts prometheus.Counter
	consumed prometheus.Counter
	redone   prometheus.Counter
	dropped  prometheus.Counter
	events   *prometheus.CounterVec
	requests *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "wattbus_bus_" + name, Help: help})
	}
	m := &metrics{
		batches: counter("batches_total", "Batches committed to the stream."),
		bytes:   counter("batch_bytes_total", "Bytes of the batches committed to the stream."),
		retries: counter("commit_retries_total", "Commits of batches that were refused or not answered, and tried again."),
		stalled: prometheus.NewGauge(prometheus.GaugeOpts{Name: "wattbus_bus_stalled",
			Help: "1 while batches cannot be committed: disk full, stream at its bound, server away."}),
		restarts: counter("restarts_total", "Restarts of the embedded server after it failed to write."),
		consumed: counter("consumed_batches_total", "Batches that a consumer dealt with."),
		redone:   counter("redeliveries_total", "Times that a consumer failed and its batches are delivered again."),
		dropped:  counter("dropped_total", "Times that a subscriber was too slow and core messages were dropped."),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_bus_events_total",
			Help: "CloudEvents published."}, []string{"name"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_bus_answers_total",
			Help: "Questions answered by this process."}, []string{"name", "result"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.batches, m.bytes, m.retries, m.stalled, m.restarts, m.consumed, m.redone,
		m.dropped, m.events, m.requests} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("bus: register metrics: %w", err)
		}
	}
	return m, nil
}
