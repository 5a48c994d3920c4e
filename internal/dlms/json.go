package dlms

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wattbus/wattbus/internal/format"
)

// MarshalJSON gives an object with one key, the name of the type: {"double-long-unsigned": 4710}, {"structure": […]}. Octets are
// hexadecimal digits, a bit string is a string of 0 and 1, null-data is null, a float that is no number is a string.
func (v Value) MarshalJSON() ([]byte, error) {
	var x any
	name := v.Tag.String()
	switch v.Tag {
	case Null:
		return []byte("null"), nil
	case Array, Structure:
		if v.Compact {
			name = CompactArray.String()
		}
		if x = v.Items; v.Items == nil {
			x = []Value{}
		}
	case Boolean:
		x = v.Bytes[0] != 0
	case BitString:
		var b strings.Builder
		for i := range v.Bits {
			b.WriteByte('0' + v.Bytes[i/8]>>(7-i%8)&1)
		}
		x = b.String()
	case VisibleString, UTF8String:
		if !utf8.Valid(v.Bytes) {
			return nil, fmt.Errorf("%s %x: no UTF-8", v.Tag, v.Bytes)
		}
		x = string(v.Bytes)
	case Long64Unsigned:
		x = binary.BigEndian.Uint64(v.Bytes)
	case Float32, Float64:
		f, _ := v.Float()
		if x = f; math.IsNaN(f) || math.IsInf(f, 0) {
			x = strconv.FormatFloat(f, 'g', -1, 64)
		}
	case OctetString, BCD, DateTimeTag, DateTag, TimeTag:
		x = strings.ToUpper(hex.EncodeToString(v.Bytes))
	default:
		x, _ = v.Number()
	}
	return json.Marshal(map[string]any{name: x})
}

// UnmarshalJSON reads what MarshalJSON gives. Errors name the type.
func (v *Value) UnmarshalJSON(b []byte) error {
	*v = Value{}
	if string(bytes.TrimSpace(b)) == "null" {
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil || len(m) != 1 {
		return fmt.Errorf("data %.40s: want null, or an object with the name of one type, such as {\"unsigned\": 1}", b)
	}
	for name, raw := range m {
		for tag, n := range tagNames {
			if n == name {
				v.Tag = tag
			}
		}
		if v.Tag == Null {
			return fmt.Errorf("data: %.40q is no type", name)
		}
		if err := v.fill(raw); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (v *Value) fill(raw json.RawMessage) error {
	var text string
	switch v.Tag {
	case CompactArray:
		v.Tag, v.Compact = Array, true
		return json.Unmarshal(raw, &v.Items)
	case Array, Structure:
		return json.Unmarshal(raw, &v.Items)
	case Boolean:
		var x bool
		err := json.Unmarshal(raw, &x)
		v.Bytes = []byte{0}
		if x {
			v.Bytes[0] = 1
		}
		return err
	case BitString, OctetString, BCD, DateTimeTag, DateTag, TimeTag, VisibleString, UTF8String:
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
	}
	switch v.Tag {
	case VisibleString, UTF8String:
		v.Bytes = []byte(text)
	case BitString:
		v.Bits, v.Bytes = len(text), make([]byte, (len(text)+7)/8)
		for i := range len(text) {
			switch text[i] {
			case '1':
				v.Bytes[i/8] |= 0x80 >> (i % 8)
			case '0':
			default:
				return fmt.Errorf("%.40q: want 0 and 1", text)
			}
		}
	case OctetString, BCD, DateTimeTag, DateTag, TimeTag:
		b, err := hex.DecodeString(text)
		if n := fixed[v.Tag]; err != nil || n != 0 && len(b) != n {
			return fmt.Errorf("%.40q: want %d octets in hexadecimal digits", text, n)
		}
		v.Bytes = b
	case Float32, Float64:
		f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
		if err != nil {
			return err
		}
		if v.Tag == Float32 {
			v.Bytes = binary.BigEndian.AppendUint32(nil, math.Float32bits(float32(f)))
		} else {
			v.Bytes = binary.BigEndian.AppendUint64(nil, math.Float64bits(f))
		}
	default:
		return v.integer(string(bytes.TrimSpace(raw)))
	}
	return nil
}

// integer sets a number in as many octets as its type has, and refuses one that does not fit.
func (v *Value) integer(text string) error {
	n := fixed[v.Tag]
	var u uint64
	var err error
	switch v.Tag {
	case Integer, Long, DoubleLong, Long64:
		var i int64
		i, err = strconv.ParseInt(text, 10, 8*n)
		u = uint64(i)
	default:
		u, err = strconv.ParseUint(text, 10, 8*n)
	}
	if err != nil {
		return fmt.Errorf("%.40s does not fit in %d octets: %w", text, n, format.ErrValue)
	}
	b := binary.BigEndian.AppendUint64(nil, u)
	v.Bytes = b[8-n:]
	return nil
}

// notificationJSON is a Notification as it stands in JSON.
type notificationJSON struct {
	InvokeID uint32 `json:"invokeId"`
	DateTime string `json:"dateTime,omitempty"` // 12 octets in hexadecimal digits
	TimeTag  bool   `json:"dateTimeTag,omitempty"`
	Body     Value  `json:"body"`
}

// MarshalJSON gives the invoke id, the date-time in hexadecimal digits, and the body.
func (n Notification) MarshalJSON() ([]byte, error) {
	return json.Marshal(notificationJSON{n.InvokeID, strings.ToUpper(hex.EncodeToString(n.DateTime)), n.TimeTag, n.Body})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (n *Notification) UnmarshalJSON(b []byte) error {
	var x notificationJSON
	if err := format.Unmarshal(b, &x); err != nil {
		return err
	}
	t, err := hex.DecodeString(x.DateTime)
	if err != nil || len(t) != 0 && len(t) != dateTimeSize {
		return fmt.Errorf("dateTime: %.40q, want 12 octets in hexadecimal digits", x.DateTime)
	}
	if x.TimeTag && len(t) == 0 {
		return errors.New("dateTimeTag: there is no dateTime")
	}
	*n = Notification{InvokeID: x.InvokeID, TimeTag: x.TimeTag, Body: x.Body}
	if len(t) > 0 {
		n.DateTime = t
	}
	return nil
}
