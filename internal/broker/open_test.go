package broker

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// preamble is a connection that reads a line before MQTT.
type preamble struct {
	net.Conn
	open func(net.Conn) error
}

func (p *preamble) Open() error { return p.open(p.Conn) }

type preambles struct {
	net.Listener
	open func(net.Conn) error
}

func (l preambles) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &preamble{nc, l.open}, nil
}

func startOpening(t *testing.T, o Options, open func(net.Conn) error) *server {
	t.Helper()
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
	go func() { done <- b.Run(ctx, preambles{ln, open}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &server{Broker: b, addr: ln.Addr().String()}
}

// TestOpen: what comes before MQTT holds up no other connection, fails with a
// cause of its own and has the time of a CONNECT.
func TestOpen(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := startOpening(t, Options{ConnectTimeout: 3 * time.Second}, func(nc net.Conn) error {
		var b [1]byte
		if _, err := nc.Read(b[:]); err != nil {
			return err
		}
		if b[0] != 'p' {
			return errors.New("not a preamble")
		}
		return nil
	})
	slow := s.dial(t) // says nothing
	wrong := s.dial(t)
	wrong.send([]byte("x"))
	wrong.wantClosed()
	p := s.dial(t)
	p.send([]byte("p"), mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "p"})
	p.want(mqtt.Connack{})
	slow.wantClosed()
	eventually(t, "the causes", func() bool {
		d := s.Stats().Disconnects
		return d["handshake"] == 1 && d["connect_timeout"] == 1
	})
	p.send(bare(mqtt.PINGREQ))
	p.want(bare(mqtt.PINGRESP))
}

// trickle gives one byte with each read, and a timeout before each.
type trickle struct {
	net.Conn
	waits bool
}

func (c *trickle) Read(p []byte) (int, error) {
	if c.waits = !c.waits; c.waits {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(p[:1])
}

// TestReadPortableBytewise: packets that arrive in single bytes, with deadlines
// that pass in between, are answered at once and lose nothing.
func TestReadPortableBytewise(t *testing.T) {
	for _, assembly := range []int64{0, 1 << 10} { // the second leaves no room for a buffer
		b, err := New(Options{MaxAssemblyBytes: assembly})
		if err != nil {
			t.Fatal(err)
		}
		c := b.newConn(&trickle{})
		server, client := net.Pipe()
		c.nc = &trickle{Conn: server}
		c.keepAlive = time.Hour
		served := make(chan struct{})
		b.mu.Lock()
		b.conns[c] = struct{}{}
		b.mu.Unlock()
		go func() {
			defer close(served)
			defer c.finish()
			for !c.kicked() {
				if err := c.read(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					c.kick(causeOf(err))
				}
			}
		}()
		p := &peer{tb: t, nc: client, v: mqtt.V311}
		p.r = bufio.NewReader(client)
		p.send(mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "p", KeepAlive: 60})
		p.want(mqtt.Connack{})
		p.send(bare(mqtt.PINGREQ))
		p.want(bare(mqtt.PINGRESP))
		p.send(pub(1, 7, "a/b", "some payload"))
		p.want(mqtt.Puback{PacketID: 7})
		_ = client.Close()
		<-served
		if n := b.assembly.Load(); n != 0 {
			t.Errorf("%d bytes of assembly left", n)
		}
	}
}

// TestSessionBelongsToUser: another user gets neither the session nor the place of
// one that is connected.
func TestSessionBelongsToUser(t *testing.T) {
	s := start(t, Options{Auth: named{}})
	login := func(user string) *peer {
		p := s.dial(t)
		p.send(mqtt.Connect{Version: mqtt.V311, ClientID: "M1", HasUsername: true, Username: user})
		return p
	}
	p := login("alice")
	p.want(mqtt.Connack{})
	p.subscribe(1, "a")
	thief := login("bob")
	thief.want(mqtt.Connack{Code: mqtt.NotAuthorized})
	p.send(bare(mqtt.PINGREQ))
	p.want(bare(mqtt.PINGRESP)) // still there
	p.send(bare(mqtt.DISCONNECT))
	p.wantClosed()
	eventually(t, "the session being free", func() bool { return s.Stats().Connections == 0 })
	thief = login("bob")
	thief.want(mqtt.Connack{Code: mqtt.NotAuthorized})
	p = login("alice")
	p.want(mqtt.Connack{SessionPresent: true})
}

// named takes the user name for granted.
type named struct{}

func (named) Authenticate(l *Login) (Access, mqtt.ReturnCode) {
	l.User = l.Username
	return nil, mqtt.Accepted
}
