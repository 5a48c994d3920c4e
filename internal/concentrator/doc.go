// Package concentrator is the role between the meters and the centre: a broker for the devices, with an MQTT-SN gateway in
// front of it, and a bridge to the upstream, assembled, plus what the concentrator does as a device itself.
//
// What lives here: the assembly, its configuration, its statistics and metrics, and the answers to commands that address the
// concentrator (docs/contract.md, sections 1 and 2). What may not: MQTT, the prefix mapping (package bridge), any look into the
// messages of devices.
//
// Memory is bounded: by the bridge's queue upward (Options.QueueBytes) and by the bounds of the broker downward. What a
// concentrator holds is lost with its process; no reading depends on it.
package concentrator
