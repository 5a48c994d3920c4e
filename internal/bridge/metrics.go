package bridge

import "github.com/prometheus/client_golang/prometheus"

// collector turns a bridge's statistics into metrics when they are asked for.
type collector struct {
	b       *Bridge
	values  []metric
	dropped *prometheus.Desc
}

type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*Stats) float64
}

// NewCollector gives the metrics of a bridge; their names begin with prefix.
func NewCollector(b *Bridge, prefix string) prometheus.Collector {
	m := func(name, help string, kind prometheus.ValueType, value func(*Stats) float64) metric {
		return metric{prometheus.NewDesc(prefix+name, help, nil, nil), kind, value}
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return &collector{b: b,
		values: []metric{
			m("upstream_connected", "1 while the upstream is connected.", gauge, func(s *Stats) float64 {
				if s.Connected {
					return 1
				}
				return 0
			}),
			m("upstream_since_seconds", "Unix time since when the upstream is connected or away.", gauge, func(s *Stats) float64 { return float64(s.Since.UnixMilli()) / 1e3 }),
			m("queue_messages", "Messages the upstream has not acknowledged.", gauge, func(s *Stats) float64 { return float64(s.Queued) }),
			m("queue_bytes", "Bytes the upstream has not acknowledged.", gauge, func(s *Stats) float64 { return float64(s.QueuedBytes) }),
			m("queue_bound_bytes", "Bound of queue_bytes.", gauge, func(s *Stats) float64 { return float64(s.QueueBound) }),
			m("queue_waiting", "Publishers that wait for room in the queue.", gauge, func(s *Stats) float64 { return float64(s.Waiting) }),
			m("upstream_connects_total", "Connections the upstream accepted.", counter, func(s *Stats) float64 { return float64(s.Connects) }),
			m("up_messages_total", "Messages queued for the upstream.", counter, func(s *Stats) float64 { return float64(s.Up) }),
			m("up_acknowledged_total", "Messages acknowledged by the upstream.", counter, func(s *Stats) float64 { return float64(s.Acked) }),
			m("up_batches_total", "Batches queued for the upstream.", counter, func(s *Stats) float64 { return float64(s.Batches) }),
			m("up_batched_messages_total", "Messages in these batches.", counter, func(s *Stats) float64 { return float64(s.Batched) }),
			m("down_messages_total", "Messages from the upstream.", counter, func(s *Stats) float64 { return float64(s.Down) }),
		},
		dropped: prometheus.NewDesc(prefix+"dropped_total", "Messages not passed on, by reason.", []string{"reason"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.values {
		ch <- m.desc
	}
	ch <- c.dropped
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.b.Stats()
	for _, m := range c.values {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&s))
	}
	for reason, n := range s.Dropped {
		ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n), reason)
	}
}
