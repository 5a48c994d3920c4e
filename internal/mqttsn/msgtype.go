package mqttsn

import "strconv"

// MsgType is the octet after the length (MQTT-SN 1.2, 5.2.2).
type MsgType byte

// The messages. Mind the order of PUBCOMP, PUBREC, PUBREL, which is not MQTT's.
const (
	ADVERTISE     MsgType = 0x00
	SEARCHGW      MsgType = 0x01
	GWINFO        MsgType = 0x02
	CONNECT       MsgType = 0x04
	CONNACK       MsgType = 0x05
	WILLTOPICREQ  MsgType = 0x06
	WILLTOPIC     MsgType = 0x07
	WILLMSGREQ    MsgType = 0x08
	WILLMSG       MsgType = 0x09
	REGISTER      MsgType = 0x0a
	REGACK        MsgType = 0x0b
	PUBLISH       MsgType = 0x0c
	PUBACK        MsgType = 0x0d
	PUBCOMP       MsgType = 0x0e
	PUBREC        MsgType = 0x0f
	PUBREL        MsgType = 0x10
	SUBSCRIBE     MsgType = 0x12
	SUBACK        MsgType = 0x13
	UNSUBSCRIBE   MsgType = 0x14
	UNSUBACK      MsgType = 0x15
	PINGREQ       MsgType = 0x16
	PINGRESP      MsgType = 0x17
	DISCONNECT    MsgType = 0x18
	WILLTOPICUPD  MsgType = 0x1a
	WILLTOPICRESP MsgType = 0x1b
	WILLMSGUPD    MsgType = 0x1c
	WILLMSGRESP   MsgType = 0x1d
	FORWARD       MsgType = 0xfe // encapsulated message (5.5)
)

var names = [...]string{
	ADVERTISE: "ADVERTISE", SEARCHGW: "SEARCHGW", GWINFO: "GWINFO",
	CONNECT: "CONNECT", CONNACK: "CONNACK",
	WILLTOPICREQ: "WILLTOPICREQ", WILLTOPIC: "WILLTOPIC", WILLMSGREQ: "WILLMSGREQ", WILLMSG: "WILLMSG",
	REGISTER: "REGISTER", REGACK: "REGACK",
	PUBLISH: "PUBLISH", PUBACK: "PUBACK", PUBCOMP: "PUBCOMP", PUBREC: "PUBREC", PUBREL: "PUBREL",
	SUBSCRIBE: "SUBSCRIBE", SUBACK: "SUBACK", UNSUBSCRIBE: "UNSUBSCRIBE", UNSUBACK: "UNSUBACK",
	PINGREQ: "PINGREQ", PINGRESP: "PINGRESP", DISCONNECT: "DISCONNECT",
	WILLTOPICUPD: "WILLTOPICUPD", WILLTOPICRESP: "WILLTOPICRESP",
	WILLMSGUPD: "WILLMSGUPD", WILLMSGRESP: "WILLMSGRESP",
}

// known reports whether the type is not reserved.
func (t MsgType) known() bool { return int(t) < len(names) && names[t] != "" || t == FORWARD }

// String gives the name of the specification.
func (t MsgType) String() string {
	switch {
	case t == FORWARD:
		return "encapsulated message"
	case t.known():
		return names[t]
	}
	return "message type 0x" + strconv.FormatUint(uint64(t), 16)
}
