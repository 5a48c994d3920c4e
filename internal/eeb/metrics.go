package eeb

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	readings prometheus.Counter
	messages *prometheus.CounterVec
	ignored  *prometheus.CounterVec
	dead     *prometheus.CounterVec
	unkept   prometheus.Counter
	commit   prometheus.Histogram
	size     prometheus.Histogram
	down     *prometheus.CounterVec
	stalled  prometheus.Gauge
	ahead    prometheus.Counter
}

func newMetrics(r prometheus.Registerer, t *table, p *pacer, uncommitted func() int64) (*metrics, error) {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		readings: prometheus.NewCounter(prometheus.CounterOpts{Name: "wattbus_readings_total", Help: "Readings committed to the bus."}),
		messages: vec("uplink_messages_total", "Messages from devices committed to the bus, unpacked, by type.", "type"),
		ignored:  vec("uplink_ignored_total", "Messages that are well-formed and say nothing new or nothing that holds any more.", "reason"),
		dead:     vec("dead_letters_total", "Messages that could not be understood.", "reason"),
		unkept: prometheus.NewCounter(prometheus.CounterOpts{Name: "wattbus_dead_letters_unkept_total",
			Help: "Dead letters that were counted and not kept, because one client sent too many."}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "wattbus_commit_seconds",
			Help:    "From handing a batch to the bus to its commit and that of its locations.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "wattbus_batch_size", Help: "Messages in a batch.",
			Buckets: prometheus.ExponentialBuckets(1, 3, 9)}),
		ahead: prometheus.NewCounter(prometheus.CounterOpts{Name: "wattbus_results_ahead_total",
			Help: "Results of breakers that were passed to the MDMS ahead of the batch that they are in."}),
		down: vec("downlink_total", "Messages to devices, by what became of them.", "result"),
		stalled: prometheus.NewGauge(prometheus.GaugeOpts{Name: "wattbus_eeb_stalled",
			Help: "1 while locations or dead letters cannot be stored; see also wattbus_bus_stalled."}),
	}
	if r == nil {
		return m, nil
	}
	locations := func(kind string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wattbus_locations", Help: "Entries of the location table.",
			ConstLabels: prometheus.Labels{"of": kind}}, f)
	}
	// The MDMS counts its own ones in the same metric, where both are in one process.
	var there prometheus.AlreadyRegisteredError
	if err := r.Register(m.dead); errors.As(err, &there) {
		m.dead, _ = there.ExistingCollector.(*prometheus.CounterVec)
	} else if err != nil {
		return nil, fmt.Errorf("eeb: register metrics: %w", err)
	}
	for _, c := range []prometheus.Collector{m.readings, m.messages, m.ignored, m.unkept, m.commit, m.size, m.down, m.stalled, m.ahead,
		locations("devices", func() float64 { n, _ := t.count(); return float64(n) }),
		locations("concentrators", func() float64 { _, n := t.count(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wattbus_location_acks_waiting",
			Help: "Registrations that wait for their turn to be acknowledged."}, func() float64 { n, _ := p.counts(); return float64(n) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wattbus_location_acks_unsent_total",
			Help: "Registrations that were not acknowledged because too many waited; they come again."}, func() float64 { _, n := p.counts(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wattbus_uncommitted_bytes",
			Help: "Bytes taken from publishers and not committed."}, func() float64 { return float64(uncommitted()) }),
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("eeb: register metrics: %w", err)
		}
	}
	return m, nil
}
