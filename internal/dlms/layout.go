package dlms

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

// OBIS is a logical name: A-B:C.D.E*F (IEC 62056-6-1).
type OBIS [6]byte

// String gives A-B:C.D.E, and *F where that is not 255.
func (o OBIS) String() string {
	s := fmt.Sprintf("%d-%d:%d.%d.%d", o[0], o[1], o[2], o[3], o[4])
	if o[5] != 255 {
		s += fmt.Sprintf("*%d", o[5])
	}
	return s
}

var obisForm = regexp.MustCompile(`^(\d{1,3})-(\d{1,3}):(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:[*.](\d{1,3}))?$`)

// ParseOBIS reads A-B:C.D.E, with *F or without.
func ParseOBIS(s string) (o OBIS, err error) {
	m := obisForm.FindStringSubmatch(s)
	if m == nil {
		return o, fmt.Errorf("%.40q: want an OBIS code such as 1-0:1.8.0", s)
	}
	for i, part := range m[1:] {
		if part == "" {
			part = "255"
		}
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return o, fmt.Errorf("%.40q: want numbers up to 255", s)
		}
		o[i] = byte(n)
	}
	return o, nil
}

// Scaler is by what a register's number has to be multiplied, a power of ten, and in what it is counted then.
type Scaler struct {
	Exponent int8
	Unit     byte // of IEC 62056-6-2, table of units
}

// The units that the centre keeps.
const (
	UnitWatt     = 27
	UnitWattHour = 30
	UnitVolt     = 35
)

var unitNames = map[string]Scaler{"W": {0, UnitWatt}, "kW": {3, UnitWatt}, "Wh": {0, UnitWattHour}, "kWh": {3, UnitWattHour}, "V": {0, UnitVolt}}

// Object says what a value of the body is.
type Object struct {
	Name      OBIS
	Class     uint16 // 0: not told
	Attribute int8
	Scaler    *Scaler  // nil where only the meter may tell
	Columns   []Object // of a profile's buffer
}

// Layout is a compiled declaration: what the values of a body are, for meters that do not say so. It may be used by many
// goroutines.
type Layout struct {
	Name    string
	zone    *time.Location
	period  uint16            // minutes, of profiles that do not tell; 0: not told
	lists   map[int][]Object  // by the number of values
	scalers map[OBIS]Scaler   // of all objects of the lists
	columns map[OBIS][]Object // of profiles
}

// none is the layout where nothing is declared.
var none = &Layout{zone: time.UTC}

// ErrDeclaration is what every refusal of Parse wraps.
var ErrDeclaration = errors.New("declaration of DLMS pushes is not usable")

type file struct {
	format.Declaration `yaml:",inline"`
	Lists              [][]fileObject `yaml:"lists"`
}

type fileObject struct {
	OBIS      string       `yaml:"obis"`
	Attribute int8         `yaml:"attribute"`
	Scale     string       `yaml:"scale"`
	Unit      string       `yaml:"unit"`
	Columns   []fileObject `yaml:"columns"`
}

// Declares reports whether a file is one of this package: it has the key lists.
func Declares(b []byte) bool {
	var f struct {
		Lists yaml.Node `yaml:"lists"`
	}
	return yaml.Unmarshal(b, &f) == nil && !f.Lists.IsZero()
}

// Parse reads a declaration and compiles it. Errors name the list and the object.
func Parse(b []byte) (*Layout, error) {
	var f file
	if err := format.Strict(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDeclaration, err)
	}
	bad := func(what string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrDeclaration, fmt.Sprintf(what, args...))
	}
	zone, err := f.Check("dlms")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDeclaration, err)
	}
	l := &Layout{Name: f.Name, zone: zone, period: uint16(f.Interval), lists: map[int][]Object{}, scalers: map[OBIS]Scaler{}, columns: map[OBIS][]Object{}}
	if len(f.Lists) == 0 || len(f.Lists) > 100 {
		return nil, bad("lists: %d, want 1 to 100", len(f.Lists))
	}
	for i, list := range f.Lists {
		objects, err := l.compile(list)
		if err != nil {
			return nil, bad("list %d: %v", i+1, err)
		}
		if l.lists[len(list)] != nil {
			return nil, bad("list %d: another one has %d values, too, and they are told apart by that", i+1, len(list))
		}
		l.lists[len(list)] = objects
	}
	return l, nil
}

// Read adds what a plain message says to r; l may be nil, for meters that say what their values are. See Notification.Read.
func (l *Layout) Read(b []byte, r *cim.MeterReading) error {
	var n Notification
	if err := n.Decode(b); err != nil {
		return err
	}
	return n.Read(r, l)
}

func (l *Layout) compile(list []fileObject) ([]Object, error) {
	if len(list) == 0 || len(list) > 1000 {
		return nil, fmt.Errorf("%d objects, want 1 to 1000", len(list))
	}
	var out []Object
	for i, f := range list {
		bad := func(err error) error { return fmt.Errorf("object %d: %w", i+1, err) }
		name, err := ParseOBIS(f.OBIS)
		if err != nil {
			return nil, bad(fmt.Errorf("obis: %w", err))
		}
		o := Object{Name: name, Attribute: f.Attribute}
		if o.Attribute == 0 {
			o.Attribute = 2
		}
		if f.Unit != "" || f.Scale != "" {
			s, err := scaler(f.Scale, f.Unit)
			if err != nil {
				return nil, bad(err)
			}
			o.Scaler = &s
			if was, ok := l.scalers[name]; ok && was != s {
				return nil, bad(fmt.Errorf("%s has another unit or scale elsewhere", name))
			}
			l.scalers[name] = s
		}
		if f.Columns != nil {
			if o.Columns, err = l.compile(f.Columns); err != nil {
				return nil, bad(err)
			}
			l.columns[name] = o.Columns
		}
		out = append(out, o)
	}
	return out, nil
}

// scaler reads a scale such as 0.1 or 10, a power of ten, and a unit.
func scaler(scale, unit string) (Scaler, error) {
	s, ok := unitNames[unit]
	if !ok {
		return s, fmt.Errorf("unit: %.20q, want Wh, kWh, W, kW or V", unit)
	}
	if scale == "" {
		return s, nil
	}
	scales := []string{"0.0001", "0.001", "0.01", "0.1", "1", "10", "100", "1000", "10000"}
	i := slices.Index(scales, scale)
	if i < 0 {
		return s, fmt.Errorf("scale: %.20q, want a power of ten from 0.0001 to 10000", scale)
	}
	s.Exponent += int8(i - 4)
	return s, nil
}
