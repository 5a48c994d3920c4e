package gateway

import (
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// linkQueue bounds what waits for the writer of one link, octets.
const linkQueue = 1 << 20

// link is a Link with the datagrams that wait for its writer: a link at 1,200 bit/s shall hold up nobody else.
type link struct {
	Link
	wake chan struct{}

	mu     sync.Mutex
	closed bool
	buf    []byte // datagrams one behind another
	out    []outgoing
}

type outgoing struct {
	to  net.Addr
	end int // in buf
}

func newLink(l Link) *link { return &link{Link: l, wake: make(chan struct{}, 1)} }

// put queues a message. It returns false if the link has too much to send already.
func (l *link) put(to net.Addr, m mqttsn.Message) (ok bool, err error) {
	return l.append(to, m.Append)
}

// append is put of what f appends.
func (l *link) append(to net.Addr, f func([]byte) ([]byte, error)) (ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.buf) > linkQueue {
		return false, nil
	}
	b, err := f(l.buf)
	if err != nil {
		return false, err
	}
	l.buf = b
	l.out = append(l.out, outgoing{to, len(l.buf)})
	if len(l.out) == 1 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return true, nil
}

func (l *link) stop() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	close(l.wake)
}

// write sends what is queued until stop.
func (l *link) write(g *Gateway) {
	var buf []byte
	var out []outgoing
	for range l.wake {
		for {
			l.mu.Lock()
			buf, l.buf = l.buf, buf[:0]
			out, l.out = l.out, out[:0]
			l.mu.Unlock()
			if len(out) == 0 {
				break
			}
			begin := 0
			for i, o := range out {
				if _, err := l.Conn.WriteTo(buf[begin:o.end], o.to); err != nil {
					l.failed(g, o.to, err)
				}
				begin = o.end
				out[i].to = nil
			}
			g.n.sent.Add(uint64(len(out)))
			if cap(buf) > 64<<10 {
				buf = nil
			}
		}
	}
}

func (l *link) failed(g *Gateway, to net.Addr, err error) {
	if !errors.Is(err, net.ErrClosed) && !errors.Is(err, snlink.ErrUnknownPeer) {
		g.log.Debug("datagram not sent", slog.String("link", l.Name), slog.String("to", to.String()), slog.Any("error", err))
	}
	g.drop(dropNotSent)
}

// send queues a message for a peer; what does not fit is lost as on a radio, and counted.
func (g *Gateway) send(to peer, m mqttsn.Message) {
	if to.link == nil { // another client is at its address now, or it was not heard of since a restart
		g.drop(dropNotSent)
		return
	}
	if at, ok := g.heldAt[to]; ok { // it goes behind what is held
		g.hold(to, m, at)
		return
	}
	ok, err := to.link.put(to.addr, m)
	g.sent(m, ok, err)
}

// sent counts what a link did not take.
func (g *Gateway) sent(m mqttsn.Message, ok bool, err error) {
	switch {
	case err != nil:
		g.log.Error("message cannot be encoded", slog.String("type", m.Type().String()), slog.Any("error", err))
		g.drop(dropNotSent)
	case !ok:
		g.drop(dropLinkFull)
	}
}
