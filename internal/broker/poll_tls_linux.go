package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// tlsLayer stands below the TLS of a connection that a poller has, in the place of the
// socket, so that one that waits has no goroutine here either.
//
// Reading never waits: it gives errAgain where the socket is empty. Package tls keeps
// what has come of a record and goes on with the next Read, since the error calls itself
// temporary; TestTLSResumes holds it to that. What it has decrypted and nobody has
// taken yet, no event will tell of: whoever reads goes on until errAgain.
//
// Writing never waits or fails either, or TLS would be of no use afterwards: what is
// encrypted is kept until the writer of the connection takes it (see flush). So is what
// TLS has to say of itself while it reads: alerts, and answers to KeyUpdate.
type tlsLayer struct {
	conn *tls.Conn
	fd   int

	// Of whoever handles the connection.
	empty bool // the socket was, since the last event
	toEnd bool // the end was announced: read until it comes

	mu      sync.Mutex
	out     *chunk // encrypted, not given to the writer yet
	sealing bool   // the writer encrypts: it knows how much
}

// Layered is implemented by connections that, once open, are a socket and TLS over it, or
// a socket alone. Then a poller can have them.
type Layered interface {
	// Layers gives the socket; nil: there is more. With TLS, replace puts something else
	// in the place of the socket below it.
	Layers() (sock *net.TCPConn, over *tls.Conn, replace func(net.Conn))
}

// pollLayers gives a connection that is open to a poller, as poll does. What TLS has read
// ahead is handled at once.
func (c *conn) pollLayers(timeout time.Duration) bool {
	l, ok := c.nc.(Layered)
	if !ok || len(c.b.pollers) == 0 || timeout <= 0 {
		return false
	}
	nc, over, replace := l.Layers()
	if nc == nil {
		return false
	}
	var t *tlsLayer
	if over != nil {
		t = &tlsLayer{conn: over}
	}
	o := c.newSocket(nc, t)
	if o == nil {
		return false
	}
	if t != nil {
		t.fd = o.fd
		replace(t)
	}
	c.b.wg.Add(1) // as admit does
	c.giveAway(nc, o)
	o.state.Or(syscall.EPOLLIN)
	c.await(timeout)
	return true
}

type againError struct{}

func (againError) Error() string   { return "nothing has come yet" }
func (againError) Timeout() bool   { return true }
func (againError) Temporary() bool { return true }

var (
	errAgain net.Error = againError{}
	errTalk            = errors.New("TLS has more to say than the client takes")
)

func (t *tlsLayer) Read(p []byte) (int, error) {
	for !t.empty {
		n, errno := transfer(syscall.SYS_READ, t.fd, p)
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			t.empty = true
		case errno != 0:
			return 0, os.NewSyscallError("read", errno)
		case n == 0:
			return 0, io.EOF
		default:
			t.empty = n < len(p) && !t.toEnd
			return n, nil
		}
	}
	return 0, errAgain
}

func (t *tlsLayer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.out == nil:
		t.out = smallChunk()
	case !t.sealing && len(t.out.b) > maxOut:
		return 0, errTalk
	}
	t.out.b = append(t.out.b, p...)
	return len(p), nil
}

func (t *tlsLayer) pending() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out != nil
}

// take gives what is encrypted, nil if nothing is.
func (t *tlsLayer) take() *chunk {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.out
	t.out, t.sealing = nil, false
	return k
}

// seal encrypts k, which may be nil and is given back. nil: TLS takes nothing any more.
func (t *tlsLayer) seal(k *chunk) *chunk {
	if k == nil {
		return t.take()
	}
	t.mu.Lock()
	t.sealing = true
	if t.out == nil && len(k.b) > 256 {
		t.out = largeChunks.Get().(*chunk)
	}
	t.mu.Unlock()
	_, err := t.conn.Write(k.b)
	putChunk(k)
	sealed := t.take()
	if err != nil {
		putChunk(sealed)
		return nil
	}
	return sealed
}

// sealed reports whether TLS has something to write. s.mu is held.
func (c *conn) sealed() bool { return c.sock != nil && c.sock.tls != nil && c.sock.tls.pending() }

// seal makes of what fill gave what is to be written. nil: the connection is lost.
func (c *conn) seal(k *chunk) *chunk {
	o := c.sock
	if o.tls == nil {
		return k
	}
	if k = o.tls.seal(k); k != nil {
		return k
	}
	c.s.mu.Lock()
	o.writing = false
	closed := c.closed
	c.s.mu.Unlock()
	if closed {
		o.close()
	} else {
		c.lost(nil, net.ErrClosed)
	}
	return nil
}

// readTLS is readSocket over TLS.
func (c *conn) readTLS(w *work, toEnd bool) (more bool, err error) {
	t := c.sock.tls
	t.empty, t.toEnd = false, toEnd
	for range readsPerTurn {
		large := c.need > len(w.buf)
		buf, have := c.target(w)
		if c.readErr != nil {
			return false, c.readErr
		}
		n, readErr := t.conn.Read(buf)
		if n > 0 {
			err = c.consume(w, have, n, large)
		} else {
			err = c.restore(w, have, large)
		}
		c.talk()
		switch {
		case err != nil || c.kicked():
			return false, err
		case readErr == errAgain: //nolint:errorlint // it is given as it is
			return false, nil
		case readErr != nil:
			return false, readErr
		}
	}
	return true, nil
}

// talk writes what TLS has to say of itself.
func (c *conn) talk() {
	switch o := c.sock; {
	case !o.tls.pending():
	case c.s == nil:
		o.writeOut()
	default:
		c.flushNow()
	}
}

// writeOut writes what is encrypted, as far as the socket takes it at once. Nobody else
// writes.
func (o *socket) writeOut() {
	k := o.tls.take()
	if k == nil {
		return
	}
	if n, err := syscall.Write(o.fd, k.b); err != nil || n < len(k.b) {
		o.torn = true
	}
	putChunk(k)
}

// farewell says that nothing follows, if the socket takes that at once.
func (o *socket) farewell() {
	if o.tls != nil && !o.torn {
		_ = o.tls.conn.CloseWrite() // which only tlsLayer could fail
		o.writeOut()
	}
}

// TLS is what TLS knows of the client; nil without TLS.
func (o *socket) TLS() *tls.ConnectionState {
	if o.tls == nil {
		return nil
	}
	state := o.tls.conn.ConnectionState()
	return &state
}

// The rest of net.Conn is not used: farewell and finish close.

func (t *tlsLayer) Close() error                     { return errPolled }
func (t *tlsLayer) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (t *tlsLayer) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (t *tlsLayer) SetDeadline(time.Time) error      { return nil }
func (t *tlsLayer) SetReadDeadline(time.Time) error  { return nil }
func (t *tlsLayer) SetWriteDeadline(time.Time) error { return nil }
