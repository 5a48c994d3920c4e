package descriptor

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// decimal is a scale: units × 10^-places.
type decimal struct {
	units  uint64
	places int
}

func parseDecimal(s string) (decimal, bool) {
	whole, part, _ := strings.Cut(s, ".")
	if whole == "" || len(whole)+len(part) > 18 || strings.Trim(whole+part, "0123456789") != "" {
		return decimal{}, false
	}
	d := decimal{places: len(part)}
	for _, c := range whole + part {
		d.units = d.units*10 + uint64(c-'0')
	}
	return d, d.units > 0
}

func (d decimal) rat() *big.Rat {
	return new(big.Rat).SetFrac(new(big.Int).SetUint64(d.units), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.places)), nil))
}

func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// word reads up to 8 octets.
func word(b []byte, little bool) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		if little {
			return uint64(binary.LittleEndian.Uint16(b))
		}
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		if little {
			return uint64(binary.LittleEndian.Uint32(b))
		}
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		if little {
			return binary.LittleEndian.Uint64(b)
		}
		return binary.BigEndian.Uint64(b)
	}
	v := uint64(0)
	for i := range b {
		x := b[i]
		if little {
			x = b[len(b)-1-i]
		}
		v = v<<8 | uint64(x)
	}
	return v
}

func appendWord(dst []byte, v uint64, width int, little bool) []byte {
	for i := range width {
		shift := 8 * (width - 1 - i)
		if little {
			shift = 8 * i
		}
		dst = append(dst, byte(v>>shift))
	}
	return dst
}

// integer reads the number of a field, a magnitude and a sign. bad is the index of the octet at fault, -1 where it is none.
func (o *op) integer(b []byte) (v uint64, negative bool, bad int) {
	switch o.kind {
	case kindUnsigned, kindBits:
		return word(b, o.little), false, -1
	case kindSigned:
		v = word(b, o.little)
		if shift := 64 - 8*uint(len(b)); int64(v<<shift) < 0 {
			return uint64(-(int64(v<<shift) >> shift)), true, -1
		}
		return v, false, -1
	case kindBCD:
		for i := range b {
			k := i
			if o.little {
				k = len(b) - 1 - i
			}
			hi, lo := b[k]>>4, b[k]&15
			if hi > 9 || lo > 9 {
				return 0, false, k
			}
			v = v*100 + uint64(hi*10+lo)
		}
		return v, false, -1
	case kindPacked:
		last := len(b) - 1
		for i, x := range b {
			if x>>4 > 9 || i < last && x&15 > 9 {
				return 0, false, i
			}
			v = v*10 + uint64(x>>4)
			if i < last {
				v = v*10 + uint64(x&15)
			}
		}
		switch b[last] & 15 {
		case 0xA, 0xC, 0xE, 0xF:
			return v, false, -1
		case 0xB, 0xD:
			return v, v != 0, -1
		}
		return 0, false, last
	case kindDigits:
		i := 0
		for i < len(b)-1 && b[i] == ' ' {
			i++
		}
		if i < len(b)-1 && (b[i] == '-' || b[i] == '+') {
			negative = b[i] == '-'
			i++
		}
		for ; i < len(b); i++ {
			if b[i] < '0' || b[i] > '9' {
				return 0, false, i
			}
			v = v*10 + uint64(b[i]-'0')
		}
		return v, negative && v != 0, -1
	}
	return 0, false, 0
}

// put encodes a number; false where the field cannot hold it.
func (o *op) put(dst []byte, v uint64, negative bool) ([]byte, bool) {
	w := int(o.width)
	switch o.kind {
	case kindUnsigned, kindBits:
		if negative || w < 8 && v>>(8*w) != 0 {
			return dst, false
		}
		return appendWord(dst, v, w, o.little), true
	case kindSigned:
		limit := uint64(1) << (8*w - 1)
		if v > limit || v == limit && !negative {
			return dst, false
		}
		if negative {
			v = -v
		}
		return appendWord(dst, v, w, o.little), true
	case kindBCD:
		if negative || w < 10 && v >= pow10(2*w) {
			return dst, false
		}
		return appendWord(dst, bcd(v), w, o.little), true
	case kindPacked:
		digits := 2*w - 1
		if v >= pow10(digits) || negative && o.more.unsigned {
			return dst, false
		}
		sign := byte(0xC)
		switch {
		case negative:
			sign = 0xD
		case o.more.unsigned:
			sign = 0xF
		}
		for i := range w {
			hi := byte(v / pow10(digits-1-2*i) % 10)
			lo := sign
			if i < w-1 {
				lo = byte(v / pow10(digits-2-2*i) % 10)
			}
			dst = append(dst, hi<<4|lo)
		}
		return dst, true
	case kindDigits:
		sign, text := "", strconv.FormatUint(v, 10)
		if negative {
			sign = "-"
		}
		switch before := w - len(sign) - len(text); {
		case before < 0:
			return dst, false
		case o.more.pad == ' ':
			text = strings.Repeat(" ", before) + sign + text
		default:
			text = sign + strings.Repeat("0", before) + text
		}
		return append(dst, text...), true
	}
	return dst, false
}

func bcd(v uint64) (out uint64) {
	for shift := 0; v > 0; shift += 4 {
		out |= v % 10 << shift
		v /= 10
	}
	return out
}

// shortest is the shortest number that is this one in the field.
func (o *op) shortest(b []byte) json.Number {
	return json.Number(strconv.FormatFloat(o.float(b), 'g', -1, 8*len(b)))
}

func (o *op) float(b []byte) float64 {
	if len(b) == 4 {
		return float64(math.Float32frombits(uint32(word(b, o.little))))
	}
	return math.Float64frombits(word(b, o.little))
}
