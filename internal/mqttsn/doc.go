// Package mqttsn turns datagrams into MQTT-SN 1.2 messages and back, one file per
// message, with the forwarder encapsulation.
//
// What lives here: the header, the flags, topic identifiers, one struct with an
// Append method and one Decode function per message, and the errors they return.
// What may not: I/O, sessions, clocks, goroutines, and the meaning of topics.
//
// # Reading a datagram
//
// One datagram is one message. A receiver calls [ParseHeader], which refuses a
// datagram whose announced length is not its real one, and hands the body to the
// Decode function of the type; [Decode] does both for whoever does not mind that
// the message is boxed in an interface. A [Forward] wraps another datagram, which
// is parsed in its turn; a wrapper inside a wrapper is refused.
//
//	 short form            long form, needed from 256 octets on
//	┌────────┬──────┬──  ┌──────┬────────┬────────┬──────┬──
//	│ length │ type │    │ 0x01 │ len hi │ len lo │ type │
//	└────────┴──────┴──  └──────┴────────┴────────┴──────┴──
//
// The length counts all octets, itself included. Numbers are big-endian.
//
// # Memory
//
// Decoded strings are copies. Byte slices (payloads, addresses) alias the input:
// clone what is kept. The Append methods only append to dst and do not allocate
// beyond its growth; on an error they return dst as it came.
package mqttsn
