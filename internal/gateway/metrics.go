package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/snlink"
)

// dropReason says why a message was not passed on.
type dropReason int

const (
	dropMalformed      dropReason = iota // no message of MQTT-SN 1.2
	dropUnexpected                       // nothing that is said to a gateway now
	dropNotConnected                     // from somebody who has to CONNECT
	dropUnknownAddress                   // QoS -1 from an address where no device is known
	dropAnonymousOff                     // QoS -1 is not served
	dropRate                             // QoS -1, too many
	dropTopic                            // unknown topic id
	dropCongestion                       // too much waits for the server, or too much of this client
	dropDenied                           // the server does not allow it
	dropServer                           // the server does not take it
	dropTooLarge                         // longer than the client's link carries
	dropTopics                           // no topic id left for it
	dropRefused                          // the client does not want it
	dropNoAnswer                         // the client never acknowledged it
	dropLinkFull                         // too much waits for the link
	dropNotSent                          // the link did not take it
	dropReasons
)

func (r dropReason) String() string {
	return [dropReasons]string{"malformed", "unexpected", "not_connected", "unknown_address", "anonymous_off", "rate", "topic_id",
		"congestion", "denied", "server", "too_large", "topic_ids_used_up", "refused", "no_answer", "link_full", "not_sent"}[r]
}

type counters struct {
	received, sent, published, duplicates, retries atomic.Uint64
	connects, refused, lost, unsaved               atomic.Uint64
	states                                         [states]atomic.Int64
	dropped                                        [dropReasons]atomic.Uint64
}

func (g *Gateway) drop(r dropReason) { g.n.dropped[r].Add(1) }

// Stats is a snapshot of a gateway.
type Stats struct {
	Clients    map[string]int // by state
	Received   uint64         // datagrams
	Sent       uint64         // datagrams
	Published  uint64         // messages of clients
	Duplicates uint64         // messages of clients that were repeats
	Retries    uint64         // messages to clients sent again
	Connects   uint64         // CONNECTs accepted
	Refused    uint64         // CONNECTs refused or not completed
	Lost       uint64         // clients that got lost, or whose session was taken
	Unsaved    uint64         // times that the store failed
	Dropped    map[string]uint64
}

// Stats gives a snapshot. Its numbers need not be of the same instant.
func (g *Gateway) Stats() Stats {
	s := Stats{
		Clients: make(map[string]int, states), Dropped: make(map[string]uint64, dropReasons),
		Received: g.n.received.Load(), Sent: g.n.sent.Load(), Published: g.n.published.Load(),
		Duplicates: g.n.duplicates.Load(), Retries: g.n.retries.Load(),
		Connects: g.n.connects.Load(), Refused: g.n.refused.Load(), Lost: g.n.lost.Load(), Unsaved: g.n.unsaved.Load(),
	}
	for i := range states {
		s.Clients[i.String()] = int(g.n.states[i].Load())
	}
	for r := range dropReasons {
		s.Dropped[r.String()] = g.n.dropped[r].Load()
	}
	return s
}

// collector turns Stats into metrics when they are asked for.
type collector struct {
	g                *Gateway
	counters         []counter
	clients, dropped *prometheus.Desc
	link             *prometheus.Desc
}

type counter struct {
	desc  *prometheus.Desc
	value func(*Stats) uint64
}

func newCollector(g *Gateway) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("wattbus_gateway_"+name, help, labels, nil)
	}
	return &collector{
		g: g,
		counters: []counter{
			{desc("datagrams_received_total", "Datagrams received."), func(s *Stats) uint64 { return s.Received }},
			{desc("datagrams_sent_total", "Datagrams handed to the links."), func(s *Stats) uint64 { return s.Sent }},
			{desc("messages_received_total", "Messages of clients passed on."), func(s *Stats) uint64 { return s.Published }},
			{desc("duplicates_total", "Messages of clients that were repeats."), func(s *Stats) uint64 { return s.Duplicates }},
			{desc("retries_total", "Messages to clients sent again."), func(s *Stats) uint64 { return s.Retries }},
			{desc("connects_total", "CONNECTs accepted."), func(s *Stats) uint64 { return s.Connects }},
			{desc("connects_refused_total", "CONNECTs refused or not completed."), func(s *Stats) uint64 { return s.Refused }},
			{desc("clients_lost_total", "Clients that got lost, or whose session was taken."), func(s *Stats) uint64 { return s.Lost }},
			{desc("store_errors_total", "Times that clients could not be stored."), func(s *Stats) uint64 { return s.Unsaved }},
		},
		clients: desc("clients", "Clients, by state.", "state"),
		dropped: desc("dropped_total", "Datagrams and messages not passed on, by reason.", "reason"),
		link:    desc("link_trouble_total", "What went wrong on a link below MQTT-SN, by link and kind.", "link", "what"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, n := range c.counters {
		ch <- n.desc
	}
	ch <- c.clients
	ch <- c.dropped
	ch <- c.link
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.g.Stats()
	for _, n := range c.counters {
		ch <- prometheus.MustNewConstMetric(n.desc, prometheus.CounterValue, float64(n.value(&s)))
	}
	for state, n := range s.Clients {
		ch <- prometheus.MustNewConstMetric(c.clients, prometheus.GaugeValue, float64(n), state)
	}
	for reason, n := range s.Dropped {
		ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n), reason)
	}
	for _, l := range c.g.links {
		snlink.Counts(l.Conn, func(what string, n uint64) {
			ch <- prometheus.MustNewConstMetric(c.link, prometheus.CounterValue, float64(n), l.Name, what)
		})
	}
}
