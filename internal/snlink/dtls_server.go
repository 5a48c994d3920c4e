package snlink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
)

// DTLS is a server's socket with a session for each peer.
//
//	          ClientHello          handshake done: replaces the address' session
//	(nobody) ────────────> handshake ──────────────────────────────> session ──┐ silent for PeerIdle, or closed
//	    ^                     │ failed, or too long                     │      │
//	    └─────────────────────┴─────────────────────────────────────────┴──────┘
//
// A device that forgot its session comes with a new ClientHello from the same address: the handshake runs beside the session,
// and only its success ends that one (RFC 6347, 4.2.8).
type DTLS struct {
	*inbox
	o    DTLSOptions
	sock *net.UDPConn
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu         sync.Mutex
	sessions   map[netip.AddrPort]*dtlsPeer
	handshakes map[netip.AddrPort]*dtlsPeer

	failed, refused atomic.Uint64
	failures        failures
}

// dtlsPeer is one session, or one handshake, and the datagrams from its address.
type dtlsPeer struct {
	d    *DTLS
	addr netip.AddrPort
	raw  *rawPeer
	conn *dtls.Conn
	id   DTLSAddr

	claimed atomic.Pointer[claim] // what was said in the handshake, with a pre-shared key
	sealed  chan struct{}         // 1 deep: a Finished has come
}

// ListenDTLS opens a socket on host:port and serves it until Close, which waits for all that it started.
func ListenDTLS(ctx context.Context, address string, o DTLSOptions) (*DTLS, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	u, err := ListenUDP(ctx, address)
	if err != nil {
		return nil, err
	}
	d := &DTLS{inbox: newInbox(), o: o, sock: u.conn, sessions: make(map[netip.AddrPort]*dtlsPeer), handshakes: make(map[netip.AddrPort]*dtlsPeer)}
	d.ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.wg.Go(d.receive)
	return d, nil
}

// receive gives the datagrams of the socket to the sessions of their senders.
func (d *DTLS) receive() {
	b := make([]byte, MaxMessage)
	for {
		n, from, err := d.sock.ReadFromUDPAddrPort(b)
		if err != nil {
			if refused(err) {
				continue
			}
			d.close()
			return
		}
		from = udpAddr(from).AddrPort
		sealed := finished(b[:n])
		for _, p := range d.route(b[:n], from) {
			if sealed {
				select {
				case p.sealed <- struct{}{}:
				default:
				}
			}
			p.raw.put(append([]byte(nil), b[:n]...))
		}
	}
}

// A DTLS record begins with its type, version and epoch; a handshake message with its type.
const (
	recordHandshake = 22
	recordEpoch     = 3
	recordHeader    = 13
	clientHello     = 1
)

// route tells whom a datagram is for, and begins a handshake where one is wanted.
func (d *DTLS) route(b []byte, from netip.AddrPort) (to []*dtlsPeer) {
	if len(b) <= recordHeader {
		return nil
	}
	first := b[recordEpoch] == 0 && b[recordEpoch+1] == 0
	d.mu.Lock()
	defer d.mu.Unlock()
	s, h := d.sessions[from], d.handshakes[from]
	if first && b[0] == recordHandshake {
		if h == nil && b[recordHeader] == clientHello {
			h = d.begin(from)
		}
		s = nil
	}
	for _, p := range []*dtlsPeer{s, h} { // with an epoch it may be for both: only one can open it
		if p != nil {
			to = append(to, p)
		}
	}
	return to
}

// begin starts a handshake; mu is held.
func (d *DTLS) begin(from netip.AddrPort) *dtlsPeer {
	if len(d.handshakes) >= d.o.MaxHandshakes || d.sessions[from] == nil && len(d.sessions) >= d.o.MaxPeers || d.ctx.Err() != nil {
		d.refused.Add(1)
		return nil
	}
	p := &dtlsPeer{d: d, addr: from, raw: newRawPeer(d.sock, from), sealed: make(chan struct{}, 1)}
	conn, err := dtls.ServerWithOptions(p.raw, net.UDPAddrFromAddrPort(from), d.o.server(func(c claim) { p.claimed.Store(&c) })...)
	if err != nil {
		d.o.Logger.Error("DTLS options refused", "error", err)
		return nil
	}
	p.conn = conn
	d.handshakes[from] = p
	d.wg.Go(p.run)
	return p
}

// run is the life of a session, from its handshake on.
func (p *dtlsPeer) run() {
	d := p.d
	defer func() { _ = p.raw.Close() }()
	err := p.handshake()
	d.mu.Lock()
	delete(d.handshakes, p.addr)
	var old *dtlsPeer
	if err == nil {
		old = d.sessions[p.addr]
		d.sessions[p.addr] = p
	}
	d.mu.Unlock()
	if err != nil {
		if n := d.failures.note(time.Now()); n > 0 && d.ctx.Err() == nil {
			identity := ""
			if c := p.claimed.Load(); c != nil {
				identity = c.identity
			}
			d.o.Logger.Warn("DTLS handshake failed", "peer", p.addr.String(), "identity", identity, "error", err, "failures", n)
		}
		d.failed.Add(1)
		_ = p.conn.Close()
		return
	}
	if old != nil {
		_ = old.raw.Close() // without an alert: the peer has a new session at the same address
	}
	stop := context.AfterFunc(d.ctx, func() { _ = p.conn.Close() })
	defer stop()
	b := make([]byte, 2048)
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(d.o.PeerIdle))
		n, err := p.conn.Read(b)
		if err != nil {
			break
		}
		d.put(append([]byte(nil), b[:n]...), p.id)
	}
	d.mu.Lock()
	if d.sessions[p.addr] == p {
		delete(d.sessions, p.addr)
	}
	d.mu.Unlock()
	_ = p.conn.Close()
}

func (p *dtlsPeer) handshake() error {
	ctx, cancel := context.WithTimeout(p.d.ctx, p.d.o.HandshakeTimeout)
	defer cancel()
	ctx, wrong := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { p.watchKey(ctx, wrong) })
	err := p.conn.HandshakeContext(ctx)
	if cause := context.Cause(ctx); err != nil && (errors.Is(cause, errWrongKey) || errors.Is(cause, errNoKey)) {
		err = cause
	}
	wrong(nil)
	watching.Wait()
	if err != nil {
		return err
	}
	state, ok := p.conn.ConnectionState()
	if !ok {
		return errors.New("no state after the handshake")
	}
	name, err := identity(state)
	if err != nil || name == "" {
		return fmt.Errorf("no identity in the handshake: %w", err)
	}
	p.id = DTLSAddr{UDPAddr: udpAddr(p.addr), ID: name}
	return nil
}

// WriteTo implements Conn. To a peer whose session has ended it returns ErrUnknownPeer.
func (d *DTLS) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(DTLSAddr)
	if !ok {
		return 0, fmt.Errorf("%v on dtls: %w", to, ErrAddress)
	}
	d.mu.Lock()
	p := d.sessions[a.AddrPort]
	d.mu.Unlock()
	if p == nil || p.id != a { // its address may belong to someone else by now
		return 0, fmt.Errorf("%s: %w", a, ErrUnknownPeer)
	}
	return p.conn.Write(b)
}

// LocalAddr implements Conn.
func (d *DTLS) LocalAddr() net.Addr { return d.sock.LocalAddr() }

// Close implements Conn: it ends all sessions with an alert.
func (d *DTLS) Close() error {
	d.stop()
	d.mu.Lock()
	var all []*dtlsPeer
	for _, p := range d.sessions {
		all = append(all, p)
	}
	d.mu.Unlock()
	for _, p := range all {
		_ = p.conn.Close()
	}
	err := d.sock.Close()
	d.wg.Wait()
	d.close()
	return err
}

// DTLSStats count sessions.
type DTLSStats struct {
	Sessions, Handshakes int    // now
	Failed               uint64 // handshakes
	Refused              uint64 // at a bound
	Dropped              uint64 // messages, because the reader was too slow
}

// Stats returns the counts.
func (d *DTLS) Stats() DTLSStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return DTLSStats{Sessions: len(d.sessions), Handshakes: len(d.handshakes), Failed: d.failed.Load(), Refused: d.refused.Load(), Dropped: d.Dropped()}
}

// rawFrames bounds the datagrams that wait for one session.
const rawFrames = 32

// rawPeer is the part of the socket that belongs to one peer, as package dtls wants it.
type rawPeer struct {
	sock   *net.UDPConn
	peer   netip.AddrPort
	frames chan []byte
	closed chan struct{}
	once   sync.Once
	from   net.Addr

	mu       sync.Mutex
	deadline time.Time
	changed  chan struct{} // closed and replaced with the deadline
}

func newRawPeer(sock *net.UDPConn, peer netip.AddrPort) *rawPeer {
	return &rawPeer{sock: sock, peer: peer, frames: make(chan []byte, rawFrames), closed: make(chan struct{}),
		from: net.UDPAddrFromAddrPort(peer), changed: make(chan struct{})}
}

func (r *rawPeer) put(b []byte) {
	select {
	case r.frames <- b:
	default: // DTLS repeats handshakes, MQTT-SN the rest
	}
}

// ReadFrom implements net.PacketConn.
func (r *rawPeer) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		r.mu.Lock()
		deadline, changed := r.deadline, r.changed
		r.mu.Unlock()
		var timer *time.Timer
		var late <-chan time.Time
		if !deadline.IsZero() {
			timer = time.NewTimer(time.Until(deadline))
			late = timer.C
		}
		n, done, err := 0, true, error(nil)
		select {
		case f := <-r.frames:
			n = copy(b, f)
		case <-r.closed:
			err = net.ErrClosed
		case <-late:
			err = os.ErrDeadlineExceeded
		case <-changed:
			done = false
		}
		if timer != nil {
			timer.Stop()
		}
		if done {
			return n, r.from, err
		}
	}
}

// WriteTo implements net.PacketConn.
func (r *rawPeer) WriteTo(b []byte, _ net.Addr) (int, error) {
	return r.sock.WriteToUDPAddrPort(b, r.peer)
}

// LocalAddr implements net.PacketConn.
func (r *rawPeer) LocalAddr() net.Addr { return r.sock.LocalAddr() }

// Close implements net.PacketConn; the socket stays open for the others.
func (r *rawPeer) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

// SetDeadline implements net.PacketConn; writing never waits.
func (r *rawPeer) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (r *rawPeer) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	r.deadline = t
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	return nil
}

// SetWriteDeadline implements net.PacketConn.
func (r *rawPeer) SetWriteDeadline(time.Time) error { return nil }
