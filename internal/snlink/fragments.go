package snlink

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// MQTT-SN has no fragments: a message longer than the link's frame is the link's matter, as it is that of 6LoWPAN or G3-PLC.
// Fragments do it for a link that does not. No MQTT-SN message begins with 0, so one that fits into a frame goes as it is:
//
//	 0        1        2                  3
//	+--------+--------+--------+---------+------ … ------+
//	|  0x00  |  tag   | index  | last    | part, n >= 1  |
//	|        |        | 4 bits | 4 bits  |               |
//	+--------+--------+--------+---------+------ … ------+
//
// tag grows by one with each cut message of a sender, index counts from 0 to last. All parts but the last fill the frame. A
// message of which a part is lost is lost, and MQTT-SN repeats it.
const (
	fragmentMark   = 0x00
	fragmentHeader = 3
	maxFragments   = 16
	// MinFragmentMTU is the shortest frame that can be used, octets.
	MinFragmentMTU = fragmentHeader + 8
)

// Bounds of what is being put together: a message for each of so many senders, for so long.
const (
	maxAssemblies = 1024
	assemblyTime  = time.Minute
)

// Fragmented cuts messages that do not fit into the frames of a Conn, and puts them together again at the other end.
type Fragmented struct {
	inner Conn
	mtu   int
	tag   atomic.Uint32

	mu         sync.Mutex
	assemblies map[net.Addr]*assembly
	spoiled    atomic.Uint64
}

// assembly is a message of which some parts have come.
type assembly struct {
	began time.Time
	tag   byte
	parts [][]byte // nil: has not come
	left  int
}

// NewFragmented serves inner, whose frames hold mtu octets; Close closes it.
func NewFragmented(inner Conn, mtu int) (*Fragmented, error) {
	if mtu < MinFragmentMTU || mtu > MaxMessage {
		return nil, fmt.Errorf("frames of %d octets, want %d to %d", mtu, MinFragmentMTU, MaxMessage)
	}
	return &Fragmented{inner: inner, mtu: mtu, assemblies: make(map[net.Addr]*assembly)}, nil
}

// MTU is the longest message, octets.
func (f *Fragmented) MTU() int { return min(maxFragments*(f.mtu-fragmentHeader), MaxMessage) }

// WriteTo implements Conn.
func (f *Fragmented) WriteTo(b []byte, to net.Addr) (int, error) {
	if len(b) <= f.mtu {
		return f.inner.WriteTo(b, to)
	}
	room := f.mtu - fragmentHeader
	n := (len(b) + room - 1) / room
	if n > maxFragments {
		return 0, fmt.Errorf("message of %d octets in frames of %d: want at most %d octets: %w", len(b), f.mtu, f.MTU(), ErrTooLong)
	}
	tag := byte(f.tag.Add(1))
	frame := make([]byte, 0, f.mtu)
	for i := range n {
		part := b[i*room : min((i+1)*room, len(b))]
		frame = append(append(frame[:0], fragmentMark, tag, byte(i<<4|(n-1))), part...)
		if _, err := f.inner.WriteTo(frame, to); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// ReadFrom implements Conn.
func (f *Fragmented) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := f.inner.ReadFrom(b)
		if err != nil {
			return 0, nil, err
		}
		if n == 0 || b[0] != fragmentMark {
			return n, from, nil
		}
		if m := f.part(b[:n], from); m != nil {
			return copy(b, m), from, nil
		}
	}
}

// part takes a part in; it returns the message that it completes.
func (f *Fragmented) part(b []byte, from net.Addr) []byte {
	if len(b) <= fragmentHeader || b[2]>>4 > b[2]&0x0F {
		f.spoiled.Add(1)
		return nil
	}
	tag, index, count := b[1], int(b[2]>>4), int(b[2]&0x0F)+1
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.assemblies[from]
	if a == nil || a.tag != tag || len(a.parts) != count || time.Since(a.began) > assemblyTime {
		if a != nil {
			f.spoiled.Add(1)
		} else if len(f.assemblies) >= maxAssemblies && !f.evict() {
			f.spoiled.Add(1)
			return nil
		}
		a = &assembly{began: time.Now(), tag: tag, parts: make([][]byte, count), left: count}
		f.assemblies[from] = a
	}
	if a.parts[index] == nil {
		a.parts[index] = append([]byte(nil), b[fragmentHeader:]...)
		a.left--
	}
	if a.left > 0 {
		return nil
	}
	delete(f.assemblies, from)
	var m []byte
	for _, p := range a.parts {
		m = append(m, p...)
	}
	return m
}

// evict forgets what was begun too long ago; false if there is nothing such. mu is held.
func (f *Fragmented) evict() (ok bool) {
	for from, a := range f.assemblies {
		if time.Since(a.began) > assemblyTime {
			delete(f.assemblies, from)
			f.spoiled.Add(1)
			ok = true
		}
	}
	return ok
}

// Find implements Finder.
func (f *Fragmented) Find(text string) (net.Addr, bool) { return Find(f.inner, text) }

// LocalAddr implements Conn.
func (f *Fragmented) LocalAddr() net.Addr { return f.inner.LocalAddr() }

// Close implements Conn.
func (f *Fragmented) Close() error { return f.inner.Close() }

// Spoiled is how many parts were malformed, and messages given up because parts of them did not come.
func (f *Fragmented) Spoiled() uint64 { return f.spoiled.Load() }
