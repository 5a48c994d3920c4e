// Package bus is the centre's event bus: NATS with JetStream, embedded in the process by default (without a listener,
// connected in memory) or a remote server or cluster. One table (streams.go) says which streams, subjects and durables
// there are; an existing one that differs stops Open with an error and nothing is deleted.
//
//	wb.up.<writer>               stream WB_UP, what devices sent: one message per committed batch (batch.go)
//	wb.dead.<reason>             stream WB_DEAD, what could not be understood
//	wb.out                       stream WB_OUT, events for other systems in batches (outbatch.go); empty while nobody wants any
//	wb.dn                        core: messages on their way down to devices
//	wb.now                       core: copies of messages that somebody waits for, ahead of the stream (now.go)
//	wb.ev.<kind>.<name>.<id>     core: CloudEvents
//	wb.q.<name>                  core: questions and answers between roles
//
// An id stands as the last token of a subject as it is, its dots included: M.1 is two tokens there, so events of one
// device are subscribed with the id as it is, those of all devices with ">". An id with an empty token ("a..b", "a.") would
// not be a subject; its dots are written %2E.
//
// What was published with PublishBatch and confirmed is synced to disk. Batches lie in the stream in the order of the
// PublishBatch calls, also after refusals, timeouts and retries. ConsumeBatches delivers them in that order, again and again
// until the handler returns nil.
//
// No business rule lives here: what a payload means, who may send what and where a device is, is known by the roles.
package bus
