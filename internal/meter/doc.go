// Package meter is the agent that runs in a meter: registration, registers, load profile, commands, breaker, last gasp. It
// keeps docs/contract.md, section 2, on the device's side; it knows no fleet, no data set and nothing of the centre.
//
// # Parts
//
//	core      what a meter does, as a state machine without I/O: time and messages in, messages out
//	curve     registers and intervals from a load curve and the spans in which nothing was consumed
//	Hardware  what measures and switches in a real meter, in the place of the curve; Samples is then its profile memory
//	State     what must last, its encoding, and Store with two implementations: Log (a file) and Memory
//	Update    how it takes new firmware; Slot is where an image is put together, with two implementations: FileSlot and MemorySlot
//	Agent     one goroutine that joins the core to a connection, to the clock and to the store
//	Scheduler wakes many agents at their business times with one goroutine
//
// # Profile memory
//
// With hardware the registers at the ends of intervals are stored (Samples). With a load curve the 45 days of intervals are not stored
// as values. The curve (Source) is a pure function of the meter's time, so an interval is the difference of two register values, less
// what lies in a cut: a span with the breaker open or the power gone.
// Only the cuts are state. Hence intervals of any length add up to register differences exactly, kill -9 cannot change a
// value, and an agent takes about 3 KB beside its connection.
//
// # States of a connection
//
//	             attempt: sequence+1, kept in the store before CONNECT, in the will
//	connecting ─────────────────────────────────────────────────> registering
//	    ^  ^                                                       │   │  location: at once, then 2 s doubling to 5 min
//	    │  └──── location-ack with a higher sequence (take it) ────┘   │
//	    │                                                              │ location-ack with the same sequence
//	    └──────────────────── connection lost ── registered <──────────┘
//
// # Breaker
//
//	        disconnect                      reconnect, armed
//	closed ────────────> open ─────────────────────────────────> ready
//	  ^  ^                │  <───────────── disconnect ───────────┘ │
//	  │  └── reconnect ───┘                                         │
//	  └───────────── a person at the meter (CloseBreaker), reconnect┘
package meter
