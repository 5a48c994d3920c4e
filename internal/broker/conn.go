package broker

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// conn is one network connection. One goroutine at a time reads, handles what it
// has read, and ends it: its own, or that of a poller, or whoever claimed it from
// one. Nobody else closes the socket. Others end it by kick.
//
//	          CONNECT accepted              DISCONNECT, error, kick
//	waiting ─────────────────> connected ─────────────────────────> ended
//	   └── timeout, refusal, anything but CONNECT ──────────────────^
type conn struct {
	b     *Broker
	nc    net.Conn
	sock  *socket         // nil: the connection has a goroutine
	raw   syscall.RawConn // nil: read and write the portable way
	first [1]byte         // of readPortable

	// Of the reading goroutine alone.
	w         *work // while it handles a batch
	part      []byte
	need      int           // size of the packet in part, once its header has come
	limit     int           // largest packet, in bytes of its remaining length
	last      time.Duration // Broker.now when the last batch with a whole packet was handled
	keepAlive time.Duration // one and a half times what the client said; 0: none
	will      *will
	access    Access
	readErr   error
	onRead    func(fd uintptr) bool

	// Set by CONNECT and then constant.
	s       *session
	version mqtt.Version
	bridge  bool
	clean   bool
	user    string // Login.User
	v5      *v5    // nil before MQTT 5

	// Guarded by s.mu once there is a session.
	acks      ackRing
	out       *chunk        // encoded and not written yet: acknowledgements, answers
	outRoom   chan struct{} // closed when out was taken; nil: nobody waits
	flushing  bool          // somebody writes, or will
	dirty     bool          // somebody will call wake
	closed    bool          // nothing may be written any more
	released  bool          // all PUBRELs up to resendEnd have gone out, see fillReleased
	resend    uint64        // next position of inflight to send again
	resendEnd uint64        // and where that ends
	window    int           // messages of QoS 1 and 2 on the way to the client, at most
	opens     int           // and by how many it still grows, see setWindow
	unacked   int           // sent on this connection and not acknowledged: of inflight, but for resend to resendEnd

	outstanding atomic.Int32 // entries in acks; only the reader adds

	why    atomic.Int32 // cause
	polite atomic.Bool  // the client of MQTT 5 is told why it is disconnected

	// Made by who waits, guarded by b.mu.
	quit  chan struct{} // closed by kick
	ended chan struct{} // closed when all has ended
}

// newConn takes over nc.
func (b *Broker) newConn(nc net.Conn) *conn {
	c := &conn{b: b, nc: nc, limit: b.opt.MaxConnectSize, version: mqtt.V311}
	c.setWindow(b.opt.MaxInflight)
	return c
}

// kick ends the connection from another goroutine: the reader finds its deadline
// passed, or quit closed, and closes the socket itself. No lock is held.
func (c *conn) kick(why cause) {
	if c.kicked() {
		return
	}
	c.b.mu.Lock()
	first := c.why.CompareAndSwap(int32(causeNone), int32(why))
	if first && c.quit != nil {
		close(c.quit)
	}
	o, nc := c.sock, c.nc
	c.b.mu.Unlock()
	switch {
	case !first:
	case o != nil:
		o.rouse(c, stateKick)
	case c.polite.Load() && reasonFor(why) != mqtt.ReasonSuccess: // let a write that is under way come to its end
		_ = nc.SetReadDeadline(time.Unix(1, 0))
		_ = nc.SetWriteDeadline(time.Now().Add(goodbyeTime))
	default:
		_ = nc.SetDeadline(time.Unix(1, 0)) // fails only on a socket that is closed already
	}
}

// quitting gives a channel that is closed once the connection was kicked. Few ever
// wait, so a connection has none from the start.
func (c *conn) quitting() <-chan struct{} {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.quit == nil {
		c.quit = make(chan struct{})
		if c.kicked() { // kick found none to close
			close(c.quit)
		}
	}
	return c.quit
}

func (c *conn) kicked() bool { return c.why.Load() != int32(causeNone) }

// serve runs the connection to its end, or until a poller has it.
func (c *conn) serve() {
	polled := false
	defer func() {
		if !polled {
			c.finish()
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			c.recovered(r)
		}
	}()
	end := c.b.now() + c.b.opt.ConnectTimeout
	c.setReadDeadline(c.b.opt.ConnectTimeout)
	c.open()
	if !c.kicked() && c.pollLayers(end-c.b.now()) {
		polled = true
		return
	}
	for !c.kicked() {
		err := c.read()
		switch {
		case c.kicked():
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.checkDeadline()
		case err != nil:
			c.noteError(err)
			c.kick(causeOf(err))
		}
	}
}

// protocolError ends a connection for what the client sent.
type protocolError struct {
	why cause
	err error
}

func (e *protocolError) Error() string { return e.err.Error() }
func (e *protocolError) Unwrap() error { return e.err }

func causeOf(err error) cause {
	var p *protocolError
	if errors.As(err, &p) {
		return p.why
	}
	return causeClosed
}

// A deadline that is noticed so much too late tells that the broker stood still,
// and the client gets so much more time.
const (
	stoodStill      = time.Second
	afterStandstill = 5 * time.Second
)

// checkDeadline is called when the read deadline has passed. It ends the
// connection, or sets the deadline anew: only here is the timer touched, not with
// every packet.
func (c *conn) checkDeadline() {
	now := c.b.now()
	if c.s == nil {
		c.kick(causeTimeout)
		return
	}
	left := c.deadlineAfter(now)
	if left < -stoodStill {
		// The timer is late: it is the broker that stood still, and what the
		// client sent meanwhile may wait to be read.
		left = min(c.keepAlive/3, afterStandstill)
		c.last = now - c.keepAlive + left
	}
	if left <= 0 {
		// [MQTT-3.1.2-24]
		c.kick(causeKeepAlive)
		return
	}
	c.setReadDeadline(left)
}

// deadlineAfter says how long the client may still keep silent. The time that the
// broker itself did not read does not count: last is set after a batch.
func (c *conn) deadlineAfter(now time.Duration) time.Duration {
	if c.keepAlive == 0 {
		return time.Hour
	}
	return c.last + c.keepAlive - now
}

func (c *conn) setReadDeadline(after time.Duration) {
	if o := c.sock; o != nil {
		if c.s != nil && c.keepAlive == 0 {
			o.stopDeadline(c)
		} else {
			o.setDeadline(c, after)
		}
		return
	}
	if c.s != nil && c.keepAlive == 0 {
		_ = c.nc.SetReadDeadline(time.Time{})
	} else {
		_ = c.nc.SetReadDeadline(time.Now().Add(after))
	}
	if c.kicked() { // whose deadline this may have overwritten
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// recovered ends the connection after a fault in what handles it [MQTT-4.8.0-2] of MQTT
// 3.1.1.
func (c *conn) recovered(r any) {
	c.b.log.Error("fault while serving a connection", slog.Any("panic", r),
		slog.String("client_id", c.clientID()), slog.String("stack", string(debug.Stack())))
	if w := c.w; w != nil && c.s != nil {
		if w.in.QoS == 2 { // so that the repeat is delivered
			c.s.mu.Lock()
			c.s.forgetReceived(w.in.packetID)
			c.s.mu.Unlock()
		}
		c.b.settle(w) // for the sessions that have got their copy
	}
	c.w = nil // whatever state it is in, it does not go back to the pool
	c.kick(causePanic)
}

func (c *conn) clientID() string {
	if c.s == nil {
		return ""
	}
	return c.s.id
}

// finish closes the socket and lets go of everything; then the will is published
// and the session is free for the next connection.
func (c *conn) finish() {
	b := c.b
	why := cause(c.why.Load())
	if s := c.s; s != nil {
		s.mu.Lock()
		c.closed = true
		if c.out != nil {
			putChunk(c.out)
			c.out = nil
		}
		s.mu.Unlock()
		c.sayGoodbye(why)
	} else if why == causeRefused && c.version == mqtt.V5 {
		c.linger()
	}
	b.count.ended[why].Add(1)
	if c.s != nil {
		b.countClient(c.version, -1)
	}
	if c.sock != nil {
		c.closeSocket()
	} else {
		_ = c.nc.Close() // what cannot be closed is gone
	}
	c.dropPart()
	c.dropAliases()
	if c.s != nil {
		b.detach(c, why)
	} else if why != causeShutdown && why != causeClosed {
		b.log.Debug("connection refused", slog.String("remote", c.nc.RemoteAddr().String()), slog.String("reason", why.String()))
	}
	b.mu.Lock()
	delete(b.conns, c)
	if c.ended != nil {
		close(c.ended)
	}
	b.mu.Unlock()
}
