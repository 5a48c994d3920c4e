package snlink

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// MaxMessage is the longest MQTT-SN message there can be, octets: its length is 16 bits.
const MaxMessage = 65535

// inboxFrames bounds what a transport with a queue of its own holds for its reader.
const inboxFrames = 1024

var (
	// ErrTooLong is returned for a message that does not fit the link; nothing of it is sent.
	ErrTooLong = errors.New("message too long for the link")
	// ErrAddress is returned for an address that is not of the transport.
	ErrAddress = errors.New("address of another transport")
	// ErrUnknownPeer is returned for a peer that the transport has no connection with (any more).
	ErrUnknownPeer = errors.New("no connection with the peer")
)

// Conn carries datagrams. Its methods are safe for concurrent use; every net.PacketConn is one.
type Conn interface {
	// ReadFrom waits for a datagram, copies it to b and tells who sent it. What does not fit into b is lost. After Close it
	// returns net.ErrClosed.
	ReadFrom(b []byte) (n int, from net.Addr, err error)
	// WriteTo sends a datagram. Its arrival is not certain.
	WriteTo(b []byte, to net.Addr) (n int, err error)
	LocalAddr() net.Addr
	Close() error
}

// Identified is an address whose owner the transport has authenticated.
type Identified interface {
	net.Addr
	// Identity is the name that was proven: that of the pre-shared key, or the common name of the certificate. "": none.
	Identity() string
}

// Identity is the authenticated identity behind an address, "" if there is none. The identity of a forwarder is not that of the
// devices behind it.
func Identity(a net.Addr) string {
	if i, ok := a.(Identified); ok {
		return i.Identity()
	}
	return ""
}

// Finder is a Conn that reaches a peer of which nothing has come yet, if the text of its address is known, such as after a restart.
type Finder interface {
	// Find is the address whose String is text; false if the Conn cannot send there.
	Find(text string) (net.Addr, bool)
}

// Find gives the address on c whose String is text. It returns false where a peer has to speak first: behind DTLS, where it has to
// prove who it is, and on streams that were accepted, which the peer has to open.
func Find(c Conn, text string) (net.Addr, bool) {
	if f, ok := c.(Finder); ok {
		return f.Find(text)
	}
	return nil, false
}

// Everyone is the address of all who hear a Conn: on UDP the multicast group, on a link with two ends the other one.
var Everyone net.Addr = everyone{}

type everyone struct{}

func (everyone) Network() string { return "broadcast" }
func (everyone) String() string  { return "everyone" }

// frame is a datagram on its way.
type frame struct {
	b    []byte
	from net.Addr
}

// inbox is a bounded queue between those who receive and ReadFrom.
type inbox struct {
	frames  chan frame
	closed  chan struct{}
	once    sync.Once
	dropped atomic.Uint64
}

func newInbox() *inbox {
	return &inbox{frames: make(chan frame, inboxFrames), closed: make(chan struct{})}
}

// put queues a datagram, which it keeps; at the bound it drops it.
func (q *inbox) put(b []byte, from net.Addr) {
	select {
	case q.frames <- frame{b, from}:
	default:
		q.dropped.Add(1)
	}
}

// ReadFrom implements Conn.
func (q *inbox) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case f := <-q.frames:
		return copy(b, f.b), f.from, nil
	case <-q.closed:
		return 0, nil, net.ErrClosed
	}
}

func (q *inbox) close() { q.once.Do(func() { close(q.closed) }) }

func (q *inbox) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

// Dropped is how many datagrams were dropped because the reader was too slow.
func (q *inbox) Dropped() uint64 { return q.dropped.Load() }
