package echonet

import (
	"encoding/binary"
	"fmt"

	"github.com/wattbus/wattbus/internal/format"
)

// Value is the content of a property. Each type encodes itself as the class lays it out.
type Value interface {
	append(dst []byte) ([]byte, error)
}

// spec is a row of the class: how a property's data are read.
type spec struct {
	read func(Property) (Value, error)
	make func() Value // an empty value to read JSON into
}

// row makes a row for values of type T, which read reads.
func row[T any, P interface {
	*T
	Value
}](read func(Property, *T) error) spec {
	return spec{func(p Property) (Value, error) {
		v := new(T)
		return P(v), read(p, v)
	}, func() Value { return P(new(T)) }}
}

// names is what the class calls its properties. It stands apart from specs because what reads them names them in errors.
var names = map[byte]string{
	0x80: "operation status",
	0x81: "installation location",
	0x82: "standard version",
	0x83: "identification number",
	0x88: "fault status",
	0x89: "fault description",
	0x8A: "manufacturer code",
	0x8D: "production number",
	0x97: "current time",
	0x98: "current date",
	0x9D: "announcement map",
	0x9E: "Set map",
	0x9F: "Get map",
	0xC0: "B-route identification number",
	0xD0: "one-minute cumulative energy",
	0xD3: "coefficient",
	0xD5: "instance list",
	0xD7: "effective digits",
	0xE0: "cumulative energy, forward",
	0xE1: "unit",
	0xE2: "history 1, forward",
	0xE3: "cumulative energy, reverse",
	0xE4: "history 1, reverse",
	0xE5: "day of history 1",
	0xE7: "instantaneous power",
	0xE8: "instantaneous current",
	0xEA: "fixed-time energy, forward",
	0xEB: "fixed-time energy, reverse",
	0xEC: "history 2",
	0xED: "selector of history 2",
	0xEE: "history 3, one-minute",
	0xEF: "selector of history 3",
}

var specs = map[byte]spec{
	0x80: row(readSwitch(0x30, 0x31)),
	0x81: row(readRaw(1, 17)),
	0x82: row(readRelease),
	0x83: row(readRaw(17, 17)),
	0x88: row(readSwitch(0x41, 0x42)),
	0x89: row(readNumber(2)),
	0x8A: row(readRaw(3, 3)),
	0x8D: row(readText),
	0x97: row(readClock),
	0x98: row(readDate),
	0x9D: row(readMap),
	0x9E: row(readMap),
	0x9F: row(readMap),
	0xC0: row(readRaw(16, 16)),
	0xD0: row(readOneMinute),
	0xD3: row(readCoefficient),
	0xD5: row(readInstances),
	0xD7: row(readDigits),
	0xE0: row(readRegister),
	0xE1: row(readUnit),
	0xE2: row(readDay),
	0xE3: row(readRegister),
	0xE4: row(readDay),
	0xE5: row(readDaySelector),
	0xE7: row(readPower),
	0xE8: row(readCurrents),
	0xEA: row(readTimed),
	0xEB: row(readTimed),
	0xEC: row(readSegments(30, 12)),
	0xED: row(readSelector(30, 12)),
	0xEE: row(readSegments(1, 10)),
	0xEF: row(readSelector(1, 10)),
}

// name is how errors call a property.
func name(epc byte) string {
	if s, ok := names[epc]; ok {
		return fmt.Sprintf("property %02X (%s)", epc, s)
	}
	return fmt.Sprintf("property %02X", epc)
}

// Name is what the class calls a property, "" for one that it does not know.
func Name(epc byte) string { return names[epc] }

// Value reads the property's data: nil where there are none. One that the class does not know is Raw.
func (p Property) Value() (Value, error) {
	if len(p.EDT) == 0 {
		return nil, nil
	}
	s, ok := specs[p.EPC]
	if !ok {
		v := Raw(p.EDT)
		return &v, nil
	}
	v, err := s.read(p)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// NewProperty makes a property of a value, nil for one without data. It is refused where the value is not one of the property.
func NewProperty(epc byte, v Value) (Property, error) {
	p := Property{EPC: epc}
	if v == nil {
		return p, nil
	}
	var err error
	if p.EDT, err = v.append(nil); err != nil {
		return p, fmt.Errorf("echonet: %s: %w", name(epc), err)
	}
	if _, err = p.Value(); err != nil {
		return p, fmt.Errorf("echonet: %w", err)
	}
	return p, nil
}

// Raw is what has no meaning here: the data as they are.
type Raw []byte

func readRaw(least, most int) func(Property, *Raw) error {
	return func(p Property, v *Raw) error {
		if n := len(p.EDT); n != least && n != most {
			return p.bad(-1, format.ErrLength, "%d octets, want %d or %d", n, least, most)
		}
		*v = p.EDT
		return nil
	}
}

func (v *Raw) append(dst []byte) ([]byte, error) { return append(dst, *v...), nil }

// Switch is a property of two states.
type Switch struct {
	On        bool `json:"on"` // it operates; there is a fault
	yes, none byte
}

func readSwitch(yes, no byte) func(Property, *Switch) error {
	return func(p Property, v *Switch) error {
		if err := p.size(1); err != nil {
			return err
		}
		if p.EDT[0] != yes && p.EDT[0] != no {
			return p.bad(0, format.ErrValue, "0x%02x, want 0x%02x or 0x%02x", p.EDT[0], yes, no)
		}
		*v = Switch{p.EDT[0] == yes, yes, no}
		return nil
	}
}

func (v *Switch) append(dst []byte) ([]byte, error) {
	if v.On {
		return append(dst, v.yes), nil
	}
	return append(dst, v.none), nil
}

// Release is 0x82: the letter of the Appendix that the object follows.
type Release struct {
	Letter   string `json:"release"`
	Revision uint8  `json:"revision"`
}

func readRelease(p Property, v *Release) error {
	if err := p.size(4); err != nil {
		return err
	}
	if c := p.EDT[2]; p.EDT[0] != 0 || p.EDT[1] != 0 || c < 'A' || c > 'Z' {
		return p.bad(0, format.ErrValue, "%x, want 0000, a letter and the revision", p.EDT)
	}
	*v = Release{string(p.EDT[2:3]), p.EDT[3]}
	return nil
}

func (v *Release) append(dst []byte) ([]byte, error) {
	if len(v.Letter) != 1 {
		return dst, fmt.Errorf("release %.8q, want one letter: %w", v.Letter, format.ErrValue)
	}
	return append(dst, 0, 0, v.Letter[0], v.Revision), nil
}

// Number is an unsigned number of two octets.
type Number uint16

func readNumber(size int) func(Property, *Number) error {
	return func(p Property, v *Number) error {
		if err := p.size(size); err != nil {
			return err
		}
		*v = Number(binary.BigEndian.Uint16(p.EDT))
		return nil
	}
}

func (v *Number) append(dst []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint16(dst, uint16(*v)), nil
}

// Text is the production number: 12 ASCII characters, short ones padded with zero octets.
type Text string

func readText(p Property, v *Text) error {
	if err := p.size(12); err != nil {
		return err
	}
	n := len(p.EDT)
	for n > 0 && p.EDT[n-1] == 0 {
		n--
	}
	for i, c := range p.EDT[:n] {
		if c < 0x20 || c > 0x7E {
			return p.bad(i, format.ErrValue, "0x%02x is no printable character", c)
		}
	}
	*v = Text(p.EDT[:n])
	return nil
}

func (v *Text) append(dst []byte) ([]byte, error) {
	if len(*v) > 12 {
		return dst, fmt.Errorf("%d characters, want at most 12: %w", len(*v), format.ErrLength)
	}
	dst = append(dst, *v...)
	return append(dst, make([]byte, 12-len(*v))...), nil
}
