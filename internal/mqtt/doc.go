// Package mqtt turns bytes into MQTT control packets and back: MQTT 3.1
// (protocol name MQIsdp), MQTT 3.1.1 and MQTT 5, one file per packet.
//
// What lives here: the fixed header, one struct, one Decode and one Append
// function per packet, and the errors they return. Every function takes the
// protocol version, because the same bytes mean different things in different
// versions. What only MQTT 5 has, reason codes ([Reason]) and [Properties], is not
// sent to an older peer. A CONNECT of a version that is none of the three gives a
// [VersionError].
//
// What may not: I/O, sessions, clocks, goroutines, and the meaning of topics.
//
// # Reading a stream
//
// A reader calls [ParseFixedHeader] on what it has. It then knows the type and
// the length of the packet, so it can refuse a large one before a single byte of
// it is buffered, checks the header against the version ([FixedHeader.Check]),
// and hands the h.Length bytes that follow to the Decode function of the type.
//
// # What is wrong with a packet
//
// Every error wraps one of the sentinels of this package. [ReasonOf] gives the reason
// code with which MQTT 5 ends the connection: malformed for what cannot be read,
// protocol error for what can and is not allowed.
//
// # Memory
//
// Decoded strings are copies. Byte slices (payloads, passwords) alias the input:
// clone what is kept. [ParsePublish] is the one exception for the hot path: its
// topic and properties alias the input as well, and the properties stay bytes,
// which a server passes on without reading them ([Forward]). The Append functions only append to dst and do
// not allocate beyond its growth; on an error they return dst as it came.
package mqtt
