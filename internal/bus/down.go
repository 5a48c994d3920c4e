package bus

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/wattbus/wattbus/internal/topic"
)

// Down is a message on its way to devices. It is not stored: the MDMS repeats commands until they are answered.
type Down struct {
	Target  topic.Target
	Path    string // All and Group: below these concentrators; ignored for a Device, whose path the EEB knows
	Kind    string // Device and All
	ID      string // Device
	Group   uint32 // Group
	Event   string
	QoS     byte // 0 or 1
	Payload []byte
}

// On the subject wb.dn a Down is: u8 version 0x01, u8 target (0 device, 1 all, 2 group), u8 QoS, u32 group, then path, kind,
// id and event, each as u16 length and bytes, then the payload to the end; integers big-endian.
const downVersion = 0x01

// ErrDown is what every refusal of DecodeDown wraps.
var ErrDown = errors.New("not a downward message")

// Append encodes d behind dst.
func (d *Down) Append(dst []byte) ([]byte, error) {
	if d.Target > topic.Group || d.QoS > 1 || len(d.Payload) > MaxMessage-8192 {
		return dst, fmt.Errorf("target %d, QoS %d, %d bytes: %w", d.Target, d.QoS, len(d.Payload), ErrDown)
	}
	dst = append(dst, downVersion, byte(d.Target), d.QoS)
	dst = binary.BigEndian.AppendUint32(dst, d.Group)
	for _, s := range [...]string{d.Path, d.Kind, d.ID, d.Event} {
		if len(s) > maxWord {
			return dst, fmt.Errorf("%.64q has %d bytes, want at most %d: %w", s, len(s), maxWord, ErrDown)
		}
		dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
	}
	return append(dst, d.Payload...), nil
}

// DecodeDown reads a Down; its payload aliases data.
func DecodeDown(data []byte) (Down, error) {
	if len(data) < 7 || data[0] != downVersion {
		return Down{}, fmt.Errorf("%d bytes, want a header of 7 with version 0x%02x: %w", len(data), downVersion, ErrDown)
	}
	d := Down{Target: topic.Target(data[1]), QoS: data[2], Group: binary.BigEndian.Uint32(data[3:])}
	if d.Target > topic.Group || d.QoS > 1 {
		return Down{}, fmt.Errorf("target %d, QoS %d: %w", d.Target, d.QoS, ErrDown)
	}
	data = data[7:]
	for _, s := range [...]*string{&d.Path, &d.Kind, &d.ID, &d.Event} {
		if len(data) < 2 {
			return Down{}, fmt.Errorf("cut off: %w", ErrDown)
		}
		n := int(binary.BigEndian.Uint16(data))
		if n > maxWord || len(data) < 2+n {
			return Down{}, fmt.Errorf("field of %d bytes: %w", n, ErrDown)
		}
		*s, data = string(data[2:2+n]), data[2+n:]
	}
	d.Payload = data
	return d, nil
}

// SendDown passes a message to every EEB; the one that the device is connected to sends it on. It may get lost on the way
// like any message downward.
func (b *Bus) SendDown(d Down) error {
	data, err := d.Append(nil)
	if err != nil {
		return fmt.Errorf("bus: send down to %s/%s: %w", d.Kind, d.ID, err)
	}
	if err := b.nc.Publish(DownSubject, data); err != nil {
		return fmt.Errorf("bus: send down to %s/%s: %w", d.Kind, d.ID, err)
	}
	return nil
}

// OnDown calls f with every message downward, one at a time, in order. stop ends it after the call under way.
func (b *Bus) OnDown(f func(Down)) (stop func(), err error) {
	s, err := b.subscribe(DownSubject, "", func(m *nats.Msg) {
		d, err := DecodeDown(m.Data)
		if err != nil {
			b.log.Warn("message downward refused", "error", err)
			return
		}
		f(d)
	})
	if err != nil {
		return nil, err
	}
	return func() { b.unsubscribe(s) }, nil
}
