package listen

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection with something before MQTT. Open it before use; a Read that
// comes first does so.
//
//	accepted ──PROXY header──> ──TLS handshake──> ──WebSocket upgrade──> open
type Conn struct {
	net.Conn // the socket
	opt      *Options
	proxied  bool
	opened   bool
	failed   error

	top    net.Conn      // the socket, or TLS over it
	stream io.ReadWriter // what MQTT passes over, once open
	socket *tlsSocket    // below TLS
	tls    *tls.Conn     // nil: no TLS
	remote net.Addr      // what the proxy says; nil: none, or the socket's
	ws     *webSocket
	over   atomic.Bool // a deadline of the past was set: the connection is to end
}

// Open does what comes before MQTT, within the deadline that was set. It is called
// once, by the goroutine that reads. Its errors say what the peer did wrong.
func (c *Conn) Open() error {
	if c.opened {
		return c.failed
	}
	c.opened = true
	// A handshake needs a large stack, which the goroutine that reads would keep as
	// long as the connection lives.
	done := make(chan error)
	go func() { done <- c.open() }()
	c.failed = <-done
	return c.failed
}

func (c *Conn) open() error {
	if c.proxied {
		addr, err := readProxy(c.Conn)
		if err != nil {
			return fmt.Errorf("proxy %s: %w", c.Conn.RemoteAddr(), err)
		}
		c.remote = addr
	}
	c.top, c.stream = c.Conn, c.Conn
	if c.opt.TLS != nil {
		c.socket = &tlsSocket{Conn: c.Conn}
		t := tls.Server(c.socket, c.opt.TLS.server)
		if err := t.Handshake(); err != nil { //nolint:noctx // bounded by the deadline of the connection
			return fmt.Errorf("TLS handshake: %w", err)
		}
		c.tls, c.top, c.stream = t, t, t
	}
	if c.opt.WebSocket {
		if err := upgrade(c.top, c.opt); err != nil {
			return fmt.Errorf("WebSocket: %w", err)
		}
		c.ws = &webSocket{nc: c.top, maxFrame: c.opt.MaxFrame, over: &c.over}
		c.stream = c.ws
	}
	return nil
}

// Read reads MQTT. A deadline that passes loses nothing: the next Read goes on.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.opened || c.failed != nil {
		if err := c.Open(); err != nil {
			return 0, err
		}
	}
	return c.stream.Read(p)
}

// Write writes MQTT; over a WebSocket each call is one frame.
func (c *Conn) Write(p []byte) (int, error) { return c.stream.Write(p) }

// Close closes the socket, after a good-bye if the peer takes it at once.
func (c *Conn) Close() error {
	if c.ws != nil {
		c.ws.goodbye()
	}
	if c.tls != nil {
		c.socket.closing.Store(true)
		return c.top.Close()
	}
	return c.Conn.Close()
}

// SetDeadline sets the deadlines of the socket. One that has passed ends the
// connection for good.
func (c *Conn) SetDeadline(t time.Time) error {
	if !t.IsZero() && time.Until(t) <= 0 {
		c.over.Store(true)
	}
	return c.Conn.SetDeadline(t)
}

// RemoteAddr is the client's address: the one that the proxy gave, where one
// stands in between.
func (c *Conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

// TLS is what TLS knows of the client; nil without TLS.
func (c *Conn) TLS() *tls.ConnectionState {
	if c.tls == nil {
		return nil
	}
	state := c.tls.ConnectionState()
	return &state
}

// SyscallConn gives the socket, once the connection is open and nothing stands
// between it and MQTT any more.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok || !c.opened || c.failed != nil || c.opt.TLS != nil || c.opt.WebSocket {
		return nil, syscall.EOPNOTSUPP
	}
	return sc.SyscallConn()
}

// Layers gives, once the connection is open, its socket and the TLS over it, nil without.
// Where there is more between them and MQTT, the socket is nil. Who takes them away serves
// the connection without this one: with TLS, replace puts something else in the place of
// the socket.
func (c *Conn) Layers() (sock *net.TCPConn, over *tls.Conn, replace func(net.Conn)) {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || !c.opened || c.failed != nil || c.opt.WebSocket {
		return nil, nil, nil
	}
	return tcp, c.tls, func(nc net.Conn) { c.socket.Conn = nc }
}

// tlsSocket bounds how long TLS tries to say good-bye: on its own it takes 5 s.
type tlsSocket struct {
	net.Conn
	closing atomic.Bool
}

func (s *tlsSocket) SetWriteDeadline(t time.Time) error {
	if most := time.Now().Add(goodbyeTimeout); s.closing.Load() && t.After(most) {
		t = most
	}
	return s.Conn.SetWriteDeadline(t)
}
