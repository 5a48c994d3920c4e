package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the first byte of a plain message, VersionSealed of a sealed one.
const (
	Version       = 0x01
	VersionSealed = 0x21
)

// Type is the second byte of a message.
type Type uint8

// The types of the contract.
const (
	TypeLocation    Type = 0x01
	TypeReading     Type = 0x02
	TypeProfile     Type = 0x03
	TypeResult      Type = 0x04
	TypePower       Type = 0x05
	TypeLost        Type = 0x06
	TypeEvent       Type = 0x07
	TypeBatch       Type = 0x08
	TypeMeasurement Type = 0x09
	TypeSubmeter    Type = 0x0A

	TypeFirmwareState Type = 0x0B

	TypeLocationAck Type = 0x81
	TypeCommand     Type = 0x82
	TypeGroups      Type = 0x83
	TypeFirmware    Type = 0x84
	TypeBlock       Type = 0x85
)

// UpTypes is a number above those of all types that devices send, for tables by type.
const UpTypes = TypeFirmwareState + 1

// HeaderSize is the length of the header that every plain message starts with, in bytes.
const HeaderSize = 8

// Flags are the status flags of a header.
type Flags uint16

// The status flags.
const (
	FlagClockUnsynchronised Flags = 1 << iota
	FlagBattery
	FlagBreakerOpen
	FlagTamper
	FlagEstimated
)

// Header is what every plain message starts with.
type Header struct {
	Flags Flags
	Time  uint32 // seconds since the epoch; each message says of what
}

// The reasons for which a message is refused. They are the `reason` of dead letters.
var (
	ErrLength  = errors.New("wrong length")
	ErrVersion = errors.New("unknown version")
	ErrType    = errors.New("unknown type")
	ErrEvent   = errors.New("type does not belong to the event in the topic")
	ErrOpcode  = errors.New("reserved opcode")
	ErrValue   = errors.New("value outside its range")
)

var reasons = []struct {
	err  error
	name string
}{{ErrLength, "length"}, {ErrVersion, "version"}, {ErrType, "type"}, {ErrEvent, "event"}, {ErrOpcode, "opcode"}, {ErrValue, "value"}}

// Reason gives the short name of an error of this package for metrics and dead letters, "other" if it is none.
func Reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "other"
}

type layout struct {
	event string
	size  int // 0: variable
}

func (t Type) layout() layout {
	switch t {
	case TypeLocation:
		return layout{"location", LocationSize}
	case TypeReading:
		return layout{"reading", ReadingSize}
	case TypeProfile:
		return layout{"profile", ProfileSize}
	case TypeResult:
		return layout{"result", ResultSize}
	case TypePower:
		return layout{"power", PowerSize}
	case TypeLost:
		return layout{"lost", LostSize}
	case TypeEvent:
		return layout{"event", EventSize}
	case TypeBatch:
		return layout{"batch", 0}
	case TypeMeasurement:
		return layout{"measurement", MeasurementSize}
	case TypeSubmeter:
		return layout{"submeter", SubmeterSize}
	case TypeLocationAck:
		return layout{"location-ack", LocationAckSize}
	case TypeCommand:
		return layout{"cmd", CommandSize}
	case TypeGroups:
		return layout{"groups", GroupsSize}
	case TypeFirmwareState:
		return layout{"firmware-state", FirmwareStateSize}
	case TypeFirmware:
		return layout{"firmware", FirmwareSize}
	case TypeBlock:
		return layout{"block", 0}
	}
	return layout{}
}

// Event is the last level of the topics that carry the type, "" for an unknown type.
func (t Type) Event() string { return t.layout().event }

// Size is the length of a message of the type in bytes, 0 for a batch, a block or an unknown type.
func (t Type) Size() int { return t.layout().size }

// EventType is the type that topics with the event carry; ok is false for another format.
func EventType(event string) (t Type, ok bool) {
	switch event {
	case "reading":
		return TypeReading, true
	case "profile":
		return TypeProfile, true
	case "location":
		return TypeLocation, true
	case "result":
		return TypeResult, true
	case "power":
		return TypePower, true
	case "lost":
		return TypeLost, true
	case "event":
		return TypeEvent, true
	case "batch":
		return TypeBatch, true
	case "measurement":
		return TypeMeasurement, true
	case "submeter":
		return TypeSubmeter, true
	case "location-ack":
		return TypeLocationAck, true
	case "cmd":
		return TypeCommand, true
	case "groups":
		return TypeGroups, true
	case "firmware-state":
		return TypeFirmwareState, true
	case "firmware":
		return TypeFirmware, true
	case "block":
		return TypeBlock, true
	}
	return 0, false
}

// HasEvent reports whether topics with the event carry a type of this package.
func HasEvent(event string) bool {
	_, ok := EventType(event)
	return ok
}

// String is the event's name.
func (t Type) String() string {
	if e := t.Event(); e != "" {
		return e
	}
	return fmt.Sprintf("0x%02x", uint8(t))
}

// at tells what is wrong with a field, and where in the message it begins.
func at(field string, offset int, reason error, what string, args ...any) error {
	return fmt.Errorf("%s at offset %d: %s: %w", field, offset, fmt.Sprintf(what, args...), reason)
}

// Check returns the type of a plain message after checking version, type and length, without looking further.
func Check(b []byte) (Type, error) {
	if len(b) < HeaderSize {
		return 0, at("message", len(b), ErrLength, "%d bytes, want a header of %d", len(b), HeaderSize)
	}
	if b[0] != Version {
		return 0, at("version", 0, ErrVersion, "0x%02x, want 0x%02x", b[0], Version)
	}
	t := Type(b[1])
	l := t.layout()
	if l.event == "" {
		return 0, at("type", 1, ErrType, "0x%02x", b[1])
	}
	if l.size != 0 && len(b) != l.size {
		return 0, at(l.event, min(len(b), l.size), ErrLength, "%d bytes, want %d", len(b), l.size)
	}
	return t, nil
}

// DecodeHeader reads the header of a message that Check accepted.
func DecodeHeader(b []byte) Header {
	return Header{Flags: Flags(u16(b[2:])), Time: u32(b[4:])}
}

// Validate checks a message wholly, as Check and the decoder of its type do, and that it belongs under the event.
func Validate(event string, b []byte) (Type, error) {
	t, err := Check(b)
	if err != nil {
		return 0, err
	}
	if t.Event() != event {
		return 0, at("type", 1, ErrEvent, "0x%02x (%s) under event %q", uint8(t), t, event)
	}
	switch t {
	case TypeProfile:
		_, err = DecodeProfile(b)
	case TypeResult:
		_, err = DecodeResult(b)
	case TypePower:
		_, err = DecodePower(b)
	case TypeCommand:
		_, err = DecodeCommand(b)
	case TypeGroups:
		_, err = DecodeGroups(b)
	case TypeBatch:
		_, err = DecodeBatch(b)
	case TypeMeasurement:
		_, err = DecodeMeasurement(b)
	case TypeFirmwareState:
		_, err = DecodeFirmwareState(b)
	case TypeFirmware:
		_, err = DecodeFirmware(b)
	case TypeBlock:
		_, err = DecodeBlock(b)
	case TypeSubmeter:
		_, err = DecodeSubmeter(b)
	}
	return t, err
}

func expect(b []byte, want Type) (Header, error) {
	t, err := Check(b)
	if err != nil {
		return Header{}, err
	}
	if t != want {
		return Header{}, at("type", 1, ErrType, "0x%02x (%s), want 0x%02x (%s)", uint8(t), t, uint8(want), want)
	}
	return DecodeHeader(b), nil
}

func (h Header) append(dst []byte, t Type) []byte {
	dst = append(dst, Version, byte(t))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.Flags))
	return binary.BigEndian.AppendUint32(dst, h.Time)
}

func u16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

func put16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func put32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func put64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }
