package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"
)

// Opener is implemented by connections that have something to say before the first
// byte of MQTT: a TLS handshake, the upgrade to a WebSocket, the header of a proxy.
// Open is called once, on the goroutine of the connection, so that it holds up
// nobody else; it and CONNECT together have ConnectTimeout. Afterwards the
// connection may have become one that is read raw (syscall.Conn).
type Opener interface {
	Open() error
}

// open does what comes before MQTT. If that fails the connection is kicked.
func (c *conn) open() {
	o, ok := c.nc.(Opener)
	if !ok {
		return
	}
	_ = c.nc.SetDeadline(time.Now().Add(c.b.opt.ConnectTimeout))
	c.stayKicked()
	if err := o.Open(); err != nil {
		c.b.log.Debug("connection failed before MQTT", slog.String("remote", c.nc.RemoteAddr().String()), slog.Any("error", err))
		c.kick(openCause(err))
		return
	}
	_ = c.nc.SetWriteDeadline(time.Time{}) // the one for reading holds until CONNECT
	c.stayKicked()
	c.useRaw()
}

// stayKicked puts back the deadline of a kick that another one may have overwritten.
func (c *conn) stayKicked() {
	if c.kicked() {
		_ = c.nc.SetDeadline(time.Unix(1, 0))
	}
}

func openCause(err error) cause {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return causeTimeout
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET):
		return causeClosed
	}
	return causeHandshake
}

// tlsState is what TLS knows of the client, nil without TLS.
func (c *conn) tlsState() *tls.ConnectionState {
	switch t := c.nc.(type) {
	case interface{ TLS() *tls.ConnectionState }:
		return t.TLS()
	case *tls.Conn:
		state := t.ConnectionState()
		return &state
	}
	return nil
}
