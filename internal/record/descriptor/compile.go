package descriptor

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

type compiler struct {
	f      *file
	zone   *time.Location
	slots  map[string]int8 // of fields that others refer to
	seen   map[string]kind // those that stand before where it is
	marks  map[string]int8 // of fields from which check sums are reckoned
	passed map[string]bool // those that stand before where it is
	errs   []error
	fields int
	scope  *scope // of the message, or the repetition, that is being compiled
}

func compile(f *file) (*Layout, error) {
	c := &compiler{f: f, slots: map[string]int8{}, seen: map[string]kind{}, marks: map[string]int8{}, passed: map[string]bool{}, zone: time.UTC,
		scope: &scope{told: map[target]string{}}}
	zone, err := f.Check("")
	if err != nil {
		c.errs = append(c.errs, err)
	}
	c.little("", f.Order)
	c.zone = zone
	if len(f.Fields) == 0 {
		c.bad("", "fields", "there are none")
	}
	c.refer(f.Fields)
	ops, _ := c.list(f.Fields, 0, map[string]bool{})
	if len(c.errs) > 0 {
		return nil, fmt.Errorf("%w:\n%w", ErrDeclaration, errors.Join(c.errs...))
	}
	return &Layout{Name: f.Name, Description: f.Description, interval: uint16(f.Interval), ops: ops, fields: c.fields}, nil
}

func (c *compiler) bad(name, key, what string, args ...any) {
	where := key
	if name != "" {
		where = fmt.Sprintf("field %s: %s", name, key)
	}
	c.errs = append(c.errs, fmt.Errorf("%s: %s", where, fmt.Sprintf(what, args...)))
}

func (c *compiler) little(name, order string) bool {
	switch order {
	case "":
		return c.f.Order == "little"
	case "big", "little":
	default:
		c.bad(name, "order", "%q, want big or little", order)
	}
	return order == "little"
}

// location reads a zone: an offset such as +09:00, or a name of the IANA list.
func (c *compiler) location(name, s string) *time.Location {
	if s == "" {
		return c.zone
	}
	loc, err := format.Zone(s)
	if err != nil {
		c.bad(name, "zone", "%v", err)
		return time.UTC
	}
	return loc
}

// refer gives slots to fields that others name.
func (c *compiler) refer(fs []field) {
	for i := range fs {
		f := &fs[i]
		for _, s := range []string{f.Repeat, f.Start, f.End, f.By} {
			if _, err := strconv.Atoi(s); err != nil {
				c.number(f, s, c.slots, "repeat, start, end, by")
			}
		}
		c.number(f, f.From, c.marks, "from")
		c.refer(f.Fields)
		for _, v := range f.Cases {
			c.refer(v.Fields)
		}
	}
}

// number gives the field that f names with a key the next number.
func (c *compiler) number(f *field, name string, in map[string]int8, key string) {
	if _, known := in[name]; known || name == "" {
		return
	}
	if len(in) >= maxSlots {
		c.bad(f.Name, key, "more than %d fields are named by others", maxSlots)
		return
	}
	in[name] = int8(len(in))
}

// slot finds the field that another names: a time, or a whole number.
func (c *compiler) slot(name, key, of string) int8 {
	if of == "" {
		return -1
	}
	want, isTime := "whole number", key == "start" || key == "end"
	if isTime {
		want = "time"
	}
	if k, before := c.seen[of]; !before || (k == kindTime) != isTime {
		c.bad(name, key, "%q is no %s that stands before this one", of, want)
	}
	return c.slots[of]
}

// list compiles fields that follow each other, and returns their length if it is fixed, else -1. names are those that stand beside them in the
// same object.
func (c *compiler) list(fs []field, depth int, names map[string]bool) (ops []op, length int) {
	at, total, fixed := 0, 0, true
	for i := range fs {
		f := &fs[i]
		if c.fields++; c.fields == maxFields+1 {
			c.bad(f.Name, "fields", "more than %d", maxFields)
		}
		if f.Name == "" {
			f.Name = fmt.Sprintf("#%d", c.fields)
			if f.Type != "filler" && f.By == "" {
				c.bad(f.Name, "name", "is missing")
			}
		}
		if names[f.Name] {
			c.bad(f.Name, "name", "stands twice")
		}
		names[f.Name] = true
		if f.Offset != nil {
			switch gap := *f.Offset - at; {
			case !fixed:
				c.bad(f.Name, "offset", "stands behind a part of variable length, where fields can only follow each other")
			case *f.Offset < 0:
				c.bad(f.Name, "offset", "%d, want 0 or more", *f.Offset)
			case gap < 0:
				c.bad(f.Name, "offset", "%d lies within or before the field before, which ends at %d", *f.Offset, at)
			case gap > maxSize:
				c.bad(f.Name, "offset", "%d, want at most %d", *f.Offset, maxSize)
			case gap > 0:
				ops = append(ops, op{kind: kindFiller, at: int32(at), size: int32(gap), slot: -1, mark: -1, more: &more{name: fmt.Sprintf("gap before %s", f.Name)}})
				at += gap
			}
		}
		o := c.field(f, depth, names)
		if o.at = int32(at); o.quick > quickSkip {
			o.place()
		}
		if o.mark >= 0 {
			c.passed[f.Name] = true
		}
		ops = append(ops, o)
		if o.size >= 0 {
			at += int(o.size)
		} else {
			total, at, fixed = total+at, 0, false
		}
		if at > maxSize {
			c.bad(f.Name, "width", "the message is longer than %d bytes", maxSize)
			at = 0
		}
		if (o.kind.number() && o.kind != kindFloat || o.kind == kindTime) && o.slot >= 0 {
			c.seen[f.Name] = o.kind
		}
	}
	if !fixed {
		return ops, -1
	}
	return ops, total + at
}

func (c *compiler) field(f *field, depth int, names map[string]bool) op {
	m := &more{name: f.Name, unit: f.Unit, scale: decimal{units: 1}, start: -1, end: -1, countSlot: -1, bySlot: -1, zone: c.zone}
	o := op{slot: -1, mark: -1, num: 1, den: 1, more: m, little: c.little(f.Name, f.Order)}
	if s, ok := c.slots[f.Name]; ok {
		o.slot = s
	}
	if n, ok := c.marks[f.Name]; ok {
		o.mark = n
	}
	var unit string
	var err error
	if o.to, unit, err = f.meaning(); err != nil {
		c.bad(f.Name, "meaning", "%v", err)
	}
	c.keys(f)
	switch {
	case f.Repeat != "":
		return c.repeat(f, o, depth)
	case f.By != "" || len(f.Cases) > 0:
		return c.variants(f, o, depth, names)
	case len(f.Fields) > 0:
		c.bad(f.Name, "fields", "want `repeat` beside it")
	}
	var ok bool
	if o.kind, ok = kinds[f.Type]; !ok {
		c.bad(f.Name, "type", "%q, want unsigned, signed, bcd, packed, digits, float, bits, text, bytes, filler, time or checksum", f.Type)
		return o
	}
	width := f.Width
	if o.kind == kindTime {
		width = c.time(f, &o)
	}
	if o.kind == kindCheckSum {
		s, ok := checkSums[f.Algorithm]
		if !ok {
			c.bad(f.Name, "algorithm", "%q, want sum8, sum16, lrc, xor, crc8, crc16, modbus, ccitt, xmodem, x25, en13757 or crc32", f.Algorithm)
			return o
		}
		m.sum = s
		if width == 0 {
			width = s.width
		}
		if width != s.width {
			c.bad(f.Name, "width", "%d, want %d for %s", width, s.width, f.Algorithm)
		}
		if m.sumFrom = -1; f.From != "" {
			if m.sumFrom = c.marks[f.From]; !c.passed[f.From] {
				c.bad(f.Name, "from", "%q is no field before it", f.From)
			}
		}
	} else if f.From != "" {
		c.bad(f.Name, "from", "is for type checksum")
	}
	c.width(f, &o, width)
	if len(c.errs) == 0 {
		c.scale(f, &o, unit)
		c.pad(f, &o)
		c.limits(f, &o)
		c.bits(f, &o)
		c.meansRight(f, &o)
	}
	if o.quick = o.quickest(); o.quick == quickConst {
		o.want = word(m.value, o.little)
	}
	return o
}

// keys refuses those that say nothing in a field of its type: who wrote them means another type.
func (c *compiler) keys(f *field) {
	const numbers = "unsigned signed bcd packed digits float"
	of := f.Type
	switch {
	case f.Repeat != "":
		of = "repeat"
	case f.By != "":
		of = "by"
	}
	for _, k := range []struct {
		key   string
		given bool
		types string
	}{
		{"type", f.Type != "" && of != f.Type, ""}, {"width", f.Width != 0 && of != f.Type, ""}, {"is", f.Is != "" && of != f.Type, ""},
		{"scale", f.Scale != "", numbers}, {"unit", f.Unit != "", numbers},
		{"none", len(f.None) > 0, numbers + " bits text bytes time"}, {"value", f.Value != "", numbers + " bits text bytes time filler"},
		{"form", f.Form != "", "time"}, {"layout", f.Layout != "", "time"}, {"zone", f.Zone != "", "time"},
		{"algorithm", f.Algorithm != "", "checksum"},
		{"step", f.Step != 0, "repeat"}, {"start", f.Start != "", "repeat"}, {"end", f.End != "", "repeat"}, {"newestFirst", f.Newest, "repeat"},
	} {
		if !k.given || slices.Contains(strings.Fields(k.types), of) || of != "repeat" && of != "by" && kinds[of] == 0 && of != "unsigned" {
			continue
		}
		if k.types == "" {
			c.bad(f.Name, k.key, "and `%s`: want one of them", of)
		} else {
			c.bad(f.Name, k.key, "is nothing that a field of type %s has", of)
		}
	}
}

func (c *compiler) width(f *field, o *op, width int) {
	least, most := 1, 8
	switch o.kind {
	case kindPacked:
		most = 9
	case kindDigits:
		most = 18
	case kindFloat:
		if width != 4 && width != 8 {
			c.bad(f.Name, "width", "%d, want 4 or 8", width)
		}
	case kindText, kindBytes, kindFiller:
		most = 4096
	case kindTime:
		most = 14
	}
	if width < least || width > most {
		c.bad(f.Name, "width", "%d, want %d to %d octets", width, least, most)
		return
	}
	o.size, o.width = int32(width), uint8(min(width, 255))
}

func (c *compiler) time(f *field, o *op) int {
	form, ok := timeForms[f.Form]
	if !ok {
		c.bad(f.Name, "form", "%q, want epoch, epoch-ms, bcd, ascii or binary", f.Form)
		return max(f.Width, 1)
	}
	o.more.form = form
	o.more.zone = c.location(f.Name, f.Zone)
	if o.to == toNothing && f.Is != "none" {
		o.to = toTime // of the message; "none" is for those that others only name
	}
	width := f.Width
	switch form {
	case formEpoch, formMillis:
		if width == 0 {
			width = map[timeForm]int{formEpoch: 4, formMillis: 8}[form]
		}
		if f.Layout != "" {
			c.bad(f.Name, "layout", "%s has none", f.Form)
		}
		if least := map[timeForm]int{formEpoch: 4, formMillis: 6}[form]; width < least || width > 8 {
			c.bad(f.Name, "width", "%d, want %d to 8", width, least)
		}
	default:
		parts, n, err := parseLayout(f.Layout, form)
		if err != nil {
			c.bad(f.Name, "layout", "%v", err)
			return max(width, 1)
		}
		o.more.layout = parts
		if width == 0 {
			width = n
		}
		if width != n {
			c.bad(f.Name, "width", "%d, and the layout has %d octets", width, n)
		}
	}
	return width
}

// scale reckons by what a number is multiplied to give what the centre keeps.
func (c *compiler) scale(f *field, o *op, unit string) {
	m := o.more
	if f.Scale != "" {
		var ok bool
		if m.scale, ok = parseDecimal(f.Scale); !ok {
			c.bad(f.Name, "scale", "%q, want a positive decimal number such as 0.01", f.Scale)
			return
		}
	}
	if unit == "" {
		unit = f.Unit
	} else if f.Unit != "" && f.Unit != unit {
		c.bad(f.Name, "unit", "%q, and the reading type says %s", f.Unit, unit)
	}
	m.unit = unit
	q := o.to.quantity()
	if q == "" {
		return
	}
	u, ok := units[unit]
	if !ok || u.of != q {
		var want []string
		for name, x := range units {
			if x.of == q {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		c.bad(f.Name, "unit", "%q, want %s for %s", unit, strings.Join(want, ", "), q)
		return
	}
	if m.scale.units > math.MaxUint64/u.num {
		c.bad(f.Name, "scale", "%s is too large", f.Scale)
		return
	}
	o.num, o.den = m.scale.units*u.num, pow10(m.scale.places)*u.den
	g := gcd(o.num, o.den)
	o.num, o.den = o.num/g, o.den/g
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// limits reads what a value must be, may be, and stands for none.
func (c *compiler) limits(f *field, o *op) {
	m := o.more
	for _, s := range f.None {
		if b := c.octets(f, o, "none", s); b != nil {
			m.none = append(m.none, b)
		}
	}
	if f.Value != "" {
		m.value = c.octets(f, o, "value", f.Value)
	}
	bound := func(key, s string) (v int64, ok bool) {
		if s == "" {
			return 0, false
		}
		v, err := strconv.ParseInt(s, 0, 64)
		if err != nil || !o.kind.number() || o.kind == kindFloat {
			c.bad(f.Name, key, "%q, want a whole number, of a field with whole numbers", s)
		}
		return v, err == nil
	}
	m.min, m.hasMin = bound("min", f.Min)
	m.max, m.hasMax = bound("max", f.Max)
	if m.hasMin && m.hasMax && m.min > m.max {
		c.bad(f.Name, "min", "%d is above max, %d", m.min, m.max)
	}
	if m.unsigned = f.Unsigned; f.Unsigned && o.kind != kindPacked {
		c.bad(f.Name, "unsigned", "is for type packed")
	}
}

// pad reads what a text ends with, or digits begin with, where they are shorter than their field.
func (c *compiler) pad(f *field, o *op) {
	m := o.more
	if m.pad = ' '; o.kind == kindDigits {
		m.pad = '0'
	}
	if f.Pad == "" {
		return
	}
	b, err := hex.DecodeString(strings.TrimPrefix(f.Pad, "0x"))
	switch {
	case len(f.Pad) == 1:
		m.pad = f.Pad[0]
	case err == nil && len(b) == 1 && strings.HasPrefix(f.Pad, "0x"):
		m.pad = b[0]
	default:
		c.bad(f.Name, "pad", "%q, want a character, or an octet such as 0x00", f.Pad)
	}
	switch {
	case o.kind != kindText && o.kind != kindDigits:
		c.bad(f.Name, "pad", "is for types text and digits")
	case o.kind == kindDigits && m.pad != ' ' && m.pad != '0':
		c.bad(f.Name, "pad", "%q, want a space or 0 for digits", f.Pad)
	}
}

// octets reads a value as the octets of the field: 0x and all of them in hexadecimal, a text in a text field, or a number.
func (c *compiler) octets(f *field, o *op, key, s string) []byte {
	width := int(o.size)
	if h, isHex := strings.CutPrefix(s, "0x"); isHex && (len(h) == 2*width || !o.kind.number()) {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) != width {
			c.bad(f.Name, key, "%q, want %d hexadecimal digits for %d octets", s, 2*width, width)
			return nil
		}
		return b
	}
	switch {
	case o.kind == kindText && len(s) <= width:
		return append([]byte(s), slices.Repeat([]byte{o.more.pad}, width-len(s))...)
	case o.kind == kindDigits && len(s) == width:
		return []byte(s)
	case o.kind == kindTime && (o.more.form == formEpoch || o.more.form == formMillis):
		if v, err := strconv.ParseUint(s, 0, 8*width); err == nil {
			return appendWord(nil, v, width, o.little)
		}
	case o.kind.number() && o.kind != kindFloat || o.kind == kindBits:
		neg := strings.HasPrefix(s, "-")
		v, err := strconv.ParseUint(strings.TrimPrefix(s, "-"), 0, 64)
		if err == nil {
			if b, ok := o.put(nil, v, neg); ok {
				return b
			}
		}
	}
	c.bad(f.Name, key, "%q does not fit the field; write its octets as 0x…", s)
	return nil
}

var flags = map[string]bitOp{"clock": {flag: cim.FlagClock}, "battery": {flag: cim.FlagBattery}, "breaker-open": {flag: cim.FlagBreakerOpen},
	"tamper": {flag: cim.FlagTamper}, "estimated": {flag: cim.FlagEstimated}, "power-lost": {supply: cim.SupplyLost},
	"power-restored": {supply: cim.SupplyRestored}, "battery-low": {supply: cim.BatteryLow}, "": {}}

func (c *compiler) bits(f *field, o *op) {
	if len(f.Bits) > 0 && o.kind != kindBits {
		c.bad(f.Name, "bits", "is for type bits")
	}
	for _, b := range f.Bits {
		x, ok := flags[b.Is]
		switch {
		case !ok:
			c.bad(f.Name, "bits", "`is: %s`, want clock, battery, breaker-open, tamper, estimated, power-lost, power-restored or battery-low", b.Is)
		case b.Bit < 0 || b.Bit >= 8*int(o.width):
			c.bad(f.Name, "bits", "bit %d, want 0 to %d, 0 the lowest", b.Bit, 8*int(o.width)-1)
		case b.Name == "":
			c.bad(f.Name, "bits", "bit %d has no name", b.Bit)
		case b.Name == rawBits || slices.ContainsFunc(o.more.bits, func(x bitOp) bool { return x.name == b.Name }):
			c.bad(f.Name, "bits", "bit %d: %q stands twice", b.Bit, b.Name)
		}
		x.bit, x.name, x.event = uint8(b.Bit), b.Name, b.Event
		o.more.bits = append(o.more.bits, x)
	}
}

// meansRight checks that a field of this type can mean what it says.
func (c *compiler) meansRight(f *field, o *op) {
	switch {
	case o.to == toNothing:
	case o.to == toTime && o.kind != kindTime:
		c.bad(f.Name, "is", "time, and the type is %s", f.Type)
	case o.to != toTime && !o.kind.number(), o.kind == kindFloat && o.to.quantity() == "":
		c.bad(f.Name, "is", "a field of type %s cannot mean that", f.Type)
	}
	c.once(f, o.to)
	if o.to != toBreaker {
		if len(f.States) > 0 {
			c.bad(f.Name, "states", "is for breakers")
		}
		return
	}
	o.more.breakers = map[uint64]cim.Breaker{0: cim.BreakerOpen, 1: cim.BreakerClosed, 2: cim.BreakerReady}
	if len(f.States) > 0 {
		clear(o.more.breakers)
	}
	for k, v := range f.States {
		n, err := strconv.ParseUint(k, 0, 64)
		b, ok := map[string]cim.Breaker{"open": cim.BreakerOpen, "closed": cim.BreakerClosed, "ready": cim.BreakerReady, "none": cim.BreakerNone}[v]
		if err != nil || !ok {
			c.bad(f.Name, "states", "%q: %q, want a number and open, closed, ready or none", k, v)
		}
		o.more.breakers[n] = b
	}
}
