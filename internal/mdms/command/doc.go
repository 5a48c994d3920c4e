// Package command is the life of commands (IEC 61968-9 EndDeviceControls; docs/contract.md, sections 2 and 6): it accepts
// them, sends them one at a time to each meter, repeats them until their result or their expiry, and keeps their history.
// Memberships of groups live here too, because they reach the meters as commands.
//
// The engine is a plain struct: no goroutine, timer or lock. One loop calls it, in this order, so that nothing is sent
// that a power cut could make the centre forget:
//
//	Create, Cancel, PutGroup, OnResult, …  change the state in RAM
//	Changed                                hands out what must be kept
//	commit of the store
//	Tick                                   is the only place that sends, and only what Changed has handed out
//
// It speaks no transport, reads no store but through the reader it is given, and knows nothing of outages: the breaker
// position in a result is the outage engine's matter.
package command
