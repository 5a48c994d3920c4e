package jsonmap

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wattbus/wattbus/internal/format"
)

// The bounds of a message.
const (
	maxSize  = 256 << 10
	maxDepth = 32
	maxNodes = 20_000
)

// kind is what a value is.
type kind uint8

const (
	null kind = iota
	isFalse
	isTrue
	number
	text
	array
	object
)

// node is a value. Those within it follow it.
type node struct {
	kind kind
	at   int    // where it begins
	name string // of the member that it is
	s    string // of a text what it says, of a number its digits
	end  int    // index of the first node that is not within it
}

// document is a message: its nodes in the order in which they stand, the first of which holds all others.
type document struct {
	s     string
	nodes []node
}

// parse reads a message. encoding/json could say neither where a value stands nor do without reflection.
func (d *document) parse(b []byte) error {
	if len(b) > maxSize {
		return format.At("message", maxSize, format.ErrLength, "%d bytes, want at most %d", len(b), maxSize)
	}
	d.s, d.nodes = string(b), d.nodes[:0]
	at, err := d.value(d.blank(0), "", 0)
	if err != nil {
		return err
	}
	if at = d.blank(at); at != len(d.s) {
		return d.bad(at, "something behind the value")
	}
	return nil
}

func (d *document) bad(at int, what string, args ...any) error {
	if at >= len(d.s) {
		return format.At("message", len(d.s), format.ErrSyntax, "it ends within a value")
	}
	return format.At("message", at, format.ErrSyntax, what, args...)
}

func (d *document) blank(at int) int {
	for at < len(d.s) && (d.s[at] == ' ' || d.s[at] == '\n' || d.s[at] == '\t' || d.s[at] == '\r') {
		at++
	}
	return at
}

// value reads a value, and returns where it ends.
func (d *document) value(at int, name string, depth int) (int, error) {
	if at >= len(d.s) {
		return at, d.bad(at, "")
	}
	i := len(d.nodes)
	if i >= maxNodes || depth > maxDepth {
		return at, format.At("message", at, format.ErrLength, "more than %d values, or %d within each other", maxNodes, maxDepth)
	}
	d.nodes = append(d.nodes, node{at: at, name: name})
	n := &d.nodes[i]
	var err error
	switch c := d.s[at]; {
	case c == '{' || c == '[':
		at, err = d.list(at, i, depth)
		n = &d.nodes[i] // more may have made another slice of them
	case c == '"':
		n.kind = text
		n.s, at, err = d.text(at)
	case c == '-' || c >= '0' && c <= '9':
		n.kind = number
		start := at
		at, err = d.number(at)
		n.s = d.s[start:at]
	default:
		at, err = d.word(at, n)
	}
	n.end = len(d.nodes)
	return at, err
}

func (d *document) word(at int, n *node) (int, error) {
	for k, w := range [...]string{null: "null", isFalse: "false", isTrue: "true"} {
		if strings.HasPrefix(d.s[at:], w) {
			n.kind = kind(k)
			return at + len(w), nil
		}
		if strings.HasPrefix(w, d.s[at:]) {
			return at, d.bad(len(d.s), "")
		}
	}
	return at, d.bad(at, "%q begins no value", d.s[at])
}

// list reads an object or array, whose node is at an index.
func (d *document) list(at, i, depth int) (int, error) {
	open, closing := array, byte(']')
	if d.s[at] == '{' {
		open, closing = object, '}'
	}
	d.nodes[i].kind = open
	var names map[string]bool // from so many members on that a look at each takes long
	at = d.blank(at + 1)
	if at < len(d.s) && d.s[at] == closing {
		return at + 1, nil
	}
	for count := 0; ; count++ {
		name := ""
		if open == object {
			if at >= len(d.s) || d.s[at] != '"' {
				return at, d.bad(at, "%q, want the name of a member", d.at(at))
			}
			start := at
			var err error
			if name, at, err = d.text(at); err != nil {
				return at, err
			}
			if count == 16 {
				names = map[string]bool{}
				for k := i + 1; k < len(d.nodes); k = d.nodes[k].end {
					names[d.nodes[k].name] = true
				}
			}
			if names[name] || names == nil && d.member(i, len(d.nodes), name) >= 0 {
				return at, format.At(name, start, format.ErrSyntax, "stands twice")
			}
			if names != nil {
				names[name] = true
			}
			if at = d.blank(at); at >= len(d.s) || d.s[at] != ':' {
				return at, d.bad(at, "%q, want a colon", d.at(at))
			}
			at = d.blank(at + 1)
		}
		var err error
		if at, err = d.value(at, name, depth+1); err != nil {
			return at, err
		}
		at = d.blank(at)
		switch d.at(at) {
		case ',':
			at = d.blank(at + 1)
		case closing:
			return at + 1, nil
		default:
			return at, d.bad(at, "%q, want a comma or %q", d.at(at), closing)
		}
	}
}

// at is a byte of the message, 0 behind its end.
func (d *document) at(i int) byte {
	if i < len(d.s) {
		return d.s[i]
	}
	return 0
}

// number reads one as RFC 8259, section 6, has it.
func (d *document) number(at int) (int, error) {
	digits := func() bool {
		start := at
		for d.at(at) >= '0' && d.at(at) <= '9' {
			at++
		}
		return at > start
	}
	if d.s[at] == '-' {
		at++
	}
	if d.at(at) == '0' {
		at++
	} else if !digits() {
		return at, d.bad(at, "%q, want a digit", d.at(at))
	}
	if d.at(at) == '.' {
		at++
		if !digits() {
			return at, d.bad(at, "%q, want a digit", d.at(at))
		}
	}
	if d.at(at) == 'e' || d.at(at) == 'E' {
		at++
		if d.at(at) == '+' || d.at(at) == '-' {
			at++
		}
		if !digits() {
			return at, d.bad(at, "%q, want a digit", d.at(at))
		}
	}
	return at, nil
}

// text reads a string: mostly a part of the message as it is.
func (d *document) text(at int) (s string, end int, err error) {
	at++
	for i := at; i < len(d.s); i++ {
		switch c := d.s[i]; {
		case c == '"':
			return d.s[at:i], i + 1, nil
		case c == '\\':
			return d.escaped(at, i)
		case c < ' ':
			return "", i, d.bad(i, "0x%02x in a string", c)
		}
	}
	return "", len(d.s), d.bad(len(d.s), "")
}

// escaped reads a string that begins at an offset and has its first escape at another. RFC 8259, section 7
func (d *document) escaped(at, i int) (s string, end int, err error) {
	b := []byte(d.s[at:i])
	for i < len(d.s) {
		c := d.s[i]
		switch {
		case c == '"':
			return string(b), i + 1, nil
		case c < ' ':
			return "", i, d.bad(i, "0x%02x in a string", c)
		case c != '\\':
			b = append(b, c)
			i++
			continue
		}
		if i+1 >= len(d.s) {
			break
		}
		if k := strings.IndexByte(`"\/bfnrt`, d.s[i+1]); k >= 0 {
			b = append(b, "\"\\/\b\f\n\r\t"[k])
			i += 2
			continue
		}
		r, ok := d.unicode(i)
		if !ok {
			return "", i, d.bad(i, "%q is no escape", d.s[i:min(i+6, len(d.s))])
		}
		i += 6
		if utf16.IsSurrogate(r) {
			low, _ := d.unicode(i)
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 6
			}
		}
		b = utf8.AppendRune(b, r)
	}
	return "", len(d.s), d.bad(len(d.s), "")
}

// unicode reads \uXXXX.
func (d *document) unicode(i int) (rune, bool) {
	if i+6 > len(d.s) || d.s[i] != '\\' || d.s[i+1] != 'u' {
		return 0, false
	}
	if strings.Trim(d.s[i+2:i+6], "0123456789abcdefABCDEF") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(d.s[i+2:i+6], 16, 16)
	return rune(n), err == nil
}

// member is the index of a member among those of a node up to an index, -1 if there is none.
func (d *document) member(i, end int, name string) int {
	for k := i + 1; k < end; k = d.nodes[k].end {
		if d.nodes[k].name == name {
			return k
		}
	}
	return -1
}

// find follows a path from a node: names of members and indexes of items. It returns -1 where the path ends.
func (d *document) find(i int, path []step) int {
	for _, s := range path {
		end := d.nodes[i].end
		switch d.nodes[i].kind {
		case object:
			if i = d.member(i, end, s.name); i < 0 {
				return -1
			}
		case array:
			if s.index < 0 {
				return -1
			}
			i++
			for n := s.index; n > 0 && i < end; n-- {
				i = d.nodes[i].end
			}
			if i >= end {
				return -1
			}
		default:
			return -1
		}
	}
	return i
}

// step is a part of a path.
type step struct {
	name  string
	index int // -1 where it is none
}
