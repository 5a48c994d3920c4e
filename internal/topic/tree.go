package topic

import (
	"strings"
	"sync"
)

// Tree finds the subscriptions whose filters match a topic name: +, # and the
// rule for names that begin with '$' as in MQTT 3.1.1, 4.7. Any number of
// goroutines may match at once; adding and removing excludes them for the time
// of one walk along the filter. The zero value is an empty tree.
//
// A match visits only nodes that some filter has, so its cost is bounded by the
// filters, not by the name. A filter takes one node a level; the caller bounds
// their number and depth.
type Tree[T comparable] struct {
	mu   sync.RWMutex
	root node[T]
	size int
}

// node stands for the levels that lead to it.
type node[T comparable] struct {
	children map[string]*node[T]
	plus     *node[T] // the child '+'
	here     set[T]   // filters that end at this level
	below    set[T]   // filters that end in '#' one level further: they match this level too
}

// Add puts v under a valid filter. It returns false if v was there already.
func (t *Tree[T]) Add(filter string, v T) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if level == "#" {
			return t.count(n.below.add(v), 1)
		}
		n = n.grow(level)
	}
	return t.count(n.here.add(v), 1)
}

// Remove takes v away from a filter and lets go of the nodes that nobody needs
// any more. It returns false if v was not there.
func (t *Tree[T]) Remove(filter string, v T) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count(t.root.remove(filter, false, v), -1)
}

// Match appends to dst what was added under the filters that match a valid name,
// in no order, and returns it. A value that stands under several of them comes
// as often. It allocates only when dst has to grow.
func (t *Tree[T]) Match(name string, dst []T) []T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	// [MQTT-4.7.2-1] a wildcard in the first level does not match "$…".
	return t.root.match(name, false, strings.HasPrefix(name, "$"), dst)
}

// Len is the number of values in the tree.
func (t *Tree[T]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.size
}

func (t *Tree[T]) count(done bool, by int) bool {
	if done {
		t.size += by
	}
	return done
}

// match walks down; done says that name was used up by the levels above.
func (n *node[T]) match(name string, done, literal bool, dst []T) []T {
	if !literal {
		dst = append(dst, n.below.values...)
	}
	if done {
		return append(dst, n.here.values...)
	}
	level, rest, more := name, "", false
	if i := strings.IndexByte(name, '/'); i >= 0 {
		level, rest, more = name[:i], name[i+1:], true
	}
	if n.children != nil {
		if c := n.children[level]; c != nil {
			dst = c.match(rest, !more, false, dst)
		}
	}
	if n.plus != nil && !literal {
		dst = n.plus.match(rest, !more, false, dst)
	}
	return dst
}

func (n *node[T]) grow(level string) *node[T] {
	if level == "+" {
		if n.plus == nil {
			n.plus = &node[T]{}
		}
		return n.plus
	}
	c := n.children[level]
	if c == nil {
		c = &node[T]{}
		if n.children == nil {
			n.children = make(map[string]*node[T], 1)
		}
		n.children[strings.Clone(level)] = c // not a view of a long filter
	}
	return c
}

func (n *node[T]) remove(filter string, done bool, v T) bool {
	if done {
		return n.here.remove(v)
	}
	level, rest, more := strings.Cut(filter, "/")
	if level == "#" {
		return n.below.remove(v)
	}
	c := n.plus
	if level != "+" {
		c = n.children[level]
	}
	if c == nil || !c.remove(rest, !more, v) {
		return false
	}
	if c.empty() {
		if level == "+" {
			n.plus = nil
		} else if delete(n.children, level); len(n.children) == 0 {
			n.children = nil
		}
	}
	return true
}

func (n *node[T]) empty() bool {
	return n.children == nil && n.plus == nil && len(n.here.values) == 0 && len(n.below.values) == 0
}

// set is a list that also finds fast once it is long: a broadcast filter has as
// many subscribers as there are devices, and all may leave at once.
type set[T comparable] struct {
	values []T
	index  map[T]int // nil while the list is short
}

const shortSet = 16

func (s *set[T]) find(v T) int {
	if s.index != nil {
		if i, ok := s.index[v]; ok {
			return i
		}
		return -1
	}
	for i, w := range s.values {
		if w == v {
			return i
		}
	}
	return -1
}

func (s *set[T]) add(v T) bool {
	if s.find(v) >= 0 {
		return false
	}
	s.values = append(s.values, v)
	switch {
	case s.index != nil:
		s.index[v] = len(s.values) - 1
	case len(s.values) > shortSet:
		s.index = make(map[T]int, 2*shortSet)
		for i, w := range s.values {
			s.index[w] = i
		}
	}
	return true
}

func (s *set[T]) remove(v T) bool {
	i := s.find(v)
	if i < 0 {
		return false
	}
	last := len(s.values) - 1
	moved := s.values[last]
	s.values[i] = moved
	var zero T
	s.values[last] = zero
	s.values = s.values[:last]
	if s.index != nil {
		s.index[moved] = i
		delete(s.index, v)
	}
	if last == 0 {
		*s = set[T]{}
	}
	return true
}
