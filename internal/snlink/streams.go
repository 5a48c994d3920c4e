package snlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of Streams.
const (
	DefaultMaxStreams = 1024
	streamFrames      = 64               // that wait for one stream's writer
	streamWrite       = 30 * time.Second // a stream that takes nothing for so long is closed
)

// StreamAddr is the address of the other end of a stream that was accepted.
type StreamAddr struct{ netip.AddrPort }

// Network implements net.Addr.
func (StreamAddr) Network() string { return "stream" }

// StreamsOptions say what runs over accepted streams.
type StreamsOptions struct {
	MTU        int // the greatest message, octets; default DefaultStreamMTU
	MaxStreams int // default DefaultMaxStreams; what is above is closed at once
	Logger     *slog.Logger
}

// Streams is a Conn over all streams that a listener accepts: each is one peer, such as a PLC modem behind TCP. A stream that is
// slow holds up no other.
type Streams struct {
	*inbox
	o  StreamsOptions
	ln net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	peers map[StreamAddr]*streamPeer

	refused, unsent atomic.Uint64
}

type streamPeer struct {
	s      *Stream
	conn   net.Conn
	frames chan []byte
	gone   chan struct{} // its reader has ended
}

// NewStreams serves what ln accepts until Close, which closes ln and waits for all that was started.
func NewStreams(ln net.Listener, o StreamsOptions) (*Streams, error) {
	if o.MTU == 0 {
		o.MTU = DefaultStreamMTU
	}
	if o.MTU < 2 || o.MTU > MaxMessage {
		return nil, fmt.Errorf("streams with messages of %d octets: want 2 to %d", o.MTU, MaxMessage)
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = DefaultMaxStreams
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Streams{inbox: newInbox(), o: o, ln: ln, peers: make(map[StreamAddr]*streamPeer)}
	l.wg.Go(l.accept)
	return l, nil
}

// ListenStreams is NewStreams on a TCP address.
func ListenStreams(ctx context.Context, address string, o StreamsOptions) (*Streams, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on tcp %s: %w", address, err)
	}
	return NewStreams(ln, o)
}

func (l *Streams) accept() {
	for {
		conn, err := l.ln.Accept()
		if err != nil {
			if l.isClosed() || errors.Is(err, net.ErrClosed) {
				l.close()
				return
			}
			l.o.Logger.Warn("stream not accepted", "error", err)
			time.Sleep(pauseAfterError) // no descriptors left
			continue
		}
		l.begin(conn)
	}
}

func (l *Streams) begin(conn net.Conn) {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		_ = conn.Close()
		return
	}
	a := StreamAddr{udpAddr(tcp.AddrPort()).AddrPort}
	s, err := NewStream(conn, StreamOptions{MTU: l.o.MTU, Peer: a})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || len(l.peers) >= l.o.MaxStreams || l.isClosed() {
		l.refused.Add(1)
		_ = conn.Close()
		return
	}
	p := &streamPeer{s: s, conn: conn, frames: make(chan []byte, streamFrames), gone: make(chan struct{})}
	l.peers[a] = p
	l.wg.Go(func() { l.read(a, p) })
	l.wg.Go(func() { l.write(a, p) })
}

// read takes the frames of one stream until it ends.
func (l *Streams) read(a StreamAddr, p *streamPeer) {
	defer close(p.gone)
	b := make([]byte, l.o.MTU)
	for {
		n, from, err := p.s.ReadFrom(b)
		if err != nil {
			l.o.Logger.Debug("stream ended", "peer", a.String(), "error", err)
			break
		}
		l.put(append([]byte(nil), b[:n]...), from)
	}
	l.mu.Lock()
	delete(l.peers, a)
	l.mu.Unlock()
	_ = p.s.Close()
}

func (l *Streams) write(a StreamAddr, p *streamPeer) {
	for {
		select {
		case <-p.gone:
			return
		case b := <-p.frames:
			_ = p.conn.SetWriteDeadline(time.Now().Add(streamWrite))
			if _, err := p.s.WriteTo(b, a); err != nil {
				_ = p.s.Close() // ends its reader
				<-p.gone
				return
			}
		}
	}
}

// WriteTo implements Conn. It does not wait: what a stream cannot take yet is dropped beyond a few frames. Everyone is every
// stream.
func (l *Streams) WriteTo(b []byte, to net.Addr) (int, error) {
	if len(b) == 0 || len(b) > l.o.MTU {
		return 0, fmt.Errorf("message of %d octets on a stream: want 1 to %d: %w", len(b), l.o.MTU, ErrTooLong)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if to == Everyone {
		for _, p := range l.peers {
			l.queue(p, b)
		}
		return len(b), nil
	}
	a, ok := to.(StreamAddr)
	if !ok {
		return 0, fmt.Errorf("%v on streams: %w", to, ErrAddress)
	}
	p := l.peers[a]
	if p == nil {
		return 0, fmt.Errorf("%s: %w", a, ErrUnknownPeer)
	}
	l.queue(p, b)
	return len(b), nil
}

func (l *Streams) queue(p *streamPeer, b []byte) {
	select {
	case p.frames <- append([]byte(nil), b...):
	default:
		l.unsent.Add(1)
	}
}

// LocalAddr implements Conn.
func (l *Streams) LocalAddr() net.Addr { return l.ln.Addr() }

// Close implements Conn: it ends all streams.
func (l *Streams) Close() error {
	l.close()
	err := ignoreClosed(l.ln.Close())
	l.mu.Lock()
	for _, p := range l.peers {
		_ = p.s.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
	return err
}

// StreamsStats count streams and what was lost.
type StreamsStats struct {
	Streams int    // now
	Refused uint64 // streams at the bound
	Dropped uint64 // messages, because the reader was too slow
	Unsent  uint64 // messages, because a stream was too slow
}

// Stats returns the counts.
func (l *Streams) Stats() StreamsStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return StreamsStats{Streams: len(l.peers), Refused: l.refused.Load(), Dropped: l.Dropped(), Unsent: l.unsent.Load()}
}
