package broker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// layered is a connection as package listen makes them, with the handshake in Open.
type layered struct {
	net.Conn
	conf  *tls.Config
	below *lowerEnd
	over  *tls.Conn
}

type lowerEnd struct{ net.Conn }

func (l *layered) Open() error {
	l.below = &lowerEnd{l.Conn}
	l.over = tls.Server(l.below, l.conf)
	return l.over.Handshake()
}

func (l *layered) Layers() (*net.TCPConn, *tls.Conn, func(net.Conn)) {
	return l.Conn.(*net.TCPConn), l.over, func(nc net.Conn) { l.below.Conn = nc }
}

type layeredListener struct {
	net.Listener
	conf *tls.Config
}

func (l *layeredListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &layered{Conn: nc, conf: l.conf}, nil
}

// startTLS is start with a listener of TLS, and what its clients need.
func startTLS(t *testing.T, o Options) (s *server, client *tls.Config) {
	t.Helper()
	cert, ca := selfSigned(t, "broker.test")
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- b.Run(ctx, &layeredListener{ln, &tls.Config{Certificates: []tls.Certificate{cert}}})
	}()
	s = &server{Broker: b, addr: ln.Addr().String(), stop: cancel}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, &tls.Config{RootCAs: ca, ServerName: "broker.test"}
}

// wire is what a client's TLS writes to: as it comes, byte by byte, or together.
type wire struct {
	net.Conn
	slow bool // one byte at a time
	hold bool // until somebody reads, or flush
	buf  bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) {
	switch {
	case w.hold:
		return w.buf.Write(p)
	case w.slow:
		for i := range p {
			if _, err := w.Conn.Write(p[i : i+1]); err != nil {
				return i, err
			}
			if i%7 == 0 {
				runtime.Gosched()
			}
		}
		return len(p), nil
	}
	return w.Conn.Write(p)
}

func (w *wire) flush() error {
	_, err := w.buf.WriteTo(w.Conn)
	return err
}

func (w *wire) Read(p []byte) (int, error) {
	if w.hold {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	return w.Conn.Read(p)
}

// secure connects a client over TLS of a version.
func (s *server) secure(t *testing.T, conf *tls.Config, version uint16, set func(w *wire)) (*peer, *wire) {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	w := &wire{Conn: nc}
	if set != nil {
		set(w)
	}
	conf = conf.Clone()
	conf.MinVersion, conf.MaxVersion = version, version
	return &peer{tb: t, nc: tls.Client(w, conf), r: bufio.NewReader(nil), v: mqtt.V311}, w
}

func (p *peer) hello(id string) {
	p.tb.Helper()
	p.r.Reset(p.nc)
	p.send(mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: id})
	p.want(mqtt.Connack{})
}

func eachVersion(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) { f(t, v) })
	}
}

// TestTLSIdleHasNoGoroutine: with TLS neither.
func TestTLSIdleHasNoGoroutine(t *testing.T) {
	s, conf := startTLS(t, Options{})
	p, _ := s.secure(t, conf, tls.VersionTLS13, nil)
	p.hello("first")
	before := runtime.NumGoroutine()
	for i := range 20 {
		q, _ := s.secure(t, conf, tls.VersionTLS13, nil)
		q.hello(fmt.Sprint("M", i))
		q.subscribe(1, "dn/#")
	}
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
	if n := len(s.sockets()); n != 21 {
		t.Errorf("%d connections at pollers, want 21", n)
	}
}

// TestTLSResumes: records that come in pieces of one byte are read all the same. It holds
// package tls to what tlsLayer builds on.
func TestTLSResumes(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		s, conf := startTLS(t, Options{})
		p, w := s.secure(t, conf, version, func(w *wire) { w.slow = true })
		p.hello("p")
		p.subscribe(1, "a")
		for i := range 20 {
			p.send(pub(0, 0, "a", strings.Repeat("x", i*10)))
			if m, ok := p.read().(mqtt.Publish); !ok || len(m.Payload) != i*10 {
				t.Fatalf("message %d: %+v", i, m)
			}
		}
		w.slow = false
		p.send(pub(0, 0, "a", strings.Repeat("y", 100_000))) // large ones go on, too
		if m, ok := p.read().(mqtt.Publish); !ok || len(m.Payload) != 100_000 {
			t.Fatalf("the large one: %d bytes", len(m.Payload))
		}
	})
}

// TestTLSReadAhead: what TLS has decrypted, or read together with the handshake, is
// handled though no event tells of it.
func TestTLSReadAhead(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		s, conf := startTLS(t, Options{})
		p, w := s.secure(t, conf, version, func(w *wire) { w.hold = true }) // Finished and CONNECT in one write
		p.hello("p")
		const n = 300
		for i := range n { // each a record of its own, all in one write: more than one turn reads
			p.send(pub(1, uint16(i+1), "a", strings.Repeat("x", 1000)))
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			p.want(mqtt.Puback{PacketID: uint16(i + 1)})
		}
		var batch []any // one record with more than one buffer of the broker takes
		for i := range n {
			batch = append(batch, pub(1, uint16(i+1), "a", "y"))
		}
		p.send(batch...)
		for i := range n {
			p.want(mqtt.Puback{PacketID: uint16(i + 1)})
		}
	})
}

// TestTLSBackPressure: a subscriber that takes nothing for a while gets all of it, in
// order; what is encrypted waits for the socket, not TLS.
func TestTLSBackPressure(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		s, conf := startTLS(t, Options{MaxSessionQueueBytes: 64 << 20})
		p, _ := s.secure(t, conf, version, nil)
		p.hello("p")
		p.subscribe(0, "a")
		const n = 400
		payload := make([]byte, 50_000)
		for i := range n {
			payload[0], payload[1] = byte(i>>8), byte(i)
			if _, err := s.Publish("a", payload, 0, false); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			m, ok := p.read().(mqtt.Publish)
			if !ok || len(m.Payload) != len(payload) || int(m.Payload[0])<<8|int(m.Payload[1]) != i {
				t.Fatalf("message %d: %d bytes", i, len(m.Payload))
			}
		}
		p.send(bare(mqtt.PINGREQ))
		p.want(bare(mqtt.PINGRESP))
	})
}

// TestTLSStalls: one that never takes anything is ended.
func TestTLSStalls(t *testing.T) {
	s, conf := startTLS(t, Options{StallTimeout: 100 * time.Millisecond, MaxSessionQueueBytes: 64 << 20})
	p, _ := s.secure(t, conf, tls.VersionTLS13, nil)
	p.hello("p")
	p.subscribe(0, "a")
	for range 400 {
		if _, err := s.Publish("a", make([]byte, 50_000), 0, false); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "its end", func() bool { return s.Stats().Disconnects["stalled"] == 1 })
}

// TestTLSEnds: both sides say that nothing follows, and the broker knows a broken record.
func TestTLSEnds(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		s, conf := startTLS(t, Options{})
		p, _ := s.secure(t, conf, version, nil)
		p.hello("p")
		_ = p.nc.Close() // close_notify
		eventually(t, "its end", func() bool { return s.Stats().Disconnects["closed"] == 1 })

		p, _ = s.secure(t, conf, version, nil)
		p.hello("p")
		p.send(bare(mqtt.DISCONNECT))
		if _, err := p.nc.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // close_notify, as it is given
			t.Errorf("after DISCONNECT: %v", err)
		}

		p, _ = s.secure(t, conf, version, nil) // refused before there is a session
		p.r.Reset(p.nc)
		p.send(mqtt.Connect{Version: mqtt.V311, ClientID: "", Clean: false})
		p.want(mqtt.Connack{Code: mqtt.IdentifierRejected})
		if _, err := p.nc.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // as above
			t.Errorf("after the refusal: %v", err)
		}

		p, w := s.secure(t, conf, version, nil)
		p.hello("p")
		if _, err := w.Conn.Write([]byte("\x17\x03\x03\x00\x20garbage garbage garbage garbage ")); err != nil {
			t.Fatal(err)
		}
		_ = p.nc.SetReadDeadline(time.Now().Add(patience))
		var alert tls.AlertError
		if _, err := p.nc.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &alert) {
			t.Errorf("after a broken record: %v", err)
		} else if !strings.Contains(err.Error(), "bad record MAC") {
			t.Errorf("after a broken record: %v, want the alert", err)
		}
	})
}

// TestTLSDisconnect: a client of MQTT 5 is told why, and then close_notify.
func TestTLSDisconnect(t *testing.T) {
	s, conf := startTLS(t, Options{})
	p, _ := s.secure(t, conf, tls.VersionTLS13, nil)
	p.v = mqtt.V5
	p.r.Reset(p.nc)
	p.send(mqtt.Connect{Version: mqtt.V5, Clean: true, ClientID: "p"})
	if _, ok := p.read().(mqtt.Connack); !ok {
		t.Fatal("no CONNACK")
	}
	p.send(mqtt.Connect{Version: mqtt.V5, Clean: true, ClientID: "p"})
	if d, ok := p.read().(mqtt.Disconnect); !ok || d.Reason != mqtt.ReasonProtocolError {
		t.Errorf("%+v", d)
	}
	if _, err := p.r.ReadByte(); err != io.EOF { //nolint:errorlint // close_notify, as it is given
		t.Errorf("%v", err)
	}
}

// TestTLSKeyUpdate: a client that changes its keys, and asks for new ones of the broker's,
// is answered and served on, before and after CONNECT.
func TestTLSKeyUpdate(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("WATTBUS_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("openssl is not here")
	}
	s, _ := startTLS(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "s_client", "-connect", s.addr, "-tls1_3", "-msg")
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // at the end of the test
	cmd.Stdin = stdin
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = stdin.Close() // the program has it
	defer func() { cancel(); _ = cmd.Wait() }()
	var seen, all []byte
	until := func(what, sign string) {
		t.Helper()
		buf := make([]byte, 4096)
		for !bytes.Contains(seen, []byte(sign)) {
			n, err := out.Read(buf)
			if err != nil {
				t.Fatalf("%s did not come: %v\n%q", what, err, all)
			}
			seen, all = append(seen, buf[:n]...), append(all, buf[:n]...)
		}
		seen = seen[bytes.Index(seen, []byte(sign))+len(sign):]
	}
	say := func(b []byte) { // and wait until the program has read it: K is a command only where a read begins with it
		t.Helper()
		if _, err := in.Write(b); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the program to read", func() bool {
			var left int32
			_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, in.Fd(), syscall.TIOCINQ, uintptr(unsafe.Pointer(&left)))
			return errno == 0 && left == 0
		})
	}
	keys := func() { say([]byte("K\n")) }
	keys()
	say(encode(t, mqtt.V311, mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "p"}))
	until("CONNACK", "\x20\x02\x00\x00")
	for range 3 {
		keys()
		say([]byte("\xc0\x00"))
		until("PINGRESP", "\xd0\x00")
	}
	say([]byte("Q\n")) // now it writes what it has noted of the records
	rest, _ := io.ReadAll(out)
	if n := bytes.Count(append(all, rest...), []byte("<<< TLS 1.3, Handshake [length 0005], KeyUpdate")); n != 4 {
		t.Errorf("the broker has changed its keys %d times, want 4", n)
	}
}
