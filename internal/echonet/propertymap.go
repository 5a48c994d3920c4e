package echonet

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/wattbus/wattbus/internal/format"
)

// Map is a property map (0x9D to 0x9F): the EPCs in order. Below 16 they are listed; from 16 on octet i has bit b set for
// EPC 0x80 + 16 b + i.
type Map []byte

func readMap(p Property, v *Map) error {
	if len(p.EDT) == 0 {
		return p.bad(-1, format.ErrLength, "no octets")
	}
	n := int(p.EDT[0])
	if n < 16 {
		if err := p.size(1 + n); err != nil {
			return err
		}
		*v = slices.Clone(p.EDT[1:])
		slices.Sort(*v)
		for i, e := range *v {
			if e < 0x80 || i > 0 && e == (*v)[i-1] {
				return p.bad(1, format.ErrValue, "0x%02x comes twice or is no property", e)
			}
		}
		return nil
	}
	if err := p.size(17); err != nil {
		return err
	}
	for b := range 8 {
		for i := range 16 {
			if p.EDT[1+i]&(1<<b) != 0 {
				*v = append(*v, byte(0x80+16*b+i))
			}
		}
	}
	if len(*v) != n {
		return p.bad(0, format.ErrValue, "%d properties announced, %d bits are set", n, len(*v))
	}
	return nil
}

func (v *Map) append(dst []byte) ([]byte, error) {
	if len(*v) > 128 {
		return dst, fmt.Errorf("%d properties, want at most 128: %w", len(*v), format.ErrLength)
	}
	dst = append(dst, byte(len(*v)))
	if len(*v) < 16 {
		return append(dst, *v...), nil
	}
	var bits [16]byte
	for _, e := range *v {
		if e < 0x80 {
			return dst, fmt.Errorf("0x%02x is no property: %w", e, format.ErrValue)
		}
		bits[e&0x0F] |= 1 << ((e - 0x80) >> 4)
	}
	return append(dst, bits[:]...), nil
}

// MarshalJSON lists the EPCs in hexadecimal.
func (v Map) MarshalJSON() ([]byte, error) {
	s := make([]string, len(v))
	for i, e := range v {
		s[i] = fmt.Sprintf("%02X", e)
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Map) UnmarshalJSON(b []byte) error {
	var s []string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*v = (*v)[:0]
	for _, x := range s {
		e, err := octets(x, 1)
		if err != nil {
			return err
		}
		*v = append(*v, e[0])
	}
	return nil
}

// Instances is 0xD5 of the node profile: the objects that a node has.
type Instances []Object

func readInstances(p Property, v *Instances) error {
	if len(p.EDT) == 0 {
		return p.bad(-1, format.ErrLength, "no octets")
	}
	n := int(p.EDT[0])
	if n > 84 {
		return p.bad(0, format.ErrValue, "%d instances, want at most 84", n)
	}
	if err := p.size(1 + 3*n); err != nil {
		return err
	}
	for i := range n {
		*v = append(*v, Object(p.EDT[1+3*i:4+3*i]))
	}
	return nil
}

func (v *Instances) append(dst []byte) ([]byte, error) {
	dst = append(dst, byte(min(len(*v), 255)))
	for _, o := range *v {
		dst = append(dst, o[:]...)
	}
	return dst, nil
}

// MarshalText writes the object in hexadecimal.
func (o Object) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (o *Object) UnmarshalText(b []byte) error {
	x, err := octets(string(b), 3)
	if err == nil {
		*o = Object(x)
	}
	return err
}
