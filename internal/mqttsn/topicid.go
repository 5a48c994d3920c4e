package mqttsn

// TopicType says what the two octets of a topic id mean (MQTT-SN 1.2, 5.3.11).
type TopicType byte

// The topic id types; 3 is reserved.
const (
	Normal     TopicType = 0 // registered; in SUBSCRIBE and UNSUBSCRIBE a full topic name
	Predefined TopicType = 1 // known to both ends beforehand
	Short      TopicType = 2 // the two characters of a short topic name
)

// Topic ids that no gateway assigns.
const (
	TopicIDNone     = 0x0000
	TopicIDReserved = 0xffff
)

// ShortID gives the topic id that carries a topic name of two octets. Names with
// wildcards have none: a short name cannot be a filter.
func ShortID(name string) (id uint16, ok bool) {
	if len(name) != 2 || !validShort(name[0]) || !validShort(name[1]) {
		return 0, false
	}
	return uint16(name[0])<<8 | uint16(name[1]), true
}

// ShortName gives the topic name that a short topic id carries. ok is false for
// what is no topic name: wildcards, control octets, half a UTF-8 character.
func ShortName(id uint16) (name string, ok bool) {
	hi, lo := byte(id>>8), byte(id)
	return string([]byte{hi, lo}), validShort(hi) && validShort(lo)
}

func validShort(c byte) bool { return c > 0x20 && c < 0x7f && c != '+' && c != '#' }
