package topic

import "strings"

// The predefined topic ids of MQTT-SN are the type codes of the messages (contract, 2): those of what a meter sends from 0x0001
// on, of what is for one meter from 0x0081 on, and of what is for all meters from 0x0181 on.
var (
	upEvents = [...]string{0x01: "location", 0x02: "reading", 0x03: "profile", 0x04: "result", 0x05: "power", 0x06: "lost", 0x07: "event",
		0x0A: "submeter", 0x0B: "firmware-state"}
	downEvents = [...]string{0x01: "location-ack", 0x02: "cmd", 0x03: "groups", 0x04: "firmware", 0x05: "block"}
)

const (
	downBase = 0x0080
	allBase  = 0x0180
)

// Predefined gives the topic name of a predefined id for a meter.
func Predefined(id string, code uint16) (name string, ok bool) {
	switch {
	case code == 0 || CheckID(id) != nil: // dn/meter/+/cmd would be everybody's
	case int(code) < len(upEvents) && upEvents[code] != "":
		return "up/" + Meter + "/" + id + "/" + upEvents[code], true
	case code > downBase && int(code-downBase) < len(downEvents):
		return "dn/" + Meter + "/" + id + "/" + downEvents[code-downBase], true
	case code > allBase && int(code-allBase) < len(downEvents):
		return "dn/all/" + Meter + "/" + downEvents[code-allBase], true
	}
	return "", false
}

// PredefinedID gives the predefined id of a topic name for a meter. It allocates nothing.
func PredefinedID(id, name string) (code uint16, ok bool) {
	if event, all := strings.CutPrefix(name, "dn/all/"+Meter+"/"); all {
		return find(downEvents[:], allBase, event)
	}
	direction, rest, _ := strings.Cut(name, "/"+Meter+"/")
	event, mine := strings.CutPrefix(rest, id)
	if event, mine2 := strings.CutPrefix(event, "/"); mine && mine2 && id != "" {
		switch Direction(direction) {
		case Up:
			return find(upEvents[:], 0, event)
		case Down:
			return find(downEvents[:], downBase, event)
		}
	}
	return 0, false
}

func find(events []string, base uint16, event string) (uint16, bool) {
	for i, e := range events {
		if e != "" && e == event {
			return base + uint16(i), true
		}
	}
	return 0, false
}
