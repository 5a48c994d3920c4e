package dsmr

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/wattbus/wattbus/internal/format"
)

// The bounds of a telegram; real ones have at most some 2 KB and 60 objects.
const (
	MaxSize    = 16 << 10
	maxObjects = 512
	maxValues  = 128
)

// Object is a line of a telegram: an OBIS code and its values as they stand between parentheses.
type Object struct {
	Code   string   `json:"obis"`
	Values []string `json:"values"`
	Break  int      `json:"break,omitempty"` // value that begins a line of its own, as DSMR 2 has it for gas; 0: none does
	line   int      // in the telegram it was decoded from, from 1
	at     int      // offset of the code
	offs   []int    // of the values
}

// Telegram is a P1 telegram.
type Telegram struct {
	Identification string   `json:"identification"` // what stands behind '/'
	Objects        []Object `json:"objects"`
	CRC            bool     `json:"crc"` // it has a check sum, as from DSMR 4 on

	text string
}

// Decode reads a telegram. Errors name the line and the offset.
func Decode(b []byte) (Telegram, error) {
	var t Telegram
	return t, t.Decode(b)
}

// Decode reads a telegram into t, whose slices are used again.
func (t *Telegram) Decode(b []byte) error {
	*t = Telegram{Objects: t.Objects[:0]}
	switch {
	case len(b) > MaxSize:
		return at("telegram", 1, MaxSize, format.ErrLength, "%d bytes, want at most %d", len(b), MaxSize)
	case len(b) == 0 || b[0] != '/':
		return at("telegram", 1, 0, format.ErrSyntax, "want '/' at the beginning")
	}
	end := bytes.LastIndexByte(b, '!')
	if end < 0 {
		return at("telegram", bytes.Count(b, []byte("\n"))+1, len(b), format.ErrLength, "no '!' at the end")
	}
	last := bytes.Count(b[:end], []byte("\n")) + 1
	if err := t.checkSum(b, end, last); err != nil {
		return err
	}
	t.text = string(b[:end])
	p := parser{t: t, rest: t.text, line: 0}
	head, ok := p.next()
	if !ok || len(head) < 5 {
		return at("identification", 1, 0, format.ErrSyntax, "want '/', three letters, a speed and a name")
	}
	if i := strings.IndexFunc(head, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return at("identification", 1, i, format.ErrSyntax, "0x%02x is no printable character", head[i])
	}
	t.Identification = head[1:]
	for {
		start := p.at
		s, ok := p.next()
		if !ok {
			return nil
		}
		if s == "" {
			continue
		}
		if err := p.object(s, start); err != nil {
			return err
		}
	}
}

// checkSum reads what stands behind '!': nothing before DSMR 4, else four hexadecimal digits.
func (t *Telegram) checkSum(b []byte, end, line int) error {
	if end == 0 || b[end-1] != '\n' {
		return at("check sum", line, end, format.ErrSyntax, "'!' does not begin a line")
	}
	tail := strings.TrimRight(string(b[end+1:]), "\r\n")
	if tail == "" {
		return nil
	}
	t.CRC = true
	want := crcText(CRC16(b[:end+1]))
	switch {
	case len(tail) != 4:
		return at("check sum", line, end+1, format.ErrLength, "%.8q, want four hexadecimal digits", tail)
	case !strings.EqualFold(tail, want):
		return at("check sum", line, end+1, format.ErrCheckSum, "%s, reckoned %s", tail, want)
	}
	return nil
}

func at(field string, line, offset int, reason error, what string, args ...any) error {
	e := format.At(field, offset, reason, what, args...)
	e.Line = line
	return e
}

// parser goes through the lines.
type parser struct {
	t    *Telegram
	rest string
	at   int // offset of rest
	line int // of the last one that next returned
}

func (p *parser) next() (string, bool) {
	if p.rest == "" {
		return "", false
	}
	s, rest, found := strings.Cut(p.rest, "\n")
	n := len(s)
	if found {
		n++
	}
	p.rest, p.at = rest, p.at+n
	p.line++
	return strings.TrimSuffix(s, "\r"), true
}

// object reads a line. One that begins with a parenthesis goes on with the values of the line before, as DSMR 2 has it.
func (p *parser) object(s string, start int) error {
	os := p.t.Objects
	i := strings.IndexByte(s, '(')
	switch {
	case i < 0:
		return at("object", p.line, start, format.ErrSyntax, "%.40q has no values in parentheses", s)
	case i == 0 && len(os) == 0:
		return at("object", p.line, start, format.ErrSyntax, "values without an object")
	case i > 0:
		if err := checkCode(s[:i]); err != nil {
			return at("object", p.line, start, format.ErrSyntax, "%.40q: %v", s[:i], err)
		}
		if len(os) >= maxObjects {
			return at("object", p.line, start, format.ErrLength, "more than %d objects", maxObjects)
		}
		if n := len(os); n < cap(os) { // keeps the memory of the values
			os = os[:n+1]
			os[n] = Object{Code: s[:i], Values: os[n].Values[:0], offs: os[n].offs[:0], line: p.line, at: start}
		} else {
			os = append(os, Object{Code: s[:i], line: p.line, at: start})
		}
		p.t.Objects = os
	}
	o := &os[len(os)-1]
	if i == 0 && o.Break == 0 {
		o.Break = len(o.Values)
	}
	for i < len(s) {
		if s[i] != '(' {
			return at(o.Code, p.line, start+i, format.ErrSyntax, "%q between values", s[i])
		}
		n := strings.IndexByte(s[i:], ')')
		if n < 0 {
			return at(o.Code, p.line, start+i, format.ErrSyntax, "a parenthesis is not closed")
		}
		v := s[i+1 : i+n]
		if j := strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r > '~' || r == '(' || r == '!' || r == '/' }); j >= 0 {
			return at(o.Code, p.line, start+i+1+j, format.ErrSyntax, "character %q in a value", v[j])
		}
		if len(o.Values) >= maxValues {
			return at(o.Code, p.line, start+i, format.ErrLength, "more than %d values", maxValues)
		}
		o.Values, o.offs = append(o.Values, v), append(o.offs, start+i+1)
		i += n + 1
	}
	return nil
}

// checkCode checks an OBIS code, A-B:C.D.E, also without A-B: and with *F.
func checkCode(s string) error {
	digits := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case (c == '-' || c == ':' || c == '.' || c == '*') && i > 0 && i < len(s)-1 && s[i-1] >= '0' && s[i-1] <= '9':
		default:
			return fmt.Errorf("character %q at %d is not part of an OBIS code", c, i)
		}
	}
	if digits == 0 || len(s) > 24 {
		return fmt.Errorf("want A-B:C.D.E")
	}
	return nil
}

// Append encodes t behind dst, an object a line.
func (t *Telegram) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	if len(t.Identification) < 4 || strings.ContainsFunc(t.Identification, func(r rune) bool { return r < ' ' || r > '~' }) {
		return dst, fmt.Errorf("dsmr: identification %.40q, want three letters, a speed and a name: %w", t.Identification, format.ErrSyntax)
	}
	dst = append(append(append(dst, '/'), t.Identification...), "\r\n\r\n"...)
	for _, o := range t.Objects {
		if err := checkCode(o.Code); err != nil {
			return dst, fmt.Errorf("dsmr: object %.40q: %v: %w", o.Code, err, format.ErrSyntax)
		}
		dst = append(dst, o.Code...)
		if o.Break < 0 || o.Break > 0 && o.Break >= len(o.Values) {
			return dst, fmt.Errorf("dsmr: %s: break %d, want the index of one of %d values: %w", o.Code, o.Break, len(o.Values), format.ErrValue)
		}
		for i, v := range o.Values {
			if i == o.Break && i > 0 {
				dst = append(dst, "\r\n"...)
			}
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' || r == '(' || r == ')' || r == '!' || r == '/' }) {
				return dst, fmt.Errorf("dsmr: %s: value %.40q has a character that a telegram cannot hold: %w", o.Code, v, format.ErrSyntax)
			}
			dst = append(append(append(dst, '('), v...), ')')
		}
		if len(o.Values) == 0 {
			return dst, fmt.Errorf("dsmr: %s: no values: %w", o.Code, format.ErrSyntax)
		}
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, '!')
	if t.CRC {
		dst = append(dst, crcText(CRC16(dst[start:]))...)
	}
	dst = append(dst, "\r\n"...)
	if len(dst)-start > MaxSize {
		return dst, fmt.Errorf("dsmr: %d bytes, want at most %d: %w", len(dst)-start, MaxSize, format.ErrLength)
	}
	return dst, nil
}
