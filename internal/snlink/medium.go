package snlink

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// MediumOptions says what a simulated link is like. Zero values: infinitely fast, frames of any size, nothing goes wrong.
type MediumOptions struct {
	BitRate  int           // bit/s while a node transmits
	MTU      int           // greatest message in a frame, octets
	Overhead int           // octets on the air with each frame: preamble, addresses, check sum
	Delay    time.Duration // from the end of the transmission to the arrival
	Jitter   time.Duration // added to Delay, 0 to so much
	// Loss, Duplicate and Reorder are probabilities for a frame and each of its receivers. A frame that is reordered arrives
	// ReorderBy later than it would.
	Loss, Duplicate, Reorder float64
	ReorderBy                time.Duration // default 1 s
	// HalfDuplex lets one node at a time transmit; the others wait. Otherwise each node has the link for itself.
	HalfDuplex bool
	// Queue is how many frames of a node may wait for their transmission; more are dropped. Default 64.
	Queue int
	// Seed draws what goes wrong. The fate of the n-th frame from a node to another depends on the seed, the nodes and n alone:
	// the same run happens again, whatever else is sent.
	Seed uint64
	// Observe, if not nil, is told of every frame when its transmission begins. It must not block.
	Observe func(Transmission)
}

// Transmission is a frame on the air.
type Transmission struct {
	At       time.Time // when its transmission begins
	Airtime  time.Duration
	From, To net.Addr
	Message  []byte // valid until Observe returns
	Lost     bool   // for a frame to Everyone: to each node
}

// MediumStats count what was on the air.
type MediumStats struct {
	Frames, Octets uint64 // transmitted, with the overhead
	Lost           uint64 // arrivals that did not happen
	Duplicated     uint64
	Reordered      uint64
	Dropped        uint64 // at the bound of a node's queue
	Airtime        time.Duration
}

// Medium is a simulated link that several nodes share. It runs on the wall clock, or in a synctest bubble on that one's.
type Medium struct {
	o MediumOptions

	mu    sync.Mutex
	nodes map[string]*Node
	free  time.Time // half duplex: when the medium is free
	stats MediumStats
	pairs map[[2]string]*pair
}

// pair is what is known of the way from one node to another.
type pair struct {
	n    uint64    // frames so far
	last time.Time // arrival of the last frame in order
}

// NewMedium checks the options and makes a link without nodes.
func NewMedium(o MediumOptions) (*Medium, error) {
	for name, p := range map[string]float64{"loss": o.Loss, "duplicate": o.Duplicate, "reorder": o.Reorder} {
		if !(p >= 0 && p <= 1) {
			return nil, fmt.Errorf("simulated link: %s of %v: want a probability, 0 to 1", name, p)
		}
	}
	if o.BitRate < 0 || o.Overhead < 0 || o.Delay < 0 || o.Jitter < 0 || o.ReorderBy < 0 || o.Queue < 0 || o.MTU < 0 || o.MTU > MaxMessage {
		return nil, fmt.Errorf("simulated link: a negative option, or an MTU above %d octets: %+v", MaxMessage, o)
	}
	if o.MTU == 0 {
		o.MTU = MaxMessage
	}
	if o.Queue == 0 {
		o.Queue = 64
	}
	if o.ReorderBy == 0 {
		o.ReorderBy = time.Second
	}
	return &Medium{o: o, nodes: make(map[string]*Node), pairs: make(map[[2]string]*pair)}, nil
}

// MediumAddr is the address of a node on a Medium.
type MediumAddr string

// Network implements net.Addr.
func (MediumAddr) Network() string { return "medium" }

// String implements net.Addr.
func (a MediumAddr) String() string { return string(a) }

// Node is one end of a Medium.
type Node struct {
	*inbox
	m    *Medium
	addr MediumAddr

	// Under the medium's mutex.
	free    time.Time
	waiting int // frames whose transmission has not ended
	stats   MediumStats
}

// Attach puts a node on the link; its name is its address.
func (m *Medium) Attach(name string) (*Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == "" || m.nodes[name] != nil {
		return nil, fmt.Errorf("simulated link: node %q: want a new name", name)
	}
	n := &Node{inbox: newInbox(), m: m, addr: MediumAddr(name)}
	m.nodes[name] = n
	return n, nil
}

// Stats returns the counts of all nodes together.
func (m *Medium) Stats() MediumStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats
}

// Stats returns the counts of what the node sent.
func (n *Node) Stats() MediumStats {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	return n.stats
}

// Find implements Finder.
func (n *Node) Find(text string) (net.Addr, bool) { return MediumAddr(text), true }

// LocalAddr implements Conn.
func (n *Node) LocalAddr() net.Addr { return n.addr }

// Close implements Conn: the node is off the link, and its name free.
func (n *Node) Close() error {
	n.m.mu.Lock()
	if n.m.nodes[string(n.addr)] == n {
		delete(n.m.nodes, string(n.addr))
	}
	n.m.mu.Unlock()
	n.close()
	return nil
}

func (n *Node) both(count func(*MediumStats)) {
	count(&n.m.stats)
	count(&n.stats)
}

// WriteTo implements Conn. A frame to a node that is not there is transmitted all the same.
func (n *Node) WriteTo(b []byte, to net.Addr) (int, error) {
	m := n.m
	if n.isClosed() {
		return 0, net.ErrClosed
	}
	if len(b) > m.o.MTU {
		return 0, fmt.Errorf("message of %d octets from %s, want at most %d: %w", len(b), n.addr, m.o.MTU, ErrTooLong)
	}
	dst, one := to.(MediumAddr)
	if !one && to != Everyone {
		return 0, fmt.Errorf("%v on a simulated link: %w", to, ErrAddress)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n.waiting >= m.o.Queue {
		n.both(func(s *MediumStats) { s.Dropped++ })
		return len(b), nil
	}
	free := &n.free
	if m.o.HalfDuplex {
		free = &m.free
	}
	begin := time.Now()
	if free.After(begin) {
		begin = *free
	}
	size := len(b) + m.o.Overhead
	var air time.Duration
	if m.o.BitRate > 0 {
		air = time.Duration(float64(size*8) / float64(m.o.BitRate) * float64(time.Second))
	}
	end := begin.Add(air)
	*free = end
	n.waiting++
	time.AfterFunc(time.Until(end), func() { m.mu.Lock(); n.waiting--; m.mu.Unlock() })
	n.both(func(s *MediumStats) { s.Frames++; s.Octets += uint64(size); s.Airtime += air })
	lost := true
	if one {
		lost = !n.carry(b, string(dst), end)
	} else {
		for name := range m.nodes {
			if name != string(n.addr) && n.carry(b, name, end) {
				lost = false
			}
		}
	}
	if m.o.Observe != nil {
		m.o.Observe(Transmission{At: begin, Airtime: air, From: n.addr, To: to, Message: b, Lost: lost})
	}
	return len(b), nil
}

// carry draws what happens to a frame on its way to a node, and lets it arrive. It returns whether it does.
func (n *Node) carry(b []byte, to string, end time.Time) bool {
	m := n.m
	key := [2]string{string(n.addr), to}
	p := m.pairs[key]
	if p == nil {
		p = &pair{}
		m.pairs[key] = p
	}
	p.n++
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%d", key[0], key[1], p.n)
	r := rand.New(rand.NewPCG(m.o.Seed, h.Sum64()))
	// All are drawn every time, so that one option does not change what another one brings about.
	lost, twice, late := r.Float64() < m.o.Loss, r.Float64() < m.o.Duplicate, r.Float64() < m.o.Reorder
	jitter, second := r.Float64(), r.Float64()
	if lost || m.nodes[to] == nil {
		n.both(func(s *MediumStats) { s.Lost++ })
		return false
	}
	at := end.Add(m.o.Delay + time.Duration(jitter*float64(m.o.Jitter)))
	if late {
		at = at.Add(m.o.ReorderBy)
		n.both(func(s *MediumStats) { s.Reordered++ })
	} else {
		if !at.After(p.last) {
			at = p.last.Add(1)
		}
		p.last = at
	}
	m.arrive(b, n.addr, to, at)
	if twice {
		n.both(func(s *MediumStats) { s.Duplicated++ })
		m.arrive(b, n.addr, to, at.Add(1+time.Duration(second*float64(m.o.ReorderBy))))
	}
	return true
}

func (m *Medium) arrive(b []byte, from MediumAddr, to string, at time.Time) {
	b = append([]byte(nil), b...)
	time.AfterFunc(time.Until(at), func() {
		m.mu.Lock()
		n := m.nodes[to]
		m.mu.Unlock()
		if n != nil {
			n.put(b, from)
		}
	})
}
