// Package broker is an MQTT server for MQTT 3.1, 3.1.1 and 5, also for Go code in the
// same process: listeners, sessions, subscriptions, retained messages, wills,
// authentication and access control.
//
// What lives here: everything between a socket and a [Handler]. What may not:
// anything about meters, upstreams or the contract's topics; the format of packets
// (package mqtt); the match tree (package topic).
//
// # What is promised
//
// A message is acknowledged (PUBACK, PUBREC) when every connected session that
// subscribes to it has it in its queue, every persistent session that is not
// connected has been offered it, and every handler has returned, or has called
// [Acknowledge] if it deferred. Acknowledgements keep the order of the messages.
// Nothing that was acknowledged is dropped for a connected session: where a queue
// is full the broker does not acknowledge, and at last stops reading from those who
// feed it.
//
// QoS 1 and 2 leave a queue when the client has acknowledged them; when it comes
// back they are sent again in the order of the first time, then what has waited.
// What a client of MQTT 5 refuses with a reason code is done with, too.
//
// Three things end a message earlier, because a client has asked for it: its message
// expiry interval, counted while it waits; the largest packet that a subscriber takes;
// and the end of the subscriber's session. All are counted (message_expired, too_large,
// session_ended).
//
// # MQTT 5
//
// All of it, for each version beside the others: a message keeps its properties for
// those subscribers who know them, as bytes and in their order. Subscriptions may be
// shared ($share/name/filter) in every version, see share. An [Authenticator] that is
// [Enhanced] takes part in authentication of several steps; Options.Redirect and
// [Broker.Redirect] send clients to another server. Handlers read properties by
// [Inbound.Properties]; [Broker.Send] takes some. What a connection of MQTT 5 has
// besides, and what a message has, hangs on one pointer each, so others pay nothing.
//
// # Bounds
//
//   - One packet: MaxPacketSize, before CONNECT MaxConnectSize, refused from the
//     fixed header. Packets that arrived in part: MaxAssemblyBytes over all
//     connections, taken as bytes arrive, not as lengths are claimed. A SUBSCRIBE or
//     UNSUBSCRIBE of 1 KiB or more is done in parts and counts there eight times as long
//     as it is under way.
//   - A connected session: MaxSessionQueueBytes. Beyond, messages are queued and
//     not acknowledged until half is free; at four times the bound their publishers
//     are not read any more. Publish waits at the bound. A session that takes
//     nothing for StallTimeout meanwhile loses its connection; one that is
//     persistent keeps its queue. QoS 0 is not queued beyond the bound but dropped
//     and counted.
//   - To a new subscription: what is retained, in addition to what waits already, as long as
//     a session has no more than MaxSessionQueueBytes and MaxRetainedBytes together, and all of
//     them four times MaxQueueBytes. Beyond, it is dropped and counted (retained_full), and so is
//     what the broker tells of itself beyond MaxSessionQueueBytes (qos0_full).
//   - A session that is not connected: QoS 0 is not kept; QoS 1 and 2 up to
//     MaxSessionQueueBytes, and up to half of MaxQueueBytes for all of them. Beyond,
//     the newest message is dropped and counted (offline_session_full,
//     offline_total_full), after what has expired; what was kept before stays, in
//     order. The session ends after SessionExpiry, or sooner if its client says so.
//   - A session that a [Local] has: LocalOptions.MaxBytes, and up to half of
//     MaxQueueBytes with those that are not connected. Nobody waits for it: the oldest
//     message of QoS 0 makes room, else the newest is dropped and counted.
//   - All queues: MaxQueueBytes, in the same way.
//   - Of QoS 2, what a client has begun and does not release: 65,535 packet identifiers, of which
//     each session keeps a bit.
//   - To a client: MaxInflight messages of QoS 1 and 2 wait for acknowledgement.
//     From a client: 65,535, the number of its packet identifiers, in MQTT 5
//     ReceiveMaximum; 64 KiB of answers it does not take suspend its reading. A client
//     of MQTT 5 may lower the first.
//   - Topic aliases: MaxTopicAliases in each direction of a connection; the topics that
//     a client has set count among MaxAssemblyBytes.
//   - Subscriptions, filters, retained messages, sessions, connections: see
//     [Options].
//
// A bound may be exceeded by what one read of each publisher brings: 16 KiB or one
// packet.
//
// # What survives the process
//
// With Options.Store, of sessions that outlive their connections: the session with its
// user and its expiry, which goes on by the wall clock; subscriptions; what waits at QoS 1
// and 2, in order; what is under way of QoS 2 in both directions, with its packet
// identifiers; retained messages; wills, also those of clean sessions and delayed ones; and
// what an [Outgoing] keeps. Whether the process ends in order or is killed is
// the same, but for what was not acknowledged.
//
//   - PUBACK and PUBREC go out after the commit that holds what the message has become:
//     what waits for stored sessions, what is retained, and for a stored publisher of
//     QoS 2 that it has come. A message that nothing of it is stored for does not wait.
//   - PUBCOMP, SUBACK and UNSUBACK of a stored session, and the CONNACK of a clean one in
//     the place of a stored one, go out after the commit of what they say. Any other
//     CONNACK does not wait: what matters of a new session waits by itself.
//   - Send waits for the commit once the broker runs.
//   - Deliveries do not wait, except those of QoS 2: a packet identifier, and then PUBREC,
//     is committed before PUBLISH and PUBREL are sent, many at once. Of QoS 1, what is
//     restored is sent under new packet identifiers, and with DUP if it may have been sent:
//     not what came after its client had left.
//   - A handler that had deferred a message of QoS 2 gets it again when its client repeats
//     it; the sessions that have it do not.
//   - One commit is under way at a time, and the next one gathers meanwhile, so the delay is
//     that of one or two. What is acknowledged by its subscriber before its commit is
//     never written.
//   - A commit that fails is tried again, and meanwhile nothing of it is acknowledged: the
//     clients stop by themselves, at 65,535 messages each; beyond 32 MiB of changes the
//     readers of publishers wait. When Run ends it tries for ten seconds more.
//
// The will of a client that was connected when the broker ended, in order or not, goes out
// after the next start unless the client comes back within Options.WillGrace, or within its
// will delay if that is longer.
//
// Not stored: clean sessions; QoS 0 that waits; wills of a [Local], whose owner has them. A
// session that was connected when the process was killed counts as left when the broker is
// started again. For a [Local], PUBREL and PUBCOMP, which its owner sends, do not wait for
// their commits: after a kill in between, one message of QoS 2 may be given twice, and one
// that is published under the same packet identifier at once may be taken for a repeat.
//
// # Goroutines
//
// On Linux a few pollers accept, read, handle and end the connections that are plain
// sockets, and those of TLS over a socket once their handshake is over, one after the
// other; one that waits has neither goroutine nor buffer of ours.
// Whatever blocks in a connection, handlers above all, holds up that one only: its
// poller goes on in another goroutine, at once or within some milliseconds, see
// poller. Elsewhere, and for WebSockets, each connection has a goroutine,
// and still no buffer while it waits: see readable. A writer exists only while a
// client takes less at once than there is for it, or the process publishes to many, see
// backlog. One goroutine waits for the next
// session to end and the next will that was delayed; with a store another one commits.
// Nothing walks over all clients periodically.
package broker
