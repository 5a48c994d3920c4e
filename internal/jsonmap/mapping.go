package jsonmap

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

// file is a declaration as it stands in YAML.
type file struct {
	format.Declaration `yaml:",inline"`
	Each               string  `yaml:"each"`
	Paths              []value `yaml:"paths"`
}

type value struct {
	Path     string `yaml:"path"`
	Is       string `yaml:"is"`
	Unit     string `yaml:"unit"`
	Scale    string `yaml:"scale"`
	Form     string `yaml:"form"`
	Layout   string `yaml:"layout"`
	Required bool   `yaml:"required"`
}

// ErrDeclaration is what every refusal of Parse wraps.
var ErrDeclaration = errors.New("mapping is not usable")

// Mapping is a compiled declaration. It may be used by many goroutines.
type Mapping struct {
	Name     string
	interval uint16
	zone     *time.Location
	each     []step
	values   []compiled
	docs     sync.Pool // of *document, whose memory is used again
}

type compiled struct {
	value
	path     []step
	factor   *big.Rat // to what the centre keeps
	num, den uint64   // the same, where it is small; else 0
	local    bool     // the time's layout tells no zone
}

var units = map[string]map[string]int64{
	"import": {"Wh": 1, "kWh": 1000, "MWh": 1_000_000}, "export": {"Wh": 1, "kWh": 1000, "MWh": 1_000_000},
	"power": {"W": 1, "kW": 1000, "MW": 1_000_000}, "voltage": {"V": 10}, "time": nil, "breaker": nil, "event": nil,
	"clock": nil, "battery": nil, "breaker-open": nil, "tamper": nil, "estimated": nil, "power-lost": nil, "power-restored": nil, "battery-low": nil,
}

var (
	breakers  = map[string]cim.Breaker{"open": cim.BreakerOpen, "closed": cim.BreakerClosed, "ready": cim.BreakerReady}
	flags     = map[string]uint16{"clock": cim.FlagClock, "battery": cim.FlagBattery, "breaker-open": cim.FlagBreakerOpen, "tamper": cim.FlagTamper, "estimated": cim.FlagEstimated}
	registers = map[string]cim.Values{"import": cim.HasImport, "export": cim.HasExport}
	supplies  = map[string]cim.SupplyEvent{"power-lost": cim.SupplyLost, "power-restored": cim.SupplyRestored, "battery-low": cim.BatteryLow}
)

// Declares reports whether a file is one of this package: it has the key paths.
func Declares(b []byte) bool {
	var f struct {
		Paths yaml.Node `yaml:"paths"`
	}
	return yaml.Unmarshal(b, &f) == nil && !f.Paths.IsZero()
}

// Parse reads a declaration and compiles it.
func Parse(b []byte) (*Mapping, error) {
	var f file
	if err := format.Strict(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDeclaration, err)
	}
	bad := func(what string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrDeclaration, fmt.Sprintf(what, args...))
	}
	zone, err := f.Check("json")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDeclaration, err)
	}
	if len(f.Paths) == 0 || len(f.Paths) > 100 {
		return nil, bad("paths: %d, want 1 to 100", len(f.Paths))
	}
	m := &Mapping{Name: f.Name, interval: uint16(f.Interval), zone: zone}
	m.each = split(f.Each)
	m.docs.New = func() any { return &document{} }
	once := map[string]string{} // the paths of what a meter has one of
	for _, v := range f.Paths {
		c := compiled{value: v, path: split(v.Path), factor: big.NewRat(1, 1)}
		us, known := units[v.Is]
		switch {
		case v.Path == "":
			return nil, bad("path: is missing for %q", v.Is)
		case !known:
			return nil, bad("path %s: `is: %s` is not known", v.Path, v.Is)
		case us != nil && us[v.Unit] == 0, us == nil && v.Unit != "":
			return nil, bad("path %s: unit %q does not fit %s", v.Path, v.Unit, v.Is)
		case us != nil:
			c.factor.SetInt64(us[v.Unit])
		case v.Is == "time":
			if _, ok := map[string]bool{"rfc3339": true, "epoch": true, "epoch-ms": true, "layout": true}[v.Form]; !ok || (v.Form == "layout") != (v.Layout != "") {
				return nil, bad("path %s: form %q, want rfc3339, epoch, epoch-ms, or layout with a layout of Go such as 2006-01-02 15:04:05", v.Path, v.Form)
			}
			if v.Form == "rfc3339" {
				c.Layout = time.RFC3339
			}
			if c.Layout != "" {
				var ok bool
				if c.local, ok = checkLayout(c.Layout); !ok {
					return nil, bad("path %s: layout %q, want the moment 2006-01-02 15:04:05 as the meter writes it, with its date, hour and minute", v.Path, v.Layout)
				}
			}
		}
		switch v.Is {
		case "time", "voltage", "breaker":
			if first, twice := once[v.Is]; twice {
				return nil, bad("path %s: is: %s, which %s is, too, and the centre keeps one", v.Path, v.Is, first)
			}
			once[v.Is] = v.Path
		}
		if v.Scale != "" {
			s, ok := rational(v.Scale)
			if !ok || s.Sign() <= 0 {
				return nil, bad("path %s: scale %q, want a positive decimal number", v.Path, v.Scale)
			}
			c.factor.Mul(c.factor, s)
		}
		if num, den := c.factor.Num(), c.factor.Denom(); num.BitLen() <= 32 && den.BitLen() <= 32 {
			c.num, c.den = num.Uint64(), den.Uint64()
		}
		m.values = append(m.values, c)
	}
	return m, nil
}

func split(path string) (steps []step) {
	if path == "" {
		return nil
	}
	for part := range strings.SplitSeq(path, ".") {
		index, err := strconv.Atoi(part)
		if err != nil || index < 0 {
			index = -1
		}
		steps = append(steps, step{part, index})
	}
	return steps
}

// rational reads a decimal number of bounded size: an exponent could make it as large as memory.
func rational(s string) (*big.Rat, bool) {
	if len(s) > 60 || strings.Contains(s, "/") {
		return nil, false
	}
	if _, e, has := strings.Cut(strings.ToLower(s), "e"); has && len(strings.TrimLeft(e, "+-0")) > 2 {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// Read adds what a message says to r.
func (m *Mapping) Read(b []byte, r *cim.MeterReading) error {
	d := m.docs.Get().(*document)
	defer m.docs.Put(d)
	if err := d.parse(b); err != nil {
		return err
	}
	if m.each == nil {
		return m.one(d, 0, r)
	}
	list := d.find(0, m.each)
	if list < 0 || d.nodes[list].kind != array {
		names := make([]string, len(m.each))
		for i := range m.each {
			names[i] = m.each[i].name
		}
		return format.At(strings.Join(names, "."), d.nodes[0].at, format.ErrMissing, "an array")
	}
	for i := list + 1; i < d.nodes[list].end; i = d.nodes[i].end {
		if err := m.one(d, i, r); err != nil {
			return err
		}
	}
	return nil
}

// one reads the values of one instant. A path that an item does not have is looked for in the whole message.
func (m *Mapping) one(d *document, item int, r *cim.MeterReading) error {
	out := cim.Measurement{Interval: m.interval}
	told, supply := len(r.Events), len(r.Supply)
	var lacks cim.Values // registers of which a part is not there
	there := false
	for i := range m.values {
		v := &m.values[i]
		n := d.find(item, v.path)
		if n < 0 && item > 0 {
			n = d.find(0, v.path)
		}
		there = there || n >= 0
		if n < 0 || d.nodes[n].kind == null {
			if v.Required {
				return format.At(v.Path, d.nodes[item].at, format.ErrMissing, "a value")
			}
			lacks |= registers[v.Is]
			continue
		}
		if err := v.read(&d.nodes[n], m.zone, &out, r); err != nil {
			return err
		}
	}
	if !there {
		return format.At("message", d.nodes[item].at, format.ErrMissing, "all that the mapping looks for")
	}
	out.Has &^= lacks
	for i := told; i < len(r.Events); i++ {
		r.Events[i].Time = out.Time
	}
	if out.Has != 0 || out.Flags != 0 || len(r.Supply) > supply {
		r.Measurements = append(r.Measurements, out)
	}
	return nil
}

func (v *compiled) bad(n *node, what string, args ...any) error {
	return format.At(v.Path, n.at, format.ErrValue, what, args...)
}

func (v *compiled) read(n *node, zone *time.Location, out *cim.Measurement, r *cim.MeterReading) error {
	switch v.Is {
	case "time":
		return v.time(n, zone, out)
	case "breaker":
		b, ok := breakers[n.s]
		if !ok || n.kind != text {
			return v.bad(n, `want "open", "closed" or "ready"`)
		}
		if out.Breaker = b; b != cim.BreakerClosed {
			out.Flags |= cim.FlagBreakerOpen
		}
		out.Set(cim.HasBreaker)
		return nil
	case "clock", "battery", "breaker-open", "tamper", "estimated", "power-lost", "power-restored", "battery-low":
		if n.kind != isTrue && n.kind != isFalse {
			return v.bad(n, "want true or false")
		}
		if n.kind == isTrue {
			out.Flags |= flags[v.Is]
			if s := supplies[v.Is]; s != 0 {
				r.Supply = append(r.Supply, s)
			}
		}
		return nil
	}
	x, err := v.number(n)
	if err != nil {
		return err
	}
	switch {
	case v.Is == "power" && within32(x) && within32(int64(out.Power)+x):
		out.Power += int32(x)
		out.Set(cim.HasPower)
	case v.Is == "import" && x >= 0 && out.Import+uint64(x) <= math.MaxInt64:
		out.Import += uint64(x)
		out.Set(cim.HasImport)
	case v.Is == "export" && x >= 0 && out.Export+uint64(x) <= math.MaxInt64:
		out.Export += uint64(x)
		out.Set(cim.HasExport)
	case v.Is == "voltage" && x >= 0 && x <= math.MaxUint16:
		out.Voltage = uint16(x)
		out.Set(cim.HasVoltage)
	case v.Is == "event" && x > 0 && x <= math.MaxUint16:
		r.Events = append(r.Events, cim.EndDeviceEvent{Code: uint16(x)})
	case v.Is == "event" && x == 0:
	default:
		return v.bad(n, "%.40s is out of range", n.s)
	}
	return nil
}

func within32(x int64) bool { return x >= -math.MaxInt32 && x <= math.MaxInt32 }

// number reads a number, also one in a string, and scales it. A fraction of what the centre keeps is cut off.
func (v *compiled) number(n *node) (int64, error) {
	if n.kind != number && n.kind != text {
		return 0, v.bad(n, "want a number")
	}
	if x, ok := v.quickly(n.s); ok {
		return x, nil
	}
	x, ok := rational(n.s)
	if !ok {
		return 0, v.bad(n, "want a number")
	}
	x.Mul(x, v.factor)
	q := new(big.Int).Quo(x.Num(), x.Denom())
	if !q.IsInt64() {
		return 0, v.bad(n, "%.40s is too large", n.s)
	}
	return q.Int64(), nil
}

// quickly reads and scales digits with a point among them. ok is false for all else, and what 64 bits do not hold.
func (v *compiled) quickly(s string) (x int64, ok bool) {
	digits, negative := strings.CutPrefix(s, "-")
	var m uint64
	places, point := 0, false
	for i := range len(digits) {
		c := digits[i]
		switch {
		case c == '.' && !point && i > 0 && i < len(digits)-1:
			point = true
			continue
		case c < '0' || c > '9':
			return 0, false
		}
		if m = 10*m + uint64(c-'0'); point {
			places++
		}
	}
	if len(digits) == 0 || len(digits) > 18 || places > 9 || v.den == 0 {
		return 0, false
	}
	den := v.den
	for range places {
		den *= 10 // at most 2^32 × 10^9
	}
	hi, lo := bits.Mul64(m, v.num)
	if hi >= den {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, den)
	if q > math.MaxInt64 {
		return 0, false
	}
	if negative {
		return -int64(q), true
	}
	return int64(q), true
}

func (v *compiled) time(n *node, zone *time.Location, out *cim.Measurement) error {
	var unix int64
	switch v.Form {
	case "rfc3339", "layout":
		var ok bool
		if unix, ok = v.moment(n.s, zone); !ok || n.kind != text {
			return v.bad(n, "want a time such as %s", v.Layout)
		}
	default:
		x, err := v.number(n)
		if err != nil {
			return err
		}
		if unix = x; v.Form == "epoch-ms" {
			unix /= 1000
		}
	}
	if unix <= 0 || unix > math.MaxUint32 {
		return v.bad(n, "a time that is not between 1970 and 2106")
	}
	out.Time = uint32(unix)
	return nil
}

// moment reads a time of the layout; false where the text is none, or of a local time that never comes.
func (v *compiled) moment(s string, zone *time.Location) (unix int64, ok bool) {
	if !v.local {
		t, err := time.ParseInLocation(v.Layout, s, zone)
		return t.Unix(), err == nil
	}
	t, err := time.Parse(v.Layout, s)
	if err != nil {
		return 0, false
	}
	unix, _, ok = format.Local(t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), zone)
	return unix, ok
}

// checkLayout finds out whether a layout tells a moment, and whether it leaves the zone to the declaration.
func checkLayout(layout string) (local, ok bool) {
	const minute = "200601021504"
	some := time.Date(2026, 11, 23, 14, 35, 0, 0, time.FixedZone("CEST", 2*3600))
	t, err := time.Parse(layout, some.Format(layout))
	if err != nil || t.Format(minute) != some.Format(minute) {
		return false, false
	}
	return !t.Equal(some) && !strings.Contains(layout, "MST"), true
}
