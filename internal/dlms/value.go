package dlms

import (
	"encoding/binary"
	"math"

	"github.com/wattbus/wattbus/internal/format"
)

// The bounds of a push. Real ones have a few hundred octets; a day of a load profile some thousand.
const (
	MaxSize  = 64 << 10
	maxDepth = 8
	maxItems = 20_000 // of all arrays and structures of a message together
)

// Tag is the type of a Value, by its number in the CHOICE Data (IEC 62056-5-3, clause 9.5).
type Tag byte

// The types of Data.
const (
	Null               Tag = 0
	Array              Tag = 1
	Structure          Tag = 2
	Boolean            Tag = 3
	BitString          Tag = 4
	DoubleLong         Tag = 5
	DoubleLongUnsigned Tag = 6
	OctetString        Tag = 9
	VisibleString      Tag = 10
	UTF8String         Tag = 12
	BCD                Tag = 13
	Integer            Tag = 15
	Long               Tag = 16
	Unsigned           Tag = 17
	LongUnsigned       Tag = 18
	CompactArray       Tag = 19
	Long64             Tag = 20
	Long64Unsigned     Tag = 21
	Enum               Tag = 22
	Float32            Tag = 23
	Float64            Tag = 24
	DateTimeTag        Tag = 25
	DateTag            Tag = 26
	TimeTag            Tag = 27
)

var tagNames = map[Tag]string{Null: "null-data", Array: "array", Structure: "structure", Boolean: "boolean", BitString: "bit-string",
	DoubleLong: "double-long", DoubleLongUnsigned: "double-long-unsigned", OctetString: "octet-string", VisibleString: "visible-string",
	UTF8String: "utf8-string", BCD: "bcd", Integer: "integer", Long: "long", Unsigned: "unsigned", LongUnsigned: "long-unsigned",
	CompactArray: "compact-array", Long64: "long64", Long64Unsigned: "long64-unsigned", Enum: "enum", Float32: "float32",
	Float64: "float64", DateTimeTag: "date-time", DateTag: "date", TimeTag: "time"}

// String is the name that the standard gives the type, "" for none.
func (t Tag) String() string { return tagNames[t] }

// fixed are the octets of the types that always have the same number.
var fixed = map[Tag]int{Boolean: 1, DoubleLong: 4, DoubleLongUnsigned: 4, BCD: 1, Integer: 1, Long: 2, Unsigned: 1, LongUnsigned: 2,
	Long64: 8, Long64Unsigned: 8, Enum: 1, Float32: 4, Float64: 8, DateTimeTag: 12, DateTag: 5, TimeTag: 4}

// Value is a Data. A compact array is an Array once it is decoded, with Compact true.
type Value struct {
	Tag     Tag
	Compact bool    // of an Array: it came, and goes, as a compact-array
	Bytes   []byte  // the contents of all but arrays, structures and null-data; of a bit string whole octets
	Bits    int     // of a bit string
	Items   []Value // of arrays and structures
	at      int     // offset of the tag in the message
}

// Number gives the value of an integer or enum; false: it is none, or does not fit.
func (v *Value) Number() (int64, bool) {
	b := v.Bytes
	if n, ok := fixed[v.Tag]; !ok || len(b) != n {
		return 0, false
	}
	switch v.Tag {
	case Unsigned, Enum, Boolean:
		return int64(b[0]), true
	case Integer:
		return int64(int8(b[0])), true
	case Long:
		return int64(int16(binary.BigEndian.Uint16(b))), true
	case LongUnsigned:
		return int64(binary.BigEndian.Uint16(b)), true
	case DoubleLong:
		return int64(int32(binary.BigEndian.Uint32(b))), true
	case DoubleLongUnsigned:
		return int64(binary.BigEndian.Uint32(b)), true
	case Long64:
		return int64(binary.BigEndian.Uint64(b)), true
	case Long64Unsigned:
		u := binary.BigEndian.Uint64(b)
		return int64(u), u <= math.MaxInt64
	}
	return 0, false
}

// Float gives the value of a float32 or float64.
func (v *Value) Float() (float64, bool) {
	switch {
	case v.Tag == Float32 && len(v.Bytes) == 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v.Bytes))), true
	case v.Tag == Float64 && len(v.Bytes) == 8:
		return math.Float64frombits(binary.BigEndian.Uint64(v.Bytes)), true
	}
	return 0, false
}

// decoder reads a message from front to back. Its first error stays.
type decoder struct {
	b     []byte
	at    int // of b[0] in the message
	items int
	err   error
}

func (d *decoder) fail(field string, reason error, what string, args ...any) {
	if d.err == nil {
		d.err = format.At(field, d.at, reason, what, args...)
	}
}

// take gives the next n octets, nil behind an error.
func (d *decoder) take(field string, n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.b) {
		d.fail(field, format.ErrLength, "%d octets left, want %d", len(d.b), n)
		return nil
	}
	b := d.b[:n:n]
	d.b, d.at = d.b[n:], d.at+n
	return b
}

func (d *decoder) octet(field string) byte {
	if b := d.take(field, 1); b != nil {
		return b[0]
	}
	return 0
}

// length reads a length of A-XDR (IEC 61334-6): below 128 in one octet, else the number of octets that hold it.
func (d *decoder) length(field string) int {
	at := d.at
	n := int(d.octet(field))
	if n < 0x80 {
		return n
	}
	if n -= 0x80; n == 0 || n > 4 {
		d.at = at
		d.fail(field, format.ErrSyntax, "length in %d octets, want 1 to 4", n)
		return 0
	}
	v := 0
	for _, x := range d.take(field, n) {
		v = v<<8 | int(x)
	}
	return v
}

// count reads the number of items of an array or structure, each of which has at least min octets.
func (d *decoder) count(field string, least int) int {
	at, n := d.at, d.length(field)
	if d.items += n; d.err == nil && (n*least > len(d.b) || d.items > maxItems) {
		d.at = at
		d.fail(field, format.ErrLength, "%d items in %d octets, want at most %d in all", n, len(d.b), maxItems)
	}
	if d.err != nil {
		return 0
	}
	return n
}

func (d *decoder) value(depth int) Value {
	at := d.at
	v := Value{Tag: Tag(d.octet("data")), at: at}
	if d.err != nil {
		return v
	}
	if v.Tag == CompactArray {
		return d.compact(depth, at)
	}
	d.contents(&v, depth)
	return v
}

// contents reads what follows the tag.
func (d *decoder) contents(v *Value, depth int) {
	switch v.Tag {
	case Null:
	case Array, Structure:
		if depth >= maxDepth {
			d.fail("data", format.ErrValue, "more than %d arrays and structures in each other", maxDepth)
			return
		}
		n := d.count("data", 1)
		v.Items = make([]Value, 0, n)
		for range n {
			v.Items = append(v.Items, d.value(depth+1))
			if d.err != nil {
				return
			}
		}
	case BitString:
		v.Bits = d.length("data")
		v.Bytes = d.take("data", (v.Bits+7)/8)
	case OctetString, VisibleString, UTF8String:
		v.Bytes = d.take("data", d.length("data"))
	default:
		n, ok := fixed[v.Tag]
		if !ok {
			d.at = v.at
			d.fail("data", format.ErrSyntax, "0x%02x is no type of data", byte(v.Tag))
			return
		}
		v.Bytes = d.take("data", n)
	}
}

// description is the type of the elements of a compact array.
type description struct {
	tag   Tag
	count int // of an array
	of    []description
}

func (d *decoder) description(depth int) description {
	t := description{tag: Tag(d.octet("type description"))}
	switch {
	case d.err != nil:
	case t.tag == Array || t.tag == Structure:
		if depth >= maxDepth {
			d.fail("type description", format.ErrValue, "more than %d arrays and structures in each other", maxDepth)
			return t
		}
		n := 1
		if t.tag == Array {
			if b := d.take("type description", 2); b != nil {
				t.count = int(binary.BigEndian.Uint16(b))
			}
		} else {
			n = d.count("type description", 1)
		}
		for range n {
			t.of = append(t.of, d.description(depth+1))
			if d.err != nil {
				return t
			}
		}
	case t.tag != Null && t.tag != BitString && t.tag != OctetString && t.tag != VisibleString && t.tag != UTF8String && fixed[t.tag] == 0:
		d.at--
		d.fail("type description", format.ErrSyntax, "0x%02x is no type of data", byte(t.tag))
	}
	return t
}

// compact reads a compact array: its elements' type once, then their contents without tags.
func (d *decoder) compact(depth, at int) Value {
	v := Value{Tag: Array, Compact: true, at: at}
	t := d.description(depth + 1)
	n := d.length("compact array")
	in := decoder{at: d.at, items: d.items}
	in.b = d.take("compact array", n)
	for d.err == nil && len(in.b) > 0 {
		before := len(in.b)
		v.Items = append(v.Items, in.plain(t, depth+1))
		if in.items++; in.err == nil && (in.items > maxItems || len(in.b) == before) {
			in.fail("compact array", format.ErrLength, "elements without contents, or more than %d", maxItems)
		}
		d.err = in.err
	}
	d.items = in.items
	return v
}

// plain reads the contents of a value whose type is known.
func (d *decoder) plain(t description, depth int) Value {
	v := Value{Tag: t.tag, at: d.at}
	if t.tag != Array && t.tag != Structure {
		d.contents(&v, depth)
		return v
	}
	n := len(t.of)
	if t.tag == Array {
		n = t.count
	}
	if d.items += n; d.items > maxItems {
		d.fail("compact array", format.ErrLength, "more than %d items", maxItems)
	}
	for i := range n {
		if d.err != nil {
			break
		}
		if t.tag == Array {
			i = 0
		}
		v.Items = append(v.Items, d.plain(t.of[i], depth+1))
	}
	return v
}

// Append encodes the value, as Data with its tag.
func (v *Value) Append(b []byte) []byte {
	if v.Compact {
		b = append(b, byte(CompactArray))
		var in []byte
		if len(v.Items) == 0 {
			b = append(b, byte(Null))
		} else {
			b = v.Items[0].appendType(b)
		}
		for i := range v.Items {
			in = v.Items[i].appendContents(in, true)
		}
		return append(appendLength(b, len(in)), in...)
	}
	return v.appendContents(append(b, byte(v.Tag)), false)
}

func (v *Value) appendType(b []byte) []byte {
	b = append(b, byte(v.Tag))
	switch {
	case v.Tag == Array && len(v.Items) > 0:
		b = v.Items[0].appendType(binary.BigEndian.AppendUint16(b, uint16(len(v.Items))))
	case v.Tag == Array:
		b = append(b, 0, 0, byte(Null))
	case v.Tag == Structure:
		b = appendLength(b, len(v.Items))
		for i := range v.Items {
			b = v.Items[i].appendType(b)
		}
	}
	return b
}

// appendContents encodes what stands behind the tag; inside a compact array neither tags nor counts follow.
func (v *Value) appendContents(b []byte, compact bool) []byte {
	switch v.Tag {
	case Array, Structure:
		if !compact {
			b = appendLength(b, len(v.Items))
		}
		for i := range v.Items {
			if compact {
				b = v.Items[i].appendContents(b, true)
			} else {
				b = v.Items[i].Append(b)
			}
		}
		return b
	case BitString:
		b = appendLength(b, v.Bits)
	case OctetString, VisibleString, UTF8String:
		b = appendLength(b, len(v.Bytes))
	}
	return append(b, v.Bytes...)
}

func appendLength(b []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n < 1<<8:
		return append(b, 0x81, byte(n))
	case n < 1<<16:
		return append(b, 0x82, byte(n>>8), byte(n))
	}
	return append(b, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
