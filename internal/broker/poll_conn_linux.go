package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// socket is a connection's socket once a poller has it. It stands in conn.nc, for
// its addresses.
type socket struct {
	p      *poller
	fd     int
	remote net.Addr
	tls    *tlsLayer // nil: no TLS

	lingers bool // close waits for the client to end; of whoever handles it last
	torn    bool // something was written in part and nothing can follow; of whoever is the last to write

	state    atomic.Uint32 // events to handle, and whether somebody does
	deadline *time.Timer   // of whoever handles; nil: never set

	// Guarded by s.mu, once there is a session.
	writing bool   // a goroutine is in a call that writes
	asks    bool   // was full once: the poller tells when it is writable
	room    bool   // became writable while somebody wrote
	rest    *chunk // waits until the socket is writable
	took    time.Duration
	stall   *time.Timer // looks whether it has taken something
}

// What state holds besides the events of epoll.
const (
	stateBusy  = 1 << 31 // somebody handles the connection
	stateKick  = 1 << 29
	stateTimer = 1 << 28
)

const (
	eventsIn  = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	eventsEnd = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
)

// claim adds events. It returns true if nobody handles the connection; then the
// caller does.
func (o *socket) claim(events uint32) bool {
	for {
		old := o.state.Load()
		if o.state.CompareAndSwap(old, old|events|stateBusy) {
			return old&stateBusy == 0
		}
	}
}

// take gives the events to handle, 0 if there are none any more: then nobody
// handles the connection.
func (o *socket) take() (events uint32) {
	for {
		old := o.state.Load()
		next := uint32(stateBusy)
		if old == stateBusy {
			next = 0
		}
		if o.state.CompareAndSwap(old, next) {
			return old &^ stateBusy
		}
	}
}

// poll gives the connection to a poller, which then owns the socket. It returns
// false if there is none, or if it is no plain socket.
func (c *conn) poll() bool {
	b := c.b
	if len(b.pollers) == 0 {
		return false
	}
	switch c.nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default: // what its Close does besides is not known
		return false
	}
	o := c.newSocket(c.nc, nil)
	if o == nil {
		return false
	}
	c.giveAway(c.nc, o)
	c.await(b.opt.ConnectTimeout)
	return true
}

// newSocket takes the socket below c, which the runtime has as nc, for a poller. nil: that
// fails.
func (c *conn) newSocket(nc net.Conn, t *tlsLayer) *socket {
	b := c.b
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	o := &socket{p: b.pollers[int(b.nextPoller.Add(1))%len(b.pollers)], remote: c.nc.RemoteAddr(), tls: t}
	var dupErr error
	if err := raw.Control(func(fd uintptr) { o.fd, dupErr = dupCloseOnExec(int(fd)) }); err != nil || dupErr != nil {
		return nil
	}
	o.state.Store(stateBusy)
	return o
}

// giveAway puts o in the place of what the connection was, and of the runtime's nc.
func (c *conn) giveAway(nc net.Conn, o *socket) {
	c.b.mu.Lock() // kick looks at them
	c.nc, c.sock, c.raw, c.onRead = o, o, nil, nil
	c.b.mu.Unlock()
	_ = nc.Close() // the runtime must not wait for it, too
}

// await lets the poller wait for a socket that is new and busy.
func (c *conn) await(timeout time.Duration) {
	o := c.sock
	c.setReadDeadline(timeout)
	if err := o.p.add(c, o.fd); err != nil {
		c.kick(causeClosed)
	}
	if c.kicked() || !o.state.CompareAndSwap(stateBusy, 0) {
		c.b.wg.Go(func() { c.serveAlone(nil) })
	}
}

func dupCloseOnExec(fd int) (int, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// rouse lets somebody handle the connection.
func (o *socket) rouse(c *conn, why uint32) {
	if o.claim(why) {
		c.b.wg.Go(func() { c.serveAlone(nil) })
	}
}

// serveAlone handles a connection that was claimed, on a goroutine that may block.
func (c *conn) serveAlone(w *work) {
	if w == nil {
		w = c.b.getWork()
		defer c.b.putWork(w)
	}
	for c.serveReady(w) {
	}
	c.b.settle(w)
}

// serveReady handles what there is for a connection that was claimed. It returns
// true if there is more: it is still claimed.
func (c *conn) serveReady(w *work) (more bool) {
	o := c.sock
	for !c.kicked() {
		events := o.take()
		if events == 0 {
			return false
		}
		if c.handle(w, events) {
			return true
		}
	}
	if c.s != nil && c.s.clean && c.s.endsLong() {
		w.leave()
	}
	c.finish()
	c.b.wg.Done() // that of admit
	return false  // and claimed for ever
}

// handle handles events. It returns true if there may be more to read.
func (c *conn) handle(w *work, events uint32) (more bool) {
	defer func() {
		if r := recover(); r != nil {
			c.recovered(r)
			w.clean() // its acknowledgements are nobody else's
		}
	}()
	if events&syscall.EPOLLOUT != 0 {
		c.writable()
	}
	if events&stateTimer != 0 {
		c.checkDeadline()
	}
	if events&eventsIn == 0 {
		return false
	}
	var err error
	if toEnd := events&eventsEnd != 0; c.sock.tls != nil {
		more, err = c.readTLS(w, toEnd)
	} else {
		more, err = c.readSocket(w, toEnd)
	}
	if more {
		c.sock.state.Or(events & eventsIn)
	}
	if err != nil && !c.kicked() {
		c.noteError(err)
		c.kick(causeOf(err))
	}
	return more
}

// readSocket reads and handles what there is, a few buffers at most. A read that
// does not fill its buffer has emptied the socket; only an end that was announced
// is still to be read.
func (c *conn) readSocket(w *work, toEnd bool) (more bool, err error) {
	for range readsPerTurn {
		large := c.need > len(w.buf)
		buf, have := c.target(w)
		if c.readErr != nil {
			return false, c.readErr
		}
		n, errno := transfer(syscall.SYS_READ, c.sock.fd, buf)
		switch {
		case errno == syscall.EINTR:
			err = c.restore(w, have, large)
		case errno == syscall.EAGAIN:
			return false, c.restore(w, have, large)
		case errno != 0:
			err = errno
		case n == 0:
			err = io.EOF
		default:
			err = c.consume(w, have, n, large)
			if err == nil && n < len(buf) && !toEnd {
				return false, nil
			}
		}
		if err != nil || c.kicked() {
			return false, err
		}
	}
	return true, nil
}

// transfer reads or writes. The socket never blocks, so the scheduler need not be
// told.
func transfer(call uintptr, fd int, b []byte) (n int, err syscall.Errno) {
	r, _, err := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if err != 0 {
		return 0, err
	}
	return int(r), 0
}

// push writes k. It returns true if all is written, and k given back; else the
// rest waits for the socket, or the connection is lost. The caller has set writing.
func (c *conn) push(k *chunk) bool {
	o, s := c.sock, c.s
	for {
		n, err := transfer(syscall.SYS_WRITE, o.fd, k.b[k.done:])
		if n > 0 {
			k.done += n
		}
		if k.done == len(k.b) {
			putChunk(k)
			return true
		}
		if err == 0 || err == syscall.EINTR {
			continue
		}
		s.mu.Lock()
		if err == syscall.EAGAIN && !o.asks {
			o.asks = true
			s.mu.Unlock()
			_ = o.p.wantRoom(o.fd) // else it stalls
			continue
		}
		if err == syscall.EAGAIN && o.room && !c.closed {
			o.room = false
			s.mu.Unlock()
			continue
		}
		o.writing = false
		switch {
		case c.closed:
			s.mu.Unlock()
			putChunk(k)
			o.torn = true
			o.close()
		case err != syscall.EAGAIN:
			s.mu.Unlock()
			c.lost(k, err)
		default:
			o.rest, o.took = k, c.b.now()
			if o.stall == nil {
				c.b.wg.Add(1)
				o.stall = time.AfterFunc(c.b.opt.StallTimeout, c.checkStall)
			}
			s.mu.Unlock()
		}
		return false
	}
}

// writable goes on with what the socket did not take before.
func (c *conn) writable() {
	o, s := c.sock, c.s
	if s == nil {
		return
	}
	s.mu.Lock()
	k := o.rest
	o.room = k == nil // whoever finds it full just now tries again
	if k != nil {
		o.rest, o.writing = nil, true
	}
	s.mu.Unlock()
	if k != nil && c.push(k) {
		c.flush(false)
	}
}

// checkStall ends a connection that takes nothing of what waits for it.
func (c *conn) checkStall() {
	defer c.b.wg.Done()
	o, s := c.sock, c.s
	s.mu.Lock()
	left := o.took + c.b.opt.StallTimeout - c.b.now()
	switch {
	case c.closed || o.rest == nil:
		o.stall = nil
	case left > 0:
		c.b.wg.Add(1)
		o.stall.Reset(left)
	default:
		o.stall = nil
		defer c.kick(causeStalled)
	}
	s.mu.Unlock()
}

// setDeadline lets checkDeadline be called after so long.
func (o *socket) setDeadline(c *conn, after time.Duration) {
	switch {
	case o.deadline == nil:
		c.b.wg.Add(1)
		o.deadline = time.AfterFunc(after, func() {
			defer c.b.wg.Done()
			o.rouse(c, stateTimer)
		})
		return
	case !o.deadline.Stop():
		c.b.wg.Add(1)
	}
	o.deadline.Reset(after)
}

func (o *socket) stopDeadline(c *conn) {
	if o.deadline != nil && o.deadline.Stop() {
		c.b.wg.Done()
	}
}

// closeSocket is the part of finish that is about the socket. Whoever is writing
// to it closes it afterwards.
func (c *conn) closeSocket() {
	o, s := c.sock, c.s
	o.stopDeadline(c)
	if s == nil {
		o.close()
		return
	}
	s.mu.Lock()
	if o.rest != nil {
		putChunk(o.rest)
		o.rest, o.torn = nil, true
	}
	if o.stall != nil && o.stall.Stop() {
		c.b.wg.Done()
	}
	o.stall = nil
	writing := o.writing
	s.mu.Unlock()
	if !writing {
		o.close()
	}
}

// drain makes close take for a moment what the client still sends, so that it is no
// reset, which may overtake what was written last.
func (o *socket) drain() {
	o.farewell()
	o.lingers = syscall.Shutdown(o.fd, syscall.SHUT_WR) == nil // fails only if the peer has gone
}

func (o *socket) close() {
	o.farewell()
	o.p.remove(o.fd)
	if !o.lingers || !o.p.b.lingerFD(o.fd) {
		_ = syscall.Close(o.fd)
	}
}

// lingerFD gives the socket back to the runtime, whose poller waits for what comes.
// It returns false, and has done nothing, if there are too many of them.
func (b *Broker) lingerFD(fd int) bool {
	if b.lingering.Add(1) > maxLingering {
		b.lingering.Add(-1)
		return false
	}
	b.wg.Go(func() {
		defer b.lingering.Add(-1)
		f := os.NewFile(uintptr(fd), "")
		nc, err := net.FileConn(f)
		_ = f.Close() // nc has a descriptor of its own
		if err != nil {
			return
		}
		b.lingerConn(nc)
		_ = nc.Close() // said and done
	})
	return true
}

var errPolled = errors.New("the poller reads and writes this connection")

// Read is not used: the poller reads.
func (o *socket) Read([]byte) (int, error) { return 0, errPolled }

// Write is for the answer that refuses a CONNECT; the socket has room for that.
func (o *socket) Write(b []byte) (int, error) {
	if t := o.tls; t != nil {
		n, err := t.conn.Write(b)
		o.writeOut()
		return n, err
	}
	n, err := syscall.Write(o.fd, b)
	if err != nil {
		return max(n, 0), os.NewSyscallError("write", err)
	}
	return n, nil
}

// Close is not used: finish closes.
func (o *socket) Close() error { return errPolled }

// LocalAddr asks the system: hardly anybody wants to know.
func (o *socket) LocalAddr() net.Addr {
	sa, err := syscall.Getsockname(o.fd)
	if err != nil {
		return &net.TCPAddr{}
	}
	if u, ok := sa.(*syscall.SockaddrUnix); ok {
		return &net.UnixAddr{Net: "unix", Name: u.Name}
	}
	return tcpAddr(sa)
}

func (o *socket) RemoteAddr() net.Addr             { return o.remote }
func (o *socket) SetDeadline(time.Time) error      { return nil }
func (o *socket) SetReadDeadline(time.Time) error  { return nil }
func (o *socket) SetWriteDeadline(time.Time) error { return nil }
