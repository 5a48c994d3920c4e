package mqttsn

// QoS is a quality of service: 0, 1, 2, or -1 for a message without a connection.
type QoS int8

// The bits of the flags octet (MQTT-SN 1.2, 5.3.4). Bits that a message does not use
// are sent as 0 and not looked at.
const (
	flagDup    = 0x80
	flagQoS    = 0x60
	flagRetain = 0x10
	flagWill   = 0x08
	flagClean  = 0x04
	flagTopic  = 0x03
)

func (q QoS) flags() byte {
	if q < 0 {
		return flagQoS
	}
	return byte(q) << 5
}

func qosOf(flags byte) QoS {
	if flags&flagQoS == flagQoS {
		return -1
	}
	return QoS(flags & flagQoS >> 5)
}

func flagIf(set bool, flag byte) byte {
	if set {
		return flag
	}
	return 0
}
