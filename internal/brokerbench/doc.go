// Package brokerbench measures MQTT brokers side by side: the same load, one after the other, each broker a process of its
// own whose processor time and memory are told apart from those of the load.
//
// What lives here: the load (raw packets over one epoll loop, so that it costs less than any broker), the ledger of
// numbered messages that finds what was acknowledged and lost, and how each broker is started. What may not: a broker, or
// code of one.
package brokerbench
