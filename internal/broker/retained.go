package broker

import (
	"strings"
	"sync"
	"time"
)

// retained holds the last retained message of each topic, as a tree over the
// levels of the topics so that a filter visits only what it may match.
type retained struct {
	maxCount  int
	maxLevels int // of a topic; 0: any
	maxBytes  int64
	journal   *journal // nil: they are not stored

	mu    sync.RWMutex
	root  retainedNode
	count int
	bytes int64         // of the messages
	nodes int64         // below root
	swept time.Duration // when sweep was here last
}

type retainedNode struct {
	children map[string]*retainedNode
	m        *message
	qos      byte
	seq      uint64 // what the journal knows it by
}

// retainedNodeBytes stands for what a level of a topic takes in the tree that no
// other topic has. One topic may have 65,535 of them.
const retainedNodeBytes = 288

// fits reports whether there is room for m in the place of what its topic has. r.mu is
// held.
func (r *retained) fits(m *message) bool {
	count, bytes, nodes := r.count+1, r.bytes+m.size(), r.nodes
	n := &r.root
	for rest, deeper := m.topic, true; deeper; {
		var level string
		level, rest, deeper = strings.Cut(rest, "/")
		if n != nil {
			n = n.children[level]
		}
		if n == nil {
			nodes++
		}
	}
	if n != nil && n.m != nil {
		count--
		bytes -= n.m.size()
	}
	return count <= r.maxCount && bytes+nodes*retainedNodeBytes <= r.maxBytes
}

// set keeps m for its topic, in the place of the one before, also at QoS 0
// [MQTT-3.3.1-7] of MQTT 3.1.1. A message without payload only removes what is there and
// is not kept, [MQTT-3.3.1-10] and [MQTT-3.3.1-11] of MQTT 3.1.1, [MQTT-3.3.1-6],
// [MQTT-3.3.1-7]. It returns false if there is no room:
// then the topic has no retained message any more, since the one before is out of date.
func (r *retained) set(m *message, qos byte, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(m.payload) == 0 {
		r.remove(m.topic)
		return true
	}
	if !r.fits(m) && (!r.sweep(now) || !r.fits(m)) {
		r.remove(m.topic)
		return false
	}
	n := r.node(m.topic)
	r.discard(n)
	r.enter(n, m, qos)
	if r.journal != nil {
		it := item{m: m, flags: itemFlags(qos)}
		r.journal.put(0, &it)
		n.seq = it.seq
	}
	return true
}

// refuses reports whether no message is kept for a topic, for the number of its levels, and forgets one that was
// stored under another bound: each level is a step, and no filter may have so many.
func (r *retained) refuses(topic string) bool {
	if r.maxLevels <= 0 || levels(topic) <= r.maxLevels {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(topic)
	return true
}

// put is set for what was stored, without bounds and before anything runs.
func (r *retained) put(m *message, qos byte, seq uint64) {
	n := r.node(m.topic)
	n.seq = 0 // of one before, which the store holds beside it
	r.discard(n)
	r.enter(n, m, qos)
	n.seq = seq
}

// enter puts m into an empty node. r.mu is held.
func (r *retained) enter(n *retainedNode, m *message, qos byte) {
	n.m, n.qos = m, qos
	r.count++
	r.bytes += m.size()
}

// node gives the node of a topic, made if it is missing.
func (r *retained) node(name string) *retainedNode {
	n := &r.root
	for rest, more := name, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		next := n.children[level]
		if next == nil {
			next = &retainedNode{}
			r.nodes++
			if n.children == nil {
				n.children = map[string]*retainedNode{}
			}
			n.children[strings.Clone(level)] = next
		}
		n = next
	}
	return n
}

// remove takes away the message of a topic, if there is one. r.mu is held.
func (r *retained) remove(topic string) {
	path := []*retainedNode{&r.root}
	for rest, more := topic, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		next := path[len(path)-1].children[level]
		if next == nil {
			return
		}
		path = append(path, next)
	}
	if last := path[len(path)-1]; last.m != nil {
		r.discard(last)
		r.prune(topic, path)
	}
}

// discard empties a node. r.mu is held.
func (r *retained) discard(n *retainedNode) {
	if n.m == nil {
		return
	}
	r.count--
	r.bytes -= n.m.size()
	if n.seq != 0 {
		r.journal.remove(n.seq, n.m)
	}
	n.m, n.seq = nil, 0
}

// sweep takes out what has expired, at most once a second: it walks over all there is.
// A subscriber does not get what has expired in any case; this is for the room.
func (r *retained) sweep(now time.Duration) bool {
	if now < r.swept+time.Second {
		return false
	}
	r.swept = now
	r.sweepNode(&r.root, now)
	return true
}

func (r *retained) sweepNode(n *retainedNode, now time.Duration) {
	for level, c := range n.children {
		r.sweepNode(c, now)
		if c.m != nil && c.m.expiredAt(now) {
			r.discard(c)
		}
		if c.m == nil && len(c.children) == 0 {
			delete(n.children, level)
			r.nodes--
		}
	}
}

// prune lets go of nodes without a message and without children.
func (r *retained) prune(topic string, path []*retainedNode) {
	levels := strings.Split(topic, "/")
	for i := len(path) - 1; i > 0; i-- {
		if path[i].m != nil || len(path[i].children) > 0 {
			return
		}
		delete(path[i-1].children, levels[i-1])
		r.nodes--
	}
}

// many reports whether looking through them is long work.
func (r *retained) many() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count >= longRetained
}

// match calls f for each retained message that the filter matches.
func (r *retained) match(filter string, f func(m *message, qos byte)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.count > 0 {
		r.root.match(filter, true, true, f)
	}
}

func (n *retainedNode) match(filter string, more, top bool, f func(*message, byte)) {
	if !more {
		if n.m != nil {
			f(n.m, n.qos)
		}
		return
	}
	level, rest, deeper := strings.Cut(filter, "/")
	switch level {
	case "#":
		n.all(top, f)
	case "+":
		for name, c := range n.children {
			if !top || !strings.HasPrefix(name, "$") { // [MQTT-4.7.2-1]
				c.match(rest, deeper, false, f)
			}
		}
	default:
		if c := n.children[level]; c != nil {
			c.match(rest, deeper, false, f)
		}
		return
	}
}

func (n *retainedNode) all(top bool, f func(*message, byte)) {
	if n.m != nil {
		f(n.m, n.qos)
	}
	for name, c := range n.children {
		if !top || !strings.HasPrefix(name, "$") { // [MQTT-4.7.2-1]
			c.all(false, f)
		}
	}
}

func (r *retained) size() (count int, bytes int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count, r.bytes + r.nodes*retainedNodeBytes
}
