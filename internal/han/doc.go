// Package han is the home side of a meter that is a gateway: ECHONET Lite over UDP on the home network, where chargers, solar
// power, batteries and appliances are. Each object found becomes a device of its own on the bus, of kind ev, pv or han:
//
//	charger, panel, appliance ──ECHONET Lite, UDP 3610──> Network ── Appliance (device.Driver) ── device ──MQTT──> concentrator
//
// Network asks and hears nodes, Appliance reads and switches one object of a node, Gateway looks for objects and runs a device for
// each. What an object tells becomes an import register (what it took, or charged) and an export register (what it gave), in Wh.
// A breaker command switches it on and off (operation status, 0x80).
//
// Properties are those of the ECHONET device objects (Appendix, release P): the super class, 0x0279 solar power, 0x027D storage
// battery, 0x027E charger and discharger of vehicles, 0x02A1 charger of vehicles.
package han
