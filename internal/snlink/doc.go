// Package snlink carries MQTT-SN messages between devices and gateways, whatever lies between them: a datagram in, a datagram
// out, each one whole message or one encapsulated message. It knows the forwarder's wrapper (MQTT-SN 1.2, 5.5) and nothing else
// of the protocol: no sessions, no topics.
//
//	UDP        plain datagrams, with a multicast group for ADVERTISE and SEARCHGW
//	DTLS       the same with DTLS 1.2, by pre-shared keys or certificates; the peer's identity is part of its address
//	Forwarded  what stands in front of a gateway and takes the wrappers of forwarders off; Forwarder puts them on
//	Stream     frames with a length over anything that reads and writes: a serial device, a TCP connection of a PLC modem
//	Fragmented cuts messages that are longer than a frame, and puts them together
//	Streams    all the streams that a listener accepts, each one peer
//	Reopened   around a link that may be lost and opened again
//	Medium     a simulated narrowband link: bit rate, frame size, delay, loss, duplication, reordering, from a seed
//
// # Addresses
//
// Every transport here is a Conn and gives its peers addresses that are comparable values: they can be keys of a map as they
// are, and two equal ones are the same peer. An address that implements Identity was proven by the transport. Where the address
// is enough to reach somebody it can be kept as text, over a restart too, and found again: see [Find].
//
// # Bounds
//
// A transport that needs a queue drops what does not fit into it, as a radio does, and counts it; nothing blocks a reader
// for ever. The bounds stand at the constants.
package snlink
