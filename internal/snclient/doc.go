// Package snclient is a client of MQTT-SN 1.2, for devices on narrow links and batteries. It is written to be read in one
// sitting and to be carried over to a small device: one task, one request under way, plain sequential code. It keeps to the
// specification on the wire and knows nothing of meters.
//
// Read it in this order: client.go is what a program calls, session.go the life of a connection, ask.go a request with its
// repetitions, publish.go and sleep.go what their names say, receive.go what gateways send by themselves, discover.go how one is found.
//
// # States
//
//	              found, or given              CONNACK                     nothing to do for Linger
//	searching ───────────────────> connecting ─────────> active ───────────────────────────────────> asleep
//	    ^  ^                           │  ^  ^              │  ^                DISCONNECT(duration)   │  ^
//	    │  │ no answer: another        │  │  └── DISCONNECT ┤  │                                      │  │ PINGRESP
//	    │  └───────────────────────────┘  │      from it     │  └── PINGRESP, CONNECT, CONNACK ── awake │
//	    │                                 │                  │          (there is something to send)  ^ v
//	    └─────────────────────────────────┴── no answer to N_retry repetitions ──────────────────────┴─┘
//	                                                           PINGREQ(client id) at the planned time, or when there is something to send
//
// A CONNECT that ends a sleep carries no will and begins no new registration: the gateway has both. Before it the client polls,
// since CONNACK does not say whether the gateway still has the session (it has no "session present"); one that has forgotten it
// answers the poll with DISCONNECT, and then the client connects anew with its will and its subscriptions.
//
// # Bounds
//
// Options.QueueBytes of outgoing messages; 256 names of topics from the gateway; 64 unfinished incoming messages of QoS 2; 16
// gateways. What is above is refused, and counted.
package snclient
