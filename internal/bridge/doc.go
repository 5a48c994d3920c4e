// Package bridge links a broker of the same process to its upstream: a centre or another concentrator, by the prefix mapping of the
// contract (docs/contract.md, section 1) and nothing else; or, as a plain bridge, any MQTT server by rules (see [NewPlain]).
//
// What lives here: the five rows of the mapping, the putting together of messages, the queue for the upstream and its bound, the choice of an upstream, and the
// status and will by which the upstream knows the concentrator. Towards the upstream it is a client, package client, and keeps
// to what a client is to keep to, MQTT 3.1.1: [MQTT-7.0.0-1]. What may not: any look into a payload, meters, commands.
//
// # Upward
//
//	meter --PUBLISH up/meter/M1/reading--> broker --handler--> queue ~~> client --PUBLISH up/C7/meter/M1/reading--> upstream
//	meter <--PUBACK-- broker <--handler returns--+
//
// A message is acknowledged to the device once it is in the queue, whether the upstream is there or not and also before it
// was there for the first time. The queue is bounded by Options.QueueBytes; at the bound the handler waits, which stops the
// reading of that device: nothing acknowledged is dropped. QoS 2 becomes 1; QoS 0 stays 0 and is dropped while there is no
// connection, since a device repeats what it sends at QoS 0. While the bridge is stopping it takes no message any more: those
// that arrive stay unacknowledged, so the device keeps them.
//
// # Batches
//
// With Options.Batch, messages that may wait are put together into the contract's message 0x08, which saves the upstream and the
// way to it messages. By count, bytes or age, whichever comes first, the batch goes into the queue; what is news goes behind it
// at once (see batchable). The open batch is part of the queue in every respect: what is in it is acknowledged, it goes up
// before anything later, and it is lost with the process like the rest. A batch of one goes as the message it is. The parts
// are known by their topics alone; no payload is looked into.
//
// # Downward
//
//	upstream --PUBLISH dn/C7/meter/M1/cmd--> client --broker.Publish dn/meter/M1/cmd--> session of M1
//	upstream <--PUBACK-- client <--Publish returns--+
//
// # No loop
//
// What goes up begins with up/, what comes down with dn/, so no message turns round. A message whose path holds this
// concentrator already has gone round a ring of bridges; it is dropped and counted. Broadcasts (dn/all, dn/group) carry no
// path: upstreams must not be arranged in a ring.
package bridge
