package mqttsn

import (
	"errors"
	"fmt"
)

// What can be wrong with a message. Decode functions and Append methods wrap these
// in a [MessageError]; test with errors.Is.
var (
	// ErrLength: the announced length is impossible, or is not that of the datagram.
	ErrLength = errors.New("announced length is not that of the datagram")
	// ErrTruncated: the message ends inside a field.
	ErrTruncated = errors.New("message ends inside a field")
	// ErrTrailing: octets are left after the last field.
	ErrTrailing = errors.New("octets left after the last field")
	// ErrType: a message type that is reserved.
	ErrType = errors.New("message type is reserved")
	// ErrQoS: a quality of service that the message cannot have.
	ErrQoS = errors.New("quality of service not allowed here")
	// ErrTopicType: the reserved topic id type, or one that the message cannot have.
	ErrTopicType = errors.New("topic id type not allowed here")
	// ErrMsgID: message id 0 where one is needed.
	ErrMsgID = errors.New("message id must not be 0")
	// ErrString: a string that is not UTF-8 or contains U+0000.
	ErrString = errors.New("string must be UTF-8 without U+0000")
	// ErrEmpty: a field that needs an octet has none.
	ErrEmpty = errors.New("field must not be empty")
	// ErrTooLong: a value that its field or a datagram cannot hold.
	ErrTooLong = errors.New("value longer than its field can hold")
	// ErrProtocolID: CONNECT names another protocol than MQTT-SN 1.2. It is no
	// malformed message: the gateway answers that it is not supported.
	ErrProtocolID = errors.New("protocol id must be 0x01")
	// ErrNested: a forwarder encapsulation inside another.
	ErrNested = errors.New("encapsulation inside an encapsulation")
)

// MessageError says which message and which field were wrong, and how.
type MessageError struct {
	Type  MsgType
	Field string
	Err   error // one of the sentinels of this package
}

// Error implements error.
func (e *MessageError) Error() string { return fmt.Sprintf("%s: %s: %v", e.Type, e.Field, e.Err) }

// Unwrap gives the sentinel.
func (e *MessageError) Unwrap() error { return e.Err }

func bad(t MsgType, field string, err error) error {
	return &MessageError{Type: t, Field: field, Err: err}
}
