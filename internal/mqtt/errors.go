package mqtt

import (
	"errors"
	"fmt"
)

// What can be wrong with a packet. Decode functions wrap these in a
// [PacketError]; test with errors.Is.
var (
	// ErrLength: the remaining length takes more than four bytes, or is none that
	// a packet of this type may have.
	ErrLength = errors.New("bad remaining length")
	// ErrTruncated: a field reaches beyond the end of the packet.
	ErrTruncated = errors.New("packet ends inside a field")
	// ErrTrailing: bytes are left after the last field.
	ErrTrailing = errors.New("bytes left after the last field")
	// ErrType: packet type 0, or one that the version does not have.
	ErrType = errors.New("packet type not allowed")
	// ErrFlags: reserved bits are not as the specification sets them.
	ErrFlags = errors.New("reserved flags not as specified")
	// ErrQoS: a quality of service above 2.
	ErrQoS = errors.New("quality of service must be 0, 1 or 2")
	// ErrPacketID: packet identifier 0 where one is needed.
	ErrPacketID = errors.New("packet identifier must not be 0")
	// ErrString: a string that is not UTF-8 or contains U+0000.
	ErrString = errors.New("string must be UTF-8 without U+0000")
	// ErrProperty: a property that does not exist, or not in this packet.
	ErrProperty = errors.New("property not allowed here")
	// ErrPropertyTwice: a property that may come once came again.
	ErrPropertyTwice = errors.New("property comes twice")
	// ErrValue: a value that the specification excludes, or one without another
	// that it needs.
	ErrValue = errors.New("value not allowed")
	// ErrTopicAlias: a topic alias of 0.
	ErrTopicAlias = errors.New("topic alias must not be 0")
	// ErrNoTopic: a PUBLISH of MQTT 5 with neither a topic nor an alias.
	ErrNoTopic = errors.New("neither topic nor topic alias")
	// ErrTopic: an empty topic, or a wildcard in the topic of a message.
	ErrTopic = errors.New("topic must have a character and no wildcard")
	// ErrEmpty: SUBSCRIBE, UNSUBSCRIBE, SUBACK or UNSUBACK without an entry.
	ErrEmpty = errors.New("at least one entry is needed")
	// ErrCode: a return or reason code the packet cannot carry.
	ErrCode = errors.New("code not allowed in this packet")
	// ErrProtocolName: CONNECT names another protocol than MQTT.
	ErrProtocolName = errors.New("protocol name must be MQTT or MQIsdp")
	// ErrTooLong: a value that its field cannot hold.
	ErrTooLong = errors.New("value longer than its field can hold")
	// ErrUnsupported: the version is one this package does not speak.
	ErrUnsupported = errors.New("protocol version not supported")
)

// PacketError says which packet and which field were wrong, and how.
type PacketError struct {
	Type  PacketType
	Field string
	Err   error // one of the sentinels of this package

	// Version is set for a CONNECT whose version could be read, else 0.
	Version Version
}

// Error implements error.
func (e *PacketError) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.Type, e.Field, e.Err)
}

// Unwrap gives the sentinel.
func (e *PacketError) Unwrap() error { return e.Err }

// VersionError is returned for a CONNECT whose protocol level this package does
// not speak. It is no malformed packet: the server answers with the return code
// for an unacceptable level, in the form the client's level understands.
type VersionError struct {
	Level byte // as received, with the bridge bit
}

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("CONNECT: protocol level %#02x is not supported (3.1, 3.1.1 and 5 are)", e.Level)
}

// Unwrap gives ErrUnsupported.
func (e *VersionError) Unwrap() error { return ErrUnsupported }

func bad(t PacketType, field string, err error) error {
	return &PacketError{Type: t, Field: field, Err: err}
}
