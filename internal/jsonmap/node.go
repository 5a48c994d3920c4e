package jsonmap

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/wattbus/wattbus/internal/format"
)

// The bounds of a message.
const (
	maxSize  = 256 << 10
	maxDepth = 32
	maxNodes = 20_000
)

// node is a value and where it begins.
type node struct {
	at      int
	value   any // nil, bool, string or json.Number; of an object or array see below
	members map[string]*node
	items   []*node
}

type parser struct {
	b     []byte
	dec   *json.Decoder
	nodes int
}

func parse(b []byte) (*node, error) {
	if len(b) > maxSize {
		return nil, format.At("message", maxSize, format.ErrLength, "%d bytes, want at most %d", len(b), maxSize)
	}
	p := parser{b: b, dec: json.NewDecoder(bytes.NewReader(b))}
	p.dec.UseNumber()
	n, err := p.node(0)
	if err != nil {
		return nil, err
	}
	if at := p.next(); at != len(b) {
		return nil, format.At("message", at, format.ErrSyntax, "something behind the value")
	}
	return n, nil
}

// next is where the next token begins.
func (p *parser) next() int {
	at := int(p.dec.InputOffset())
	for at < len(p.b) && strings.IndexByte(" \t\r\n,:", p.b[at]) >= 0 {
		at++
	}
	return at
}

func (p *parser) token() (json.Token, int, error) {
	at := p.next()
	t, err := p.dec.Token()
	if err != nil {
		var s *json.SyntaxError
		switch {
		case errors.As(err, &s):
			at = int(s.Offset)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, at, format.At("message", len(p.b), format.ErrSyntax, "it ends within a value")
		}
		return nil, at, format.At("message", min(at, len(p.b)), format.ErrSyntax, "%v", err)
	}
	return t, at, nil
}

func (p *parser) node(depth int) (*node, error) {
	t, at, err := p.token()
	if err != nil {
		return nil, err
	}
	if p.nodes++; p.nodes > maxNodes || depth > maxDepth {
		return nil, format.At("message", at, format.ErrLength, "more than %d values, or %d within each other", maxNodes, maxDepth)
	}
	n := &node{at: at, value: t}
	switch t {
	case json.Delim('{'):
		n.members = map[string]*node{}
		for p.dec.More() {
			k, at, err := p.token()
			if err != nil {
				return nil, err
			}
			name, _ := k.(string)
			if n.members[name] != nil {
				return nil, format.At(name, at, format.ErrSyntax, "stands twice")
			}
			if n.members[name], err = p.node(depth + 1); err != nil {
				return nil, err
			}
		}
	case json.Delim('['):
		n.items = []*node{}
		for p.dec.More() {
			x, err := p.node(depth + 1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, x)
		}
	default:
		return n, nil
	}
	_, _, err = p.token() // the closing one
	return n, err
}

// find follows a path: names of members and indexes of items. It returns nil where the path ends.
func (n *node) find(path []string) *node {
	for _, s := range path {
		switch {
		case n.members != nil:
			n = n.members[s]
		case n.items != nil:
			i, err := strconv.Atoi(s)
			if err != nil || i < 0 || i >= len(n.items) {
				return nil
			}
			n = n.items[i]
		default:
			return nil
		}
		if n == nil {
			return nil
		}
	}
	return n
}
