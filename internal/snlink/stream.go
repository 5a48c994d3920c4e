package snlink

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/crc"
)

// A frame on a stream:
//
//	 0        1        2        3        4                n+4      n+6
//	+--------+--------+--------+--------+--------+  ...  +--------+
//	|  0xD5  |  length n, 1..   |  check | message, n     | CRC-16 |
//	+--------+--------+--------+--------+--------+  ...  +--------+
//
// check is the CRC-8 (polynomial 0x07) of the three octets before it, so that a damaged length is noticed at once instead of
// after as many octets as it claims. CRC-16 is that of X.25 (and of DLMS over HDLC) of the message, high octet first. After
// damage the receiver looks for the next 0xD5 behind the one it took for a beginning: it loses the damaged frame and no other,
// and holds never more than one frame of the greatest length.
const (
	streamMark     = 0xD5
	streamHeader   = 4
	streamTrailer  = 2
	StreamOverhead = streamHeader + streamTrailer // octets in addition to each message
)

// DefaultStreamMTU is the greatest message on a stream unless the options say otherwise, octets.
const DefaultStreamMTU = 2048

// StreamOptions says what runs over a stream.
type StreamOptions struct {
	// MTU is the greatest message, octets. Both ends want the same.
	MTU int
	// Peer is the address that the other end gets; default PeerAddr("peer").
	Peer net.Addr
}

// PeerAddr names the other end of a link that has just one.
type PeerAddr string

// Network implements net.Addr.
func (PeerAddr) Network() string { return "stream" }

// String implements net.Addr.
func (p PeerAddr) String() string { return string(p) }

// Stream is a Conn over a stream of octets with one peer at its other end.
type Stream struct {
	o    StreamOptions
	rw   io.ReadWriteCloser
	in   *bufio.Reader
	once sync.Once

	rmu sync.Mutex // one reader at a time
	wmu sync.Mutex // frames do not mix
	out []byte

	closed  atomic.Bool
	noise   atomic.Uint64
	damaged atomic.Uint64
}

// NewStream frames messages over rw, which Close closes.
func NewStream(rw io.ReadWriteCloser, o StreamOptions) (*Stream, error) {
	if o.MTU == 0 {
		o.MTU = DefaultStreamMTU
	}
	if o.MTU < 2 || o.MTU > MaxMessage {
		return nil, fmt.Errorf("stream with messages of %d octets: want 2 to %d", o.MTU, MaxMessage)
	}
	if o.Peer == nil {
		o.Peer = PeerAddr("peer")
	}
	return &Stream{o: o, rw: rw, in: bufio.NewReaderSize(rw, max(o.MTU+StreamOverhead, 16))}, nil
}

// ReadFrom implements Conn. An error of the stream is final.
func (s *Stream) ReadFrom(b []byte) (int, net.Addr, error) {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	for {
		m, err := s.next()
		switch {
		case err == nil && m == nil:
			continue
		case err == nil:
			n := copy(b, m[streamHeader:len(m)-streamTrailer])
			_, _ = s.in.Discard(len(m)) // it is in the buffer
			return n, s.o.Peer, nil
		case s.closed.Load():
			return 0, nil, net.ErrClosed
		default:
			return 0, nil, fmt.Errorf("reading from %s: %w", s.o.Peer, err)
		}
	}
}

// next looks at the beginning of what is read: it returns a whole frame, still in the buffer, or nil after it has skipped at
// least one octet that begins none.
func (s *Stream) next() ([]byte, error) {
	head, err := s.in.Peek(streamHeader)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 && head[0] != streamMark {
			err = nil // what is left may still be noise alone
			s.skip()
		}
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[1:]))
	if head[0] != streamMark || n == 0 || n > s.o.MTU || byte(crc.CRC8.Of(head[:3])) != head[3] {
		s.skip()
		return nil, nil
	}
	f, err := s.in.Peek(streamHeader + n + streamTrailer)
	if err != nil {
		if errors.Is(err, io.EOF) { // cut off, or a header by chance: look behind it
			s.skip()
			return nil, nil
		}
		return nil, err
	}
	if binary.BigEndian.Uint16(f[streamHeader+n:]) != crc.X25.Of16(f[streamHeader:streamHeader+n]) {
		s.damaged.Add(1)
		s.skip()
		return nil, nil
	}
	return f, nil
}

func (s *Stream) skip() {
	s.noise.Add(1)
	_, _ = s.in.Discard(1)
}

// WriteTo implements Conn; the address does not matter, since there is one peer.
func (s *Stream) WriteTo(b []byte, _ net.Addr) (int, error) {
	if len(b) == 0 || len(b) > s.o.MTU {
		return 0, fmt.Errorf("message of %d octets on a stream: want 1 to %d: %w", len(b), s.o.MTU, ErrTooLong)
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.out = appendFrame(s.out[:0], b)
	if _, err := s.rw.Write(s.out); err != nil {
		if s.closed.Load() {
			return 0, net.ErrClosed
		}
		return 0, fmt.Errorf("writing to %s: %w", s.o.Peer, err)
	}
	return len(b), nil
}

func appendFrame(dst, m []byte) []byte {
	at := len(dst)
	dst = append(dst, streamMark, byte(len(m)>>8), byte(len(m)))
	dst = append(dst, byte(crc.CRC8.Of(dst[at:])))
	dst = append(dst, m...)
	return binary.BigEndian.AppendUint16(dst, crc.X25.Of16(m))
}

// Find implements Finder: there is one peer.
func (s *Stream) Find(text string) (net.Addr, bool) { return s.o.Peer, text == s.o.Peer.String() }

// LocalAddr implements Conn.
func (s *Stream) LocalAddr() net.Addr { return PeerAddr("here") }

// Close implements Conn.
func (s *Stream) Close() error {
	var err error
	s.once.Do(func() {
		s.closed.Store(true)
		err = s.rw.Close()
	})
	return err
}

// Noise is how many octets belonged to no whole frame.
func (s *Stream) Noise() uint64 { return s.noise.Load() }

// Damaged is how many frames were whole but had a wrong CRC.
func (s *Stream) Damaged() uint64 { return s.damaged.Load() }
