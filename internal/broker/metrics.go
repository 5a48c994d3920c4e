package broker

import "github.com/prometheus/client_golang/prometheus"

// collector turns Stats into metrics when they are asked for; counting itself
// touches no Prometheus code.
type collector struct {
	b                             *Broker
	gauges                        []gauge
	counters                      []counter
	dropped, disconnects, clients *prometheus.Desc
}

type gauge struct {
	desc  *prometheus.Desc
	value func(*Stats) float64
}

type counter struct {
	desc  *prometheus.Desc
	value func(*Stats) uint64
}

func newCollector(b *Broker) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("wattbus_broker_"+name, help, labels, nil)
	}
	c := &collector{
		b: b,
		gauges: []gauge{
			{desc("connections", "Open connections."), func(s *Stats) float64 { return float64(s.Connections) }},
			{desc("sessions", "Sessions, connected or not."), func(s *Stats) float64 { return float64(s.Sessions) }},
			{desc("subscriptions", "Subscriptions of sessions and handlers."), func(s *Stats) float64 { return float64(s.Subscriptions) }},
			{desc("retained_messages", "Retained messages."), func(s *Stats) float64 { return float64(s.Retained) }},
			{desc("retained_bytes", "Bytes of retained messages."), func(s *Stats) float64 { return float64(s.RetainedBytes) }},
			{desc("queued_bytes", "Bytes waiting for sessions."), func(s *Stats) float64 { return float64(s.QueuedBytes) }},
			{desc("offline_bytes", "Bytes waiting for sessions that are not connected."), func(s *Stats) float64 { return float64(s.OfflineBytes) }},
		},
		counters: []counter{
			{desc("packets_received_total", "Packets received."), func(s *Stats) uint64 { return s.Packets }},
			{desc("packets_sent_total", "Packets written."), func(s *Stats) uint64 { return s.PacketsSent }},
			{desc("bytes_received_total", "Bytes of MQTT received."), func(s *Stats) uint64 { return s.BytesReceived }},
			{desc("bytes_sent_total", "Bytes of MQTT handed to the network."), func(s *Stats) uint64 { return s.BytesSent }},
			{desc("messages_received_total", "Messages from clients, wills and the process."), func(s *Stats) uint64 { return s.Published }},
			{desc("messages_sent_total", "Messages written to clients, repeats included."), func(s *Stats) uint64 { return s.Delivered }},
			{desc("messages_acknowledged_total", "PUBACK and PUBREC sent."), func(s *Stats) uint64 { return s.Acked }},
			{desc("connects_total", "CONNECTs accepted."), func(s *Stats) uint64 { return s.Accepted }},
			{desc("sessions_expired_total", "Sessions whose clients did not come back."), func(s *Stats) uint64 { return s.Expired }},
		},
		clients:     desc("clients", "Clients connected and accepted, by version of MQTT.", "version"),
		dropped:     desc("messages_dropped_total", "Messages not kept, by reason.", "reason"),
		disconnects: desc("disconnects_total", "Connections ended, by reason.", "reason"),
	}
	if b.opt.Store != nil {
		c.gauges = append(c.gauges,
			gauge{desc("unstored_bytes", "Bytes of changes that are not in the session store yet."), func(s *Stats) float64 { return float64(s.UnstoredBytes) }})
		c.counters = append(c.counters,
			counter{desc("store_commits_total", "Commits of the session store."), func(s *Stats) uint64 { return s.StoreCommits }},
			counter{desc("store_failures_total", "Commits of the session store that failed and were tried again."), func(s *Stats) uint64 { return s.StoreFailures }},
			counter{desc("stored_messages_total", "Messages written to the session store, once for each session."), func(s *Stats) uint64 { return s.Stored }})
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		ch <- g.desc
	}
	for _, n := range c.counters {
		ch <- n.desc
	}
	ch <- c.clients
	ch <- c.dropped
	ch <- c.disconnects
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.b.Stats()
	for _, g := range c.gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&s))
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, n := range c.counters {
		counter(n.desc, n.value(&s))
	}
	for version, n := range s.Clients {
		ch <- prometheus.MustNewConstMetric(c.clients, prometheus.GaugeValue, float64(n), version)
	}
	for reason, n := range s.Dropped {
		counter(c.dropped, n, reason)
	}
	for reason, n := range s.Disconnects {
		counter(c.disconnects, n, reason)
	}
}
