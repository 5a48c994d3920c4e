package broker

import (
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// Stats is a snapshot of a broker's gauges and counters.
type Stats struct {
	Connections   int   // open, accepted by CONNECT or not yet
	Sessions      int   // connected or not
	Subscriptions int   // of sessions and handlers
	Retained      int   // messages
	RetainedBytes int64 // topics, payloads and what their levels take
	QueuedBytes   int64 // waiting for sessions, sent and not acknowledged included
	OfflineBytes  int64 // the part of it whose sessions are not connected

	Clients     map[string]int // connected and accepted, by version of MQTT
	MostClients int            // the most of them that there were at once

	BytesReceived, BytesSent uint64 // of MQTT, without TLS and WebSocket; sent: handed to the network
	PacketsSent              uint64
	Accepted                 uint64 // CONNECTs accepted
	Expired                  uint64 // sessions whose clients did not come back

	Packets     uint64 // received
	Published   uint64 // messages received from clients, wills and the process
	Delivered   uint64 // messages written to clients, repeats included
	Acked       uint64 // PUBACK and PUBREC sent
	Malformed   uint64 // connections closed for what they sent
	Dropped     map[string]uint64
	Disconnects map[string]uint64

	// Of Options.Store.
	UnstoredBytes int64  // of changes that are not stored yet, about
	StoreCommits  uint64 // that have succeeded
	StoreFailures uint64 // commits that failed and were tried again
	Stored        uint64 // messages written for a session, or as retained
}

// dropReason says why a message was not kept for a session, or not spread at all.
type dropReason int

const (
	dropOfflineFull    dropReason = iota // the session is not connected and its bytes are used up
	dropOfflineAll                       // the bytes of all sessions that are not connected are used up
	dropQoS0Full                         // QoS 0, and the session takes too little
	dropDenied                           // the access control list says no
	dropReserved                         // a client published to $…
	dropRetained                         // delivered, but no room to retain it
	dropExpired                          // left in a session that expired or that its client gave up
	dropMessageExpired                   // its message expiry interval was over
	dropTooLarge                         // larger than the client takes
	dropReasons
)

func (r dropReason) String() string {
	return [dropReasons]string{"offline_session_full", "offline_total_full", "qos0_full", "denied",
		"reserved_topic", "retained_full", "session_ended",
		"message_expired", "too_large"}[r]
}

// cause says why a connection ended.
type cause int32

const (
	causeNone       cause = iota
	causeDisconnect       // DISCONNECT
	causeClosed           // the peer closed it, or its network failed
	causeKeepAlive        // nothing received for one and a half keep-alive times
	causeTimeout          // no CONNECT in time
	causeTakeover         // the client connected anew
	causeProtocol         // a packet that is malformed or not allowed here
	causeTooLarge         // a packet larger than the maximum
	causeMemory           // too much of packets half arrived
	causeRefused          // CONNECT refused
	causeStalled          // took nothing for too long
	causeTooMany          // too many connections
	causePanic            // a fault while serving it
	causeShutdown         // the broker ends
	causeRedirect         // told to use another server
	causeAuth             // did not authenticate itself again
	causeRevoked          // may not stay, see Recheck
	causeHandshake        // failed before MQTT: TLS, WebSocket, PROXY protocol
	causes
)

func (c cause) String() string {
	return [causes]string{"none", "disconnect", "closed", "keep_alive", "connect_timeout", "takeover", "protocol_error",
		"packet_too_large", "memory", "refused", "stalled", "too_many_connections", "fault", "shutdown",
		"redirect", "authentication", "revoked", "handshake"}[c]
}

// counters are shared by all connections; the hot ones are added to once a batch.
type counters struct {
	packets, published, delivered, acked atomic.Uint64
	answers, bytesIn, bytesOut           atomic.Uint64
	payloadIn, payloadOut                atomic.Uint64 // of PUBLISH
	sockets                              atomic.Uint64
	accepted, expired                    atomic.Uint64
	clients                              [mqtt.V5 + 1]atomic.Int64 // connected, by version
	mostClients                          atomic.Int64
	dropped                              [dropReasons]atomic.Uint64
	ended                                [causes]atomic.Uint64
}

func (b *Broker) drop(r dropReason, n int) { b.count.dropped[r].Add(uint64(n)) }

// countClient counts a client in (1) or out (-1).
func (b *Broker) countClient(v mqtt.Version, by int64) {
	b.count.clients[v].Add(by)
	if by < 0 {
		return
	}
	b.count.accepted.Add(1)
	now := b.clients()
	for most := b.count.mostClients.Load(); now > most; most = b.count.mostClients.Load() {
		if b.count.mostClients.CompareAndSwap(most, now) {
			return
		}
	}
}

// clients is the number of clients that are connected.
func (b *Broker) clients() (n int64) {
	for i := range b.count.clients {
		n += b.count.clients[i].Load()
	}
	return n
}

// Stats gives a snapshot. Its numbers need not be of the same instant.
func (b *Broker) Stats() Stats {
	s := Stats{
		Subscriptions: b.subs.Len(),
		QueuedBytes:   b.queued.Load(),
		OfflineBytes:  b.offlineBytes.Load(),
		Packets:       b.count.packets.Load(),
		Published:     b.count.published.Load(),
		Delivered:     b.count.delivered.Load(),
		Acked:         b.count.acked.Load(),
		BytesReceived: b.count.bytesIn.Load(),
		BytesSent:     b.count.bytesOut.Load(),
		Accepted:      b.count.accepted.Load(),
		Expired:       b.count.expired.Load(),
		MostClients:   int(b.count.mostClients.Load()),
		Clients:       make(map[string]int, len(b.count.clients)),
		Dropped:       make(map[string]uint64, dropReasons),
		Disconnects:   make(map[string]uint64, causes),
	}
	b.mu.Lock()
	s.Connections, s.Sessions = len(b.conns), len(b.sessions)
	b.mu.Unlock()
	s.Retained, s.RetainedBytes = b.retained.size()
	if j := b.journal; j != nil {
		s.UnstoredBytes, s.StoreCommits, s.StoreFailures, s.Stored = j.pending.Load(), j.commits.Load(), j.failures.Load(), j.written.Load()
	}
	s.PacketsSent = s.Delivered + s.Acked + b.count.answers.Load()
	for v := mqtt.V31; v <= mqtt.V5; v++ {
		s.Clients[v.String()] = int(b.count.clients[v].Load())
	}
	for r := range dropReasons {
		s.Dropped[r.String()] = b.count.dropped[r].Load()
	}
	for c := causeDisconnect; c < causes; c++ {
		s.Disconnects[c.String()] = b.count.ended[c].Load()
	}
	for _, c := range []cause{causeProtocol, causeTooLarge} {
		s.Malformed += b.count.ended[c].Load()
	}
	return s
}
