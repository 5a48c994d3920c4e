// Package connector is the centre's way out to other systems, and their way in: it delivers the events of the stream WB_OUT to the
// targets of a file, each of them at least once and in order per device, and turns messages into commands.
//
//	MDMS ──> WB_OUT ──> durable of a target ──> runner ──> session ──> file, webhook, …
//	                                                          └── refused: dead letter
//
// A target that is away holds up nobody: the stream keeps what it has not confirmed, for as long and as much as the centre is told
// to. What no target wants is not made at all.
//
// What events mean and who may command what is known by others: this package knows formats of messages and transports.
package connector
