package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"
)

// Plain is implemented by listeners that may be served without being asked for each
// connection: where all there is to a connection is its TCP socket.
type Plain interface {
	net.Listener
	// Plain gives the listener of the sockets, and a channel that is closed when it was
	// closed; nil: something comes before MQTT, or may come.
	Plain() (ln *net.TCPListener, closed <-chan struct{})
}

// backOff is how long to wait after connections could not be accepted: longer each time,
// up to a second. Running out of file descriptors or memory is no reason to stop.
type backOff struct{ last time.Duration }

func (w *backOff) rest(ctx context.Context, b *Broker, ln net.Listener, why error) {
	const shortest, longest = 5 * time.Millisecond, time.Second
	w.last = max(shortest, min(2*w.last, longest))
	b.log.Warn("connection not accepted", slog.String("listener", ln.Addr().String()),
		slog.Duration("wait", w.last), slog.Any("error", why))
	select {
	case <-ctx.Done():
	case <-time.After(w.last):
	}
}

// accept takes connections until ctx ends, or the listener is closed by somebody else.
func (b *Broker) accept(ctx context.Context, ln net.Listener) error {
	if d := b.newDoor(ln); d != nil {
		return d.serve(ctx)
	}
	var wait backOff
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			wait = backOff{}
			b.admit(nc)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // closed by Run
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			wait.rest(ctx, b, ln, err)
		}
	}
}

// enter notes a connection; false: there are too many, or the broker ends.
func (b *Broker) enter(c *conn) bool {
	b.count.sockets.Add(1)
	b.mu.Lock()
	full, closing := len(b.conns) >= b.opt.MaxConnections, b.closing
	if !full && !closing {
		b.conns[c] = struct{}{}
		b.wg.Add(1)
	}
	b.mu.Unlock()
	if full {
		b.count.ended[causeTooMany].Add(1)
	}
	return !full && !closing
}

// admit starts serving a connection, or closes it if there are too many.
func (b *Broker) admit(nc net.Conn) {
	c := b.newConn(nc)
	if !b.enter(c) {
		_ = nc.Close() // refused
		return
	}
	if c.poll() {
		return
	}
	c.useRaw()
	go func() {
		defer b.wg.Done()
		c.serve()
	}()
}
