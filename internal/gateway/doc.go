// Package gateway is an MQTT-SN 1.2 gateway: it lets devices on small and lossy links, which sleep most of the time,
// be clients of an MQTT server. It stands in front of the broker of its own process (see [InProcess]) or of any MQTT
// server (see [Upstream]).
//
// What lives here: connections of MQTT-SN, topic ids, sleeping clients, retransmission, discovery, and what has to survive a
// restart. What may not: the format of messages (package mqttsn), links (package snlink), and the meaning of topics and
// payloads; predefined topic ids come in as a table.
//
// # How it is built
//
//	link ──reader──> lock ─ client's state machine ─ unlock ──> shard of work ──> session at the server
//	link <──writer── queue of the link <────────────────────── done, ready <─────────────┘
//
// One lock guards all clients, and nothing that may wait happens under it: what a client wants from the server goes through one
// of a few queues, in order for each client, and the answer comes back under the lock. What goes out is put into the queue of
// its link. A client has no goroutine, no timer and no buffer of its own: one heap holds all deadlines, and messages wait in
// the client's session at the server.
//
// # Bounds
//
//   - Clients, connected or not: MaxClients. Beyond, one that is not connected is forgotten, else CONNECT is refused with
//     congestion.
//   - Work that waits for the server: QueueMessages for each of the Shards. Beyond, the gateway answers congestion, and drops
//     and counts QoS 0.
//   - From a client: Window messages of QoS 1 and 2 that the server has not acknowledged; then congestion. The last few message
//     ids of QoS 1 are remembered, so that a repeat is acknowledged and not published again.
//   - To a client: one message of QoS 1 or 2, and one REGISTER, at a time. What waits is bounded by the session: in process
//     SessionBytes, where the oldest message of QoS 0 makes room and then the newest message is dropped and counted.
//   - Topic ids: MaxTopics for each client; beyond, REGISTER and SUBSCRIBE are refused with congestion and a message that would
//     need one is dropped and counted.
//   - To a link: linkQueue octets wait for its writer; beyond, datagrams are dropped and counted, as a radio would.
//   - QoS -1: from known addresses, AnonymousRate messages in a second from each; from others only to the topics of Anonymous, ten
//     times as many from all of them together.
//
// # What survives what
//
// A gateway that is started again with the same [Store] knows its clients, where they are, how long they sleep, their topic ids,
// subscriptions and wills. What waits for them is the server's to keep, and what it has of a client's messages and subscriptions: PUBACK,
// PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK go to the client when the broker of the process has stored what they say. A client that the new gateway does not know is told so by
// DISCONNECT and connects again; a topic id that it does not know is refused and registered again. A client
// that was active is sent what waits for it without having spoken, where its link can reach it by its address alone
// ([snlink.Find]): not behind DTLS, whose keys ended with the process, and not on a stream that the other end has to open.
package gateway
