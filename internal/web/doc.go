// Package web serves the centre's HTTP API (docs/contract.md, section 6), its live events and the console.
//
// It holds no state of the centre: every answer comes over the bus from the role that owns it, every live event is passed
// on from the bus, and the bus carries only what some client follows. So any number of web processes may run.
//
// What may not live here: business rules, storage, knowledge of MQTT.
//
// # Bounds
//
// A request body has at most 1 MiB, a request's headers 32 KiB. A live stream keeps at most 1,024 + 1,024 events and 1 MiB
// + 1 MiB for a slow reader, and there are at most Options.MaxStreams of them, half of
// them for one caller. An answer with an ETag is held until it is whole, 8 MiB at
// most. Rates are counted for 10,000 callers; those beyond share one allowance.
package web
