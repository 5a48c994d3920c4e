package connector

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sent, refused, failures, lost *prometheus.CounterVec
	commands                      *prometheus.CounterVec
	up, pending, lag              *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_target_" + name, Help: help}, []string{"target"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wattbus_target_" + name, Help: help}, []string{"target"})
	}
	m := &metrics{
		sent:     counter("events_total", "Events that a target has confirmed."),
		refused:  counter("refused_total", "Events that a target refused for good; they are dead letters."),
		failures: counter("failures_total", "Times that a target could not be reached or did not confirm."),
		lost:     counter("lost_batches_total", "Batches of events that were not kept long enough for a target."),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_target_commands_total",
			Help: "Requests for commands that came from a target, by the command's last state or the status that refused it."}, []string{"target", "result"}),
		up:      gauge("up", "1 while a target is connected."),
		pending: gauge("pending_batches", "Batches of events that a target has not confirmed."),
		lag:     gauge("lag_seconds", "Age of the oldest events that a target has not confirmed."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.sent, m.refused, m.failures, m.lost, m.commands, m.up, m.pending, m.lag} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("connector: register metrics: %w", err)
		}
	}
	return m, nil
}

// forget takes out the gauges of a target that is no more; its counters stay.
func (m *metrics) forget(name string) {
	for _, g := range []*prometheus.GaugeVec{m.up, m.pending, m.lag} {
		g.DeleteLabelValues(name)
	}
}
