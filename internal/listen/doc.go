// Package listen opens the doors of a broker: TCP, TLS, WebSocket, secure
// WebSocket and Unix sockets, with the PROXY protocol in front of them where a
// trusted proxy stands there. Certificates can be loaded anew while connections
// live.
//
// All of them are ordered and lossless streams of bytes, both ways, MQTT 3.1.1:
// [MQTT-7.1.1-1], MQTT 5: [MQTT-4.2-1].
//
// What lives here: everything between accept and the first byte of MQTT, and the
// framing of WebSockets. What may not: MQTT, users, flags.
//
// # One connection, one goroutine
//
// Accept returns at once. What comes before MQTT (a proxy's header, the TLS
// handshake, the upgrade to a WebSocket) happens in [Conn.Open], on the goroutine
// of who serves the connection and within the deadline it has set, so that a client
// that is slow or says nothing holds up nobody. Open itself borrows a goroutine that
// ends with it. A client on TLS takes some 21 KB while it is idle, on a WebSocket 9 KB.
//
// # Bounds
//
// The header of a proxy: 2,048 bytes. The request of a WebSocket: 8 KiB. A
// WebSocket frame: MaxFrame, refused from its header; frames are read as a stream,
// so no frame is held in memory, and a connection that waits has no buffer of its
// own beyond that of TLS.
package listen
