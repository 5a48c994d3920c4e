package descriptor

import (
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/format"
)

// timeForm says how a time is written.
type timeForm uint8

const (
	formEpoch  timeForm = iota // seconds since 1970
	formMillis                 // milliseconds
	formBCD                    // the layout's digits, two an octet
	formASCII                  // the layout's digits as characters
	formBinary                 // a number for each part of the layout: an octet, two for the year with the century
)

var timeForms = map[string]timeForm{"epoch": formEpoch, "epoch-ms": formMillis, "bcd": formBCD, "ascii": formASCII, "binary": formBinary}

// timePart is a part of a layout: YYYY, YY, MM, DD, hh, mm or ss.
type timePart struct {
	what   byte // Y M D h m s
	digits int
	octets int
}

// parseLayout reads a layout such as YYMMDDhhmmss.
func parseLayout(s string, form timeForm) (parts []timePart, width int, err error) {
	seen := map[byte]bool{}
	for i := 0; i < len(s); {
		n := 2
		if len(s)-i >= 4 && s[i:i+4] == "YYYY" {
			n = 4
		}
		if len(s)-i < n || s[i] != s[i+1] || seen[s[i]] {
			return nil, 0, fmt.Errorf("layout %.20q, want parts of YYYY or YY, MM, DD, hh, mm, ss, each once", s)
		}
		switch s[i] {
		case 'Y', 'M', 'D', 'h', 'm', 's':
		default:
			return nil, 0, fmt.Errorf("layout %.20q, want parts of YYYY or YY, MM, DD, hh, mm, ss, each once", s)
		}
		seen[s[i]] = true
		p := timePart{what: s[i], digits: n}
		switch form {
		case formASCII:
			p.octets = n
		default:
			p.octets = n / 2
		}
		width += p.octets
		parts = append(parts, p)
		i += n
	}
	for _, c := range []byte("YMDh") {
		if !seen[c] {
			return nil, 0, fmt.Errorf("layout %.20q has no part %c", s, c)
		}
	}
	return parts, width, nil
}

// moment reads a time, seconds since the epoch. bad is the index of the octet at fault, -1 for none.
func (o *op) moment(b []byte) (unix uint32, bad int) {
	switch o.more.form {
	case formEpoch:
		v := word(b, o.little)
		if v > 1<<32-1 {
			return 0, 0
		}
		return uint32(v), -1
	case formMillis:
		v := word(b, o.little) / 1000
		if v > 1<<32-1 {
			return 0, 0
		}
		return uint32(v), -1
	}
	var year, at int
	month, day, hour, minute, second := 1, 1, 0, 0, 0
	for _, p := range o.more.layout {
		n, ok := p.number(b[at:at+p.octets], o.more.form, o.little)
		if !ok {
			return 0, at
		}
		switch p.what {
		case 'Y':
			if year = n; p.digits == 2 {
				if n > 99 {
					return 0, at
				}
				year += 2000
			}
		case 'M':
			month = n
		case 'D':
			day = n
		case 'h':
			hour = n
		case 'm':
			minute = n
		case 's':
			second = n
		}
		at += p.octets
	}
	if year < 1970 || year > 2105 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59 {
		return 0, 0
	}
	t, _, ok := format.Local(year, month, day, hour, minute, second, o.more.zone)
	if !ok || t < 0 {
		return 0, 0
	}
	return uint32(t), -1
}

func (p timePart) number(b []byte, form timeForm, little bool) (n int, ok bool) {
	switch form {
	case formBinary:
		return int(word(b, little)), true
	case formBCD:
		for _, x := range b {
			if x>>4 > 9 || x&15 > 9 {
				return 0, false
			}
			n = n*100 + int(x>>4)*10 + int(x&15)
		}
	default:
		for _, x := range b {
			if x < '0' || x > '9' {
				return 0, false
			}
			n = n*10 + int(x-'0')
		}
	}
	return n, true
}

// putMoment encodes a time.
func (o *op) putMoment(dst []byte, unix int64) ([]byte, bool) {
	if unix < 0 || unix > 1<<32-1 {
		return dst, false
	}
	switch o.more.form {
	case formEpoch:
		return appendWord(dst, uint64(unix), int(o.width), o.little), o.width >= 4
	case formMillis:
		return appendWord(dst, uint64(unix)*1000, int(o.width), o.little), true
	}
	t := time.Unix(unix, 0).In(o.more.zone)
	for _, p := range o.more.layout {
		n := map[byte]int{'Y': t.Year(), 'M': int(t.Month()), 'D': t.Day(), 'h': t.Hour(), 'm': t.Minute(), 's': t.Second()}[p.what]
		if p.what == 'Y' && p.digits == 2 {
			if n -= 2000; n < 0 || n > 99 {
				return dst, false
			}
		}
		switch o.more.form {
		case formBinary:
			dst = appendWord(dst, uint64(n), p.octets, o.little)
		case formBCD:
			dst = appendWord(dst, bcd(uint64(n)), p.octets, false)
		default:
			dst = fmt.Appendf(dst, "%0*d", p.digits, n)
		}
	}
	return dst, true
}
