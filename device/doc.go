// Package device is for makers of meters: it connects a meter to wattbus. You write a [Driver], which reads the registers of your
// hardware; [New] and [Device.Run] do the rest, whatever carries it:
//
//	your hardware <── Driver ── Device ── MQTT 3.1.1 or 5 over TCP, TLS, WebSocket ──────────────> concentrator
//	                                      MQTT-SN over UDP, DTLS, streams, serial lines, your radio
//
// The rest is: the connection and its repetition with growing pauses; registration, repeated until the centre has acknowledged it; a
// reading at the end of each interval; reads on demand; the load profile, of which the last 45 days are kept; commands to the
// breaker, which are verified and never carried out twice, also when the meter dies meanwhile; the last gasp when the power goes; the
// will, by which the centre learns that a meter is gone; clock, reading interval and groups as the centre sets them; and, over
// MQTT-SN, sleep with a plan of wake-ups, and finding and changing gateways.
//
// A Driver that can do more says so by its methods: [Switch] for one with a breaker, [Profile] for one with a load profile of its own,
// [Updater] for one whose firmware is replaced over the bus.
//
// The URL of the concentrator chooses the transport:
//
//	mqtt://host[:1883]                    MQTT over TCP
//	mqtts://host[:8883]                   the same over TLS
//	ws://host[:80][/mqtt]                 MQTT over WebSocket
//	wss://host[:443][/mqtt]               the same over TLS
//	mqttsn://host[:1894]                  MQTT-SN over UDP
//	mqttsns://host[:8894]                 the same over DTLS 1.2
//	mqttsn+multicast://225.1.1.1:1883     MQTT-SN over UDP, the gateway is to be found, and another one when it is gone
//	mqttsn+tcp://host:port                MQTT-SN over a stream, such as a PLC modem behind TCP
//	mqttsn+serial:///dev/ttyS0?baud=9600  MQTT-SN over a serial line
//
// docs/device.md is the way from nothing to a meter that runs. A meter that cannot run Go keeps to docs/contract.md; what it needs of
// MQTT-SN can be read in one sitting, and carried over, in internal/snclient.
package device
