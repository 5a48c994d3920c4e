package mqtt

import "strconv"

// Version is a protocol level as it stands in CONNECT.
type Version byte

// The protocol levels in use.
const (
	V31  Version = 3 // MQTT 3.1, protocol name "MQIsdp"
	V311 Version = 4 // MQTT 3.1.1, protocol name "MQTT"
	V5   Version = 5 // MQTT 5, protocol name "MQTT"
)

// bridgeBit marks a CONNECT that comes from the bridge of another broker.
// Mosquitto offers 0x83 and 0x84 first; the rest of the packet is as without it.
const bridgeBit = 0x80

// String gives the name people use: "3.1", "3.1.1", "5".
func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	case V5:
		return "5"
	}
	return "level " + strconv.Itoa(int(v))
}

// protocolName is what CONNECT carries for the version.
func (v Version) protocolName() string {
	if v == V31 {
		return "MQIsdp"
	}
	return "MQTT"
}
