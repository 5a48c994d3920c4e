package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func dialWebSocket(t *testing.T, url string, header http.Header) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"mqtt"}, HandshakeTimeout: 30 * time.Second}
	ws, r, err := d.Dial(url, header)
	if err != nil {
		t.Fatalf("%v, %v", err, r)
	}
	if ws.Subprotocol() != "mqtt" {
		t.Errorf("sub-protocol %q", ws.Subprotocol())
	}
	t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	return ws
}

// messages is a stream over a WebSocket of the library: each Write is a message.
type messages struct {
	ws   *websocket.Conn
	rest []byte
}

func (m *messages) Write(p []byte) (int, error) {
	return len(p), m.ws.WriteMessage(websocket.BinaryMessage, p)
}

func (m *messages) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		_, b, err := m.ws.ReadMessage()
		if err != nil {
			return 0, err
		}
		m.rest = b
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// TestWebSocketSizes: messages of every size of length field, whole and in
// fragments of one byte, from an independent client.
func TestWebSocketSizes(t *testing.T) {
	e := serve(t, Options{WebSocket: true})
	ws := dialWebSocket(t, "ws://"+e.addr+"/mqtt", nil)
	m := &messages{ws: ws}
	for _, n := range []int{0, 1, 125, 126, 127, 128, 129, 4096, 65535, 65536, 300_000} {
		want := bytes.Repeat([]byte("0123456789abcdef!"), n/17+1)[:n]
		wantEcho(t, m, string(want))
	}
	for _, b := range []byte("bytewise") {
		wantEcho(t, m, string(b))
	}
	// A fragmented message with a ping in it.
	pongs := make(chan string, 1)
	ws.SetPongHandler(func(s string) error { pongs <- s; return nil })
	w, err := ws.NextWriter(websocket.BinaryMessage)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(make([]byte, 10_000)) // more than the client's buffer: several frames
	if err := ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if _, err := io.ReadFull(m, make([]byte, 10_000)); err != nil {
		t.Fatal(err)
	}
	if s := <-pongs; s != "are you there" {
		t.Errorf("pong %q", s)
	}
}

func TestWebSocketText(t *testing.T) {
	e := serve(t, Options{WebSocket: true})
	ws := dialWebSocket(t, "ws://"+e.addr, nil)
	if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
		t.Fatal(err)
	}
	_, _, err := ws.ReadMessage()
	if !websocket.IsCloseError(err, closeUnsupported) {
		t.Errorf("%v", err)
	}
}

// TestWebSocketClose: the peer's close is the end of the stream and is answered.
func TestWebSocketClose(t *testing.T) {
	e := serve(t, Options{WebSocket: true})
	ws := dialWebSocket(t, "ws://"+e.addr, nil)
	if err := ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"), time.Now().Add(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _, err := ws.ReadMessage()
	if !websocket.IsCloseError(err, closeNormal) {
		t.Errorf("%v", err)
	}
}

func TestUpgradeRefused(t *testing.T) {
	e := serve(t, Options{WebSocket: true, Origins: []string{"console.example.org"}})
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	const good = "Host: broker.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" + key
	for _, c := range []struct{ name, request, want string }{
		{"good", "GET /mqtt HTTP/1.1\r\n" + good + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", "HTTP/1.1 101 "},
		{"MQTT 3.1", "GET / HTTP/1.1\r\n" + good + "Sec-WebSocket-Protocol: x, mqttv3.1\r\n\r\n", "HTTP/1.1 101 "},
		{"same origin", "GET / HTTP/1.1\r\n" + good + "Origin: http://broker.test\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", "HTTP/1.1 101 "},
		{"allowed origin", "GET / HTTP/1.1\r\n" + good + "Origin: https://Console.example.org\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", "HTTP/1.1 101 "},
		{"other origin", "GET / HTTP/1.1\r\n" + good + "Origin: http://evil.test\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", "HTTP/1.1 403 "},
		{"opaque origin", "GET / HTTP/1.1\r\n" + good + "Origin: null\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", "HTTP/1.1 403 "},
		{"no sub-protocol", "GET / HTTP/1.1\r\n" + good + "\r\n", "HTTP/1.1 400 "},
		{"other sub-protocol", "GET / HTTP/1.1\r\n" + good + "Sec-WebSocket-Protocol: chat\r\n\r\n", "HTTP/1.1 400 "},
		{"plain", "GET / HTTP/1.1\r\nHost: broker.test\r\n\r\n", "HTTP/1.1 426 "},
		{"POST", "POST / HTTP/1.1\r\n" + good + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", "HTTP/1.1 405 "},
		{"old version", "GET / HTTP/1.1\r\n" + strings.Replace(good, "13", "8", 1) + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", "HTTP/1.1 400 "},
		{"no HTTP", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n\r\n", ""},
		{"endless header", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 2*maxRequest), ""},
	} {
		nc := e.dial(t)
		if _, err := io.WriteString(nc, c.request); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := make([]byte, len(c.want))
		if _, err := io.ReadFull(nc, got); c.want != "" && (err != nil || string(got) != c.want) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if c.want == "" {
			if _, err := nc.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: not closed: %v", c.name, err)
			}
		}
		_ = nc.Close()
	}
}

// script is a net.Conn that gives what it was told to, in pieces, with a timeout
// before each piece.
type script struct {
	net.Conn
	in    []byte
	step  int
	waits bool
	out   bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	if s.waits = !s.waits; s.waits {
		return 0, os.ErrDeadlineExceeded
	}
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in[:min(s.step, len(s.in))])
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// drain reads to the end, going on after timeouts.
func drain(s *webSocket) (got []byte, err error) {
	buf := make([]byte, 200)
	for {
		n, err := s.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return got, err
		}
	}
}

// masked builds a frame of a client.
func masked(first byte, payload []byte) []byte {
	b := appendFrame(nil, 0, payload)
	b[0] = first
	b[1] |= 0x80
	head := len(b) - len(payload)
	key := []byte{0x37, 0xfa, 0x21, 0x3d}
	out := append(append([]byte{}, b[:head]...), key...)
	for i, c := range payload {
		out = append(out, c^key[i&3])
	}
	return out
}

// TestWebSocketResumes: whatever the pieces, and with a deadline that passes
// before each, nothing is lost.
func TestWebSocketResumes(t *testing.T) {
	var in, want []byte
	for i, n := range []int{0, 5, 130, 1000, 70_000, 3} {
		payload := bytes.Repeat([]byte{byte('a' + i)}, n)
		want = append(want, payload...)
		in = append(in, masked(0x02, payload)...)                    // binary, more to come
		in = append(in, masked(0x89, []byte("ping"))...)             // ping in between
		in = append(in, masked(0x80, []byte{'.'})...)                // the rest
		in = append(in, masked(0x8a, []byte("unsolicited pong"))...) // ignored
		want = append(want, '.')
	}
	in = append(in, masked(0x88, []byte{3, 232})...)
	for _, step := range []int{1, 2, 3, 7, 128, 100_000} {
		sc := &script{in: in, step: step}
		s := &webSocket{nc: sc, maxFrame: 1 << 20, over: new(atomic.Bool)}
		got, err := drain(s)
		if !errors.Is(err, io.EOF) || !bytes.Equal(got, want) {
			t.Errorf("pieces of %d: %d bytes of %d, %v", step, len(got), len(want), err)
		}
		if pongs := bytes.Count(sc.out.Bytes(), []byte("\x8a\x04ping")); pongs != 6 {
			t.Errorf("pieces of %d: %d pongs", step, pongs)
		}
	}
}

// TestFrames: annotated headers, good and bad.
func TestFrames(t *testing.T) {
	key := "\x01\x02\x03\x04"
	for _, c := range []struct {
		name, head string
		in         bool
		code       uint16
		length     int64
	}{
		{"binary", "\x82\x85" + key, false, 0, 5},
		{"first fragment", "\x02\x85" + key, false, 0, 5},
		{"continuation", "\x00\x85" + key, true, 0, 5},
		{"16 bit", "\x82\xfe\x01\x00" + key, false, 0, 256},
		{"64 bit", "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00" + key, false, 0, 65536},
		{"ping in a message", "\x89\x80" + key, true, 0, 0},
		{"not masked", "\x82\x05" + key, false, closeProtocol, 0},
		{"RSV1", "\xc2\x85" + key, false, closeProtocol, 0},
		{"text", "\x81\x85" + key, false, closeUnsupported, 0},
		{"opcode 3", "\x83\x85" + key, false, closeProtocol, 0},
		{"opcode 11", "\x8b\x85" + key, false, closeProtocol, 0},
		{"fragmented ping", "\x09\x80" + key, false, closeProtocol, 0},
		{"long close", "\x88\xfe\x00\x80" + key, false, closeProtocol, 0},
		{"continuation of nothing", "\x80\x85" + key, false, closeProtocol, 0},
		{"message in message", "\x82\x85" + key, true, closeProtocol, 0},
		{"5 in 16 bits", "\x82\xfe\x00\x05" + key, false, closeProtocol, 0},
		{"256 in 64 bits", "\x82\xff\x00\x00\x00\x00\x00\x00\x01\x00" + key, false, closeProtocol, 0},
		{"2^63", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" + key, false, closeProtocol, 0},
		{"1 TiB", "\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00" + key, false, closeTooLarge, 0},
		{"one too many", "\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01" + key, false, closeTooLarge, 0},
	} {
		f, err := parseFrame([]byte(c.head), 1<<20, c.in)
		if err != nil && err.Code != c.code || err == nil && (c.code != 0 || f.length != c.length || string(f.key[:]) != key) {
			t.Errorf("%s: %+v, %v", c.name, f, err)
		}
	}
}

// TestGoodbyeTells: after a frame that is refused the peer is told the code.
func TestGoodbyeTells(t *testing.T) {
	sc := &script{in: []byte("\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00\x01\x02\x03\x04"), step: 100}
	s := &webSocket{nc: sc, maxFrame: 1 << 20, over: new(atomic.Bool)}
	_, err := drain(s)
	var fe *FrameError
	if !errors.As(err, &fe) || fe.Code != closeTooLarge {
		t.Errorf("%v", err)
	}
	if _, again := s.Read(make([]byte, 1)); !errors.Is(again, err) {
		t.Errorf("then %v", again)
	}
	s.goodbye()
	if sc.out.String() != "\x88\x02\x03\xf1" {
		t.Errorf("%q", sc.out.String())
	}
}

// FuzzWebSocket: no bytes of a client crash the reader or make it give more than
// came, in whatever pieces.
func FuzzWebSocket(f *testing.F) {
	f.Add(masked(0x82, []byte("hello")), 3)
	f.Add(append(masked(0x02, []byte("a")), masked(0x89, []byte("b"))...), 1)
	f.Add(masked(0x88, []byte{3}), 100)
	f.Add(masked(0x82, make([]byte, 70_000)), 128)
	f.Add([]byte("\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00"), 5)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		step = max(1, step&0xffff)
		whole := &webSocket{nc: &script{in: bytes.Clone(in), step: 1 << 20}, maxFrame: 1 << 16, over: new(atomic.Bool)}
		pieces := &webSocket{nc: &script{in: bytes.Clone(in), step: step}, maxFrame: 1 << 16, over: new(atomic.Bool)}
		a, aerr := drain(whole)
		b, berr := drain(pieces)
		if !bytes.Equal(a, b) || fmt.Sprint(aerr) != fmt.Sprint(berr) || len(a) > len(in) {
			t.Errorf("%q, %v; in pieces of %d %q, %v", a, aerr, step, b, berr)
		}
	})
}

// FuzzProxy: no header crashes the reader, and it never reads behind the header.
func FuzzProxy(f *testing.F) {
	f.Add(header2(0x21, 0x11, make([]byte, 12)))
	f.Add(header2(0x21, 0x21, make([]byte, 36)))
	f.Add([]byte("PROXY TCP4 1.2.3.4"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		if _, err := readProxy(r); err != nil {
			return
		}
		if want := 16 + int(binary.BigEndian.Uint16(in[14:])); len(in)-r.Len() != want {
			t.Errorf("read %d bytes of a header of %d", len(in)-r.Len(), want)
		}
	})
}
