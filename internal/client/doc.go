// Package client is the MQTT client of the project's own, for MQTT 3.1, 3.1.1 and 5, used by meters (thousands in a process)
// and by bridges (one connection with a very high rate).
//
// What lives here: connecting and reconnecting with back-off and jitter, a choice of servers in order of preference,
// keep-alive and the detection of a dead peer, the queue of outgoing messages and its re-sending, subscriptions, and the
// receiving side of QoS 1 and 2. What may not: what a topic or a payload means, meters, concentrators, files.
//
// Servers are reached over TCP (mqtt://), TLS (mqtts://) and WebSocket (ws://, wss://).
//
// # Promise
//
// A message of QoS 1 or 2 that Publish accepted is kept until the server has acknowledged it, over any number of
// connections, as long as the process lives. Messages are sent in the order in which they were accepted; after a
// reconnection everything unacknowledged is sent again in that order, before anything new, with DUP set [MQTT-4.6.0-1]
// [MQTT-3.3.1-1]. A message of QoS 0 is sent in its place in that order, or dropped when the connection ends first.
//
// What is in the queue, and with it the state of QoS 2, lasts as long as the process. A new process that finds the session of a
// former one with a QoS 2 exchange begun may have a message with the same identifier taken for a repetition; use QoS 1, or a
// clean session, where the process may be killed.
//
// # MQTT 5
//
// What the server says in CONNACK holds for its connection: how many messages may be under way, its keep-alive, the client id it
// gave. What is queued already is made what it takes: QoS 2 becomes 1, RETAIN goes, and a packet that is too large is dropped and
// counted, since it would end every connection. A server without QoS 1 is not used. A message with an expiry is dropped and
// counted when that has passed before it was sent for the first time, and else says what is left of it. A message that the
// server acknowledges with a failure is done with (OnRefused). A server that names another one is followed (MaxRedirects). With
// Options.Aliases a topic that was sent before on the connection goes as an alias; what is queued keeps its topic, for an alias
// means nothing on the next connection.
//
// # Memory
//
// The queue is bounded by Options.QueueBytes, in which a message counts its length as a packet plus 32 bytes, and while there
// is a connection by Options.OnlineBytes: what waits behind a long queue is late. Encoded packets
// stand one behind another in segments of 512 bytes to 64 KiB, so what is sent is written from where it is kept. While
// nothing arrives a client holds no buffer for reading (on Unix over TCP; TLS keeps its own) and one goroutine, the one that
// called Run; a second one, which writes, exists only while there is something to write. A received packet is bounded by
// Options.MaxPacketSize.
//
// # States
//
//	          Run                 CONNACK accepted
//	idle ────────────> connecting ────────────────> online ──┐ ctx ends: farewell, DISCONNECT
//	                    ^   │  ^                     │       └──────────────> idle (Run returns)
//	 next server, or    │   │  └──── back-off <──────┘
//	 the back-off ends  └───┘           any error
//
//	Kill, in any state: the connection is dropped without a DISCONNECT and the client is dark until Resume.
package client
