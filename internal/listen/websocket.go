package listen

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// webSocket is the server's end of a WebSocket (RFC 6455) whose binary messages are
// one stream, whatever their borders [MQTT-6.0.0-2]. It reads as a state machine:
// wherever a deadline interrupts it, the next Read goes on.
//
//	header ──binary, continuation──> payload ──> header
//	   └────ping, pong, close──────> control ──> header, or the end
type webSocket struct {
	nc       net.Conn
	maxFrame int64
	over     *atomic.Bool // the connection is to end

	// Of the reading goroutine.
	ahead     [128]byte // read ahead: a small frame takes one system call
	from, to  int       // what is left of it
	head      [14]byte  // the header as far as it has come
	headLen   int
	frame     frame
	left      int64  // bytes of payload to come
	mask      uint32 // position in the masking key
	inMessage bool   // more frames of the message are to come
	control   []byte // payload of a control frame as far as it has come
	failed    error

	mu   sync.Mutex // held while a frame is written
	torn bool       // a frame was written in part: nothing can follow
	bye  uint16     // what to say at the end; 0: normal closure
}

type frame struct {
	fin    bool
	opcode byte
	length int64
	key    [4]byte
}

// The opcodes and status codes of RFC 6455, 11.8 and 7.4.1.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10

	closeNormal      = 1000
	closeProtocol    = 1002
	closeUnsupported = 1003
	closeTooLarge    = 1009
)

const (
	pongTimeout    = 10 * time.Second // for an answer to a ping to be written
	goodbyeTimeout = time.Second      // for the last words; on a busy machine a short one passes before the write has begun
)

// FrameError is a frame that ends the connection.
type FrameError struct {
	Code uint16 // status code that the peer is told
	Text string
}

func (e *FrameError) Error() string { return "WebSocket frame: " + e.Text }

// Read gives the payload of binary frames, and answers the control frames in
// between. At the peer's close it returns io.EOF.
func (s *webSocket) Read(p []byte) (int, error) {
	if s.failed != nil || len(p) == 0 {
		return 0, s.failed
	}
	for {
		switch {
		case s.headLen < headSize(s.head[:s.headLen]):
			if err := s.readHead(); err != nil {
				return 0, err
			}
		case s.frame.opcode >= opClose:
			if err := s.readControl(); err != nil {
				return 0, err
			}
		case s.left == 0:
			s.headLen = 0
		default:
			n, err := s.payload(p)
			if n > 0 || err != nil {
				return n, err
			}
		}
	}
}

// headSize is how long a header is, judged by what has come of it: at least as
// long as the shortest one of a client.
func headSize(b []byte) int {
	const shortest = 6 // with its masking key
	if len(b) >= 2 {
		switch b[1] & 0x7f {
		case 126:
			return shortest + 2
		case 127:
			return shortest + 8
		}
	}
	return shortest
}

func (s *webSocket) readHead() error {
	n, err := s.raw(s.head[s.headLen:headSize(s.head[:s.headLen])])
	s.headLen += n
	if err != nil {
		return err
	}
	if s.headLen < headSize(s.head[:s.headLen]) {
		if s.headLen >= 2 { // what is wrong already needs no more bytes
			_, ferr := parseFrame(s.head[:s.headLen], s.maxFrame, s.inMessage)
			return s.fail(ferr)
		}
		return nil
	}
	f, ferr := parseFrame(s.head[:s.headLen], s.maxFrame, s.inMessage)
	if ferr != nil {
		return s.fail(ferr)
	}
	s.frame, s.left, s.mask = f, f.length, 0
	if f.opcode < opClose {
		s.inMessage = !f.fin
	}
	return nil
}

// parseFrame reads a header, or says what is wrong with one that is not complete.
func parseFrame(b []byte, most int64, inMessage bool) (f frame, err *FrameError) {
	f = frame{fin: b[0]&0x80 != 0, opcode: b[0] & 0x0f, length: int64(b[1] & 0x7f)}
	switch {
	case b[0]&0x70 != 0: // RFC 6455, 5.2: no extension was agreed on
		return f, &FrameError{closeProtocol, "reserved bits are set"}
	case b[1]&0x80 == 0: // RFC 6455, 5.1
		return f, &FrameError{closeProtocol, "not masked"}
	case f.opcode == opText: // [MQTT-6.0.0-1]
		return f, &FrameError{closeUnsupported, "text, where MQTT wants binary"}
	case f.opcode > opPong || f.opcode > opBinary && f.opcode < opClose:
		return f, &FrameError{closeProtocol, fmt.Sprintf("opcode %d", f.opcode)}
	case f.opcode >= opClose && (!f.fin || f.length > 125): // RFC 6455, 5.5
		return f, &FrameError{closeProtocol, "control frame that is fragmented or longer than 125 bytes"}
	case f.opcode == opContinuation && !inMessage: // RFC 6455, 5.4
		return f, &FrameError{closeProtocol, "continuation of nothing"}
	case f.opcode == opBinary && inMessage:
		return f, &FrameError{closeProtocol, "new message within a message"}
	}
	if len(b) < headSize(b) {
		return f, nil
	}
	switch f.length {
	case 126:
		f.length = int64(binary.BigEndian.Uint16(b[2:]))
		if f.length < 126 { // RFC 6455, 5.2: the shortest form
			return f, &FrameError{closeProtocol, "length is not in its shortest form"}
		}
	case 127:
		n := binary.BigEndian.Uint64(b[2:])
		if n>>63 != 0 || n < 1<<16 {
			return f, &FrameError{closeProtocol, "length is not in its shortest form"}
		}
		f.length = int64(n)
	}
	if f.length > most {
		return f, &FrameError{closeTooLarge, fmt.Sprintf("%d bytes, at most %d", f.length, most)}
	}
	copy(f.key[:], b[len(b)-4:])
	return f, nil
}

// raw gives bytes as they came.
func (s *webSocket) raw(p []byte) (int, error) {
	if s.from == s.to {
		if len(p) >= len(s.ahead) {
			return s.nc.Read(p)
		}
		n, err := s.nc.Read(s.ahead[:])
		s.from, s.to = 0, n
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, s.ahead[s.from:s.to])
	s.from += n
	return n, nil
}

// payload gives bytes of the frame, without the mask.
func (s *webSocket) payload(p []byte) (int, error) {
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.raw(p)
	for i := range p[:n] {
		p[i] ^= s.frame.key[s.mask&3]
		s.mask++
	}
	s.left -= int64(n)
	return n, err
}

// readControl reads a control frame and does what it asks for.
func (s *webSocket) readControl() error {
	for s.left > 0 {
		var b [125]byte
		n, err := s.payload(b[:])
		s.control = append(s.control, b[:n]...)
		if err != nil {
			return err
		}
	}
	payload := s.control
	s.control, s.headLen = nil, 0
	switch s.frame.opcode {
	case opPing: // RFC 6455, 5.5.2
		return s.pong(payload)
	case opClose: // RFC 6455, 5.5.1
		if len(payload) == 1 {
			return s.fail(&FrameError{closeProtocol, "close with half a status code"})
		}
		s.failed = io.EOF
		return io.EOF
	}
	return nil
}

func (s *webSocket) pong(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.nc.SetWriteDeadline(time.Now().Add(pongTimeout))
	if s.over.Load() { // whose deadline this may have overwritten
		_ = s.nc.SetWriteDeadline(time.Unix(1, 0))
	}
	_, err := s.nc.Write(appendFrame(nil, opPong, payload))
	s.torn = s.torn || err != nil
	return err
}

// fail ends the reading for good. A nil error is none.
func (s *webSocket) fail(err *FrameError) error {
	if err == nil {
		return nil
	}
	s.failed, s.bye = err, err.Code
	return err
}

// appendFrame adds a whole message, as servers send it: not masked.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// writeBuffers are for header and payload in one write.
var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// Write sends p as one binary message. n counts bytes of p.
func (s *webSocket) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	buf := writeBuffers.Get().(*[]byte)
	*buf = appendFrame((*buf)[:0], opBinary, p)
	head := len(*buf) - len(p)
	n, err = s.nc.Write(*buf)
	s.torn = s.torn || err != nil
	if cap(*buf) <= 64<<10 {
		writeBuffers.Put(buf)
	}
	return max(0, n-head), err
}

// goodbye says why the connection ends, if the peer takes it at once. Both deadlines
// may have passed. Who is writing is waited for: the peer may answer a frame before
// the call that wrote it has returned.
func (s *webSocket) goodbye() {
	_ = s.nc.SetWriteDeadline(time.Now().Add(goodbyeTimeout)) // of that write, too
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn {
		return
	}
	code := s.bye
	if code == 0 {
		code = closeNormal
	}
	_ = s.nc.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	_, _ = s.nc.Write(appendFrame(nil, opClose, binary.BigEndian.AppendUint16(nil, code))) // the peer may be gone
}
