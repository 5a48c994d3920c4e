package descriptor

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

// Document is a message as fields and their values, in the order of the layout. In JSON it is an object: numbers are exact
// decimals in the field's unit, times RFC 3339 in UTC, bits an object of their names and the raw number, octets hexadecimal,
// repetitions an array, and a value that stands for none is null.
type Document []Member

// Member is a field and its value.
type Member struct {
	Name  string
	Value any
}

// MarshalJSON keeps the order.
func (d Document) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range d {
		if i > 0 {
			b = append(b, ',')
		}
		k, err := json.Marshal(m.Name)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(m.Value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, k...), ':'), v...)
	}
	return append(b, '}'), nil
}

// Decode reads a message into fields and values.
func (l *Layout) Decode(b []byte) (Document, error) {
	var r cim.MeterReading
	if err := l.Read(b, &r); err != nil {
		return nil, err // the same errors, in the same order
	}
	d := decoder{b: b}
	var out Document
	_, err := d.run(l.ops, 0, &out)
	return out, err
}

type decoder struct {
	b     []byte
	slots [maxSlots]uint64
}

// run reads fields of a message that Read accepted.
func (d *decoder) run(ops []op, base int, out *Document) (end int, err error) {
	end = base
	for i := range ops {
		o := &ops[i]
		at := base + int(o.at)
		if o.size >= 0 {
			end = at + int(o.size)
		}
		switch o.kind {
		case kindFiller:
		case kindRepeat:
			n := o.more.fixed
			if n == 0 {
				n = int(d.slots[o.more.countSlot])
			}
			list := make([]Document, n)
			for k := range list {
				if at, err = d.run(o.more.ops, at, &list[k]); err != nil {
					return 0, err
				}
			}
			if end = at; o.size < 0 {
				base = end
			}
			*out = append(*out, Member{o.more.name, list})
		case kindVariants:
			for k := range o.more.variants {
				if x := &o.more.variants[k]; x.when == d.slots[o.more.bySlot] {
					end, err = d.run(x.ops, at, out)
				}
			}
			if base = end; err != nil {
				return 0, err
			}
		default:
			*out = append(*out, Member{o.more.name, d.value(o, d.b[at:end])})
		}
	}
	return end, nil
}

// rawBits is the name, beside those of the bits, of the number that they are together.
const rawBits = "raw"

func (d *decoder) value(o *op, b []byte) any {
	m := o.more
	for _, none := range m.none {
		if bytes.Equal(b, none) {
			if o.slot >= 0 {
				d.slots[o.slot] = 0
			}
			return nil
		}
	}
	switch o.kind {
	case kindText:
		return strings.TrimRight(string(b), string(rune(m.pad)))
	case kindBytes:
		return hex.EncodeToString(b)
	case kindCheckSum:
		return json.Number(fmt.Sprint(word(b, o.little)))
	case kindTime:
		unix, _ := o.moment(b)
		if o.slot >= 0 {
			d.slots[o.slot] = uint64(unix)
		}
		return time.Unix(int64(unix), 0).UTC().Format(time.RFC3339)
	case kindFloat:
		return o.shortest(b)
	}
	v, negative, _ := o.integer(b)
	if o.slot >= 0 {
		d.slots[o.slot] = v
	}
	if o.kind == kindBits {
		doc := Document{{rawBits, v}}
		for _, x := range m.bits {
			doc = append(doc, Member{x.name, v>>x.bit&1 != 0})
		}
		return doc
	}
	x := new(big.Rat).SetInt(new(big.Int).SetUint64(v))
	if negative {
		x.Neg(x)
	}
	return json.Number(x.Mul(x, m.scale.rat()).FloatString(m.scale.places))
}

// Encode writes a message of fields and values, as Decode gives them, in JSON. Constants, fillers and check sums may be left out.
func (l *Layout) Encode(doc []byte) ([]byte, error) {
	var v map[string]any
	if err := format.Unmarshal(doc, &v); err != nil {
		return nil, err
	}
	e := encoder{}
	if err := e.run(l.ops, v, ""); err != nil {
		return nil, err
	}
	if err := l.Read(e.b, &cim.MeterReading{}); err != nil {
		return nil, err // it is refused as a message, so it is none
	}
	return e.b, nil
}

type encoder struct {
	b     []byte
	slots [maxSlots]uint64
	marks [maxSlots]int
}

func (e *encoder) bad(o *op, what string, args ...any) error {
	return format.At(o.more.name, len(e.b), format.ErrValue, what, args...)
}

func (e *encoder) run(ops []op, doc map[string]any, where string) error {
	known := map[string]bool{}
	if err := e.fields(ops, doc, known); err != nil {
		return err
	}
	for k := range doc {
		if !known[k] {
			return format.At(where+k, len(e.b), format.ErrValue, "the layout has no such field")
		}
	}
	return nil
}

func (e *encoder) fields(ops []op, doc map[string]any, known map[string]bool) error {
	for i := range ops {
		o := &ops[i]
		v, has := doc[o.more.name]
		known[o.more.name] = true
		if o.mark >= 0 {
			e.marks[o.mark] = len(e.b)
		}
		switch o.kind {
		case kindFiller:
			if o.more.value != nil {
				e.b = append(e.b, o.more.value...)
			} else {
				e.b = append(e.b, make([]byte, o.size)...)
			}
			continue
		case kindVariants:
			if err := e.variant(o, doc, known); err != nil {
				return err
			}
			continue
		case kindCheckSum:
			from := 0
			if k := o.more.sumFrom; k >= 0 {
				from = e.marks[k]
			}
			e.b = appendWord(e.b, o.more.sum.of(e.b[from:]), int(o.size), o.little)
			continue
		}
		var err error
		switch {
		case !has && o.more.value != nil:
			e.b = append(e.b, o.more.value...)
			if n, _, bad := o.integer(o.more.value); o.slot >= 0 && bad < 0 {
				e.slots[o.slot] = n
			}
		case !has:
			return format.At(o.more.name, len(e.b), format.ErrMissing, "a value")
		case o.kind == kindRepeat:
			err = e.repeat(o, v)
		default:
			err = e.value(o, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) variant(o *op, doc map[string]any, known map[string]bool) error {
	for k := range o.more.variants {
		if x := &o.more.variants[k]; x.when == e.slots[o.more.bySlot] {
			return e.fields(x.ops, doc, known)
		}
	}
	return e.bad(o, "%d is none of the cases", e.slots[o.more.bySlot])
}

func (e *encoder) repeat(o *op, v any) error {
	list, ok := v.([]any)
	if !ok {
		return e.bad(o, "want an array")
	}
	want := o.more.fixed
	if want == 0 {
		want = int(min(e.slots[o.more.countSlot], maxRepeat))
	}
	if len(list) != want {
		return e.bad(o, "%d repetitions, want %d", len(list), want)
	}
	for i, x := range list {
		doc, ok := x.(map[string]any)
		if !ok {
			return e.bad(o, "repetition %d is no object", i+1)
		}
		if err := e.run(o.more.ops, doc, o.more.name+"."); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) value(o *op, v any) error {
	m := o.more
	if v == nil {
		if len(m.none) == 0 {
			return e.bad(o, "null, and the layout names no value that stands for none")
		}
		e.b = append(e.b, m.none[0]...)
		if o.slot >= 0 {
			e.slots[o.slot] = 0
		}
		return nil
	}
	switch o.kind {
	case kindText:
		s, ok := v.(string)
		if !ok || len(s) > int(o.size) {
			return e.bad(o, "want a text of at most %d characters", o.size)
		}
		e.b = append(e.b, s...)
		for range int(o.size) - len(s) {
			e.b = append(e.b, m.pad)
		}
		return nil
	case kindBytes:
		s, _ := v.(string)
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != int(o.size) {
			return e.bad(o, "want %d hexadecimal digits", 2*o.size)
		}
		e.b = append(e.b, b...)
		return nil
	case kindTime:
		return e.time(o, v)
	case kindBits:
		return e.bits(o, v)
	}
	n, ok := v.(json.Number)
	if !ok {
		return e.bad(o, "want a number")
	}
	if o.kind == kindFloat {
		f, err := n.Float64()
		if err != nil {
			return e.bad(o, "%.40q is no number", n)
		}
		if o.width == 4 {
			e.b = appendWord(e.b, uint64(math.Float32bits(float32(f))), 4, o.little)
		} else {
			e.b = appendWord(e.b, math.Float64bits(f), 8, o.little)
		}
		return nil
	}
	x, ok := rational(string(n))
	if !ok {
		return e.bad(o, "%.40q is no number", n)
	}
	if x.Quo(x, m.scale.rat()); !x.IsInt() {
		return e.bad(o, "%.40s is no multiple of the scale", n)
	}
	negative := x.Sign() < 0
	abs := new(big.Int).Abs(x.Num())
	fits := abs.IsUint64()
	if fits {
		e.b, fits = o.put(e.b, abs.Uint64(), negative)
	}
	if !fits {
		return e.bad(o, "%.40s does not fit %d octets of %s", n, o.size, o.typeName())
	}
	if o.slot >= 0 {
		e.slots[o.slot] = abs.Uint64()
	}
	return nil
}

// rational reads a number of bounded length: an exponent could make it as large as memory.
func rational(s string) (*big.Rat, bool) {
	if len(s) > 40 || strings.ContainsAny(s, "eE/") {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

func (e *encoder) time(o *op, v any) error {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return e.bad(o, "want a time such as 2026-07-26T12:30:00Z")
	}
	var ok bool
	if e.b, ok = o.putMoment(e.b, t.Unix()); !ok {
		return e.bad(o, "%.40s does not fit the field", s)
	}
	if o.slot >= 0 {
		e.slots[o.slot] = uint64(t.Unix())
	}
	return nil
}

func (e *encoder) bits(o *op, v any) error {
	doc, ok := v.(map[string]any)
	if !ok {
		return e.bad(o, "want an object of names of bits")
	}
	var n uint64
	if raw, has := doc[rawBits]; has {
		x, err := strconv.ParseUint(fmt.Sprint(raw), 10, 64)
		if err != nil {
			return e.bad(o, "raw: %.40q is no number", fmt.Sprint(raw))
		}
		n = x
	}
	for k, x := range doc {
		found := k == rawBits
		for _, b := range o.more.bits {
			if b.name != k {
				continue
			}
			on, ok := x.(bool)
			if !ok {
				return e.bad(o, "%s: want true or false", k)
			}
			if found = true; on {
				n |= 1 << b.bit
			} else {
				n &^= 1 << b.bit
			}
		}
		if !found {
			return e.bad(o, "%.40q is the name of no bit", k)
		}
	}
	var fits bool
	if e.b, fits = o.put(e.b, n, false); !fits {
		return e.bad(o, "raw: %d does not fit", n)
	}
	if o.slot >= 0 {
		e.slots[o.slot] = n
	}
	return nil
}

func (o *op) typeName() string {
	for name, k := range kinds {
		if k == o.kind {
			return name
		}
	}
	return "fields"
}

func (m *more) bounds() string {
	switch {
	case m.hasMin && m.hasMax:
		return fmt.Sprintf("%d to %d", m.min, m.max)
	case m.hasMin:
		return fmt.Sprintf("at least %d", m.min)
	}
	return fmt.Sprintf("at most %d", m.max)
}
