package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Options say what stands between a socket and MQTT. The zero value is plain TCP.
type Options struct {
	// TLS gives the configuration for each handshake; nil: no TLS.
	TLS *Certificates
	// WebSocket wants an upgrade to a WebSocket of sub-protocol mqtt.
	WebSocket bool
	// Origins are the hosts whose pages may open a WebSocket besides the one that
	// the request itself names, such as "console.example.org"; "*": any.
	Origins []string
	// MaxFrame is the largest frame of a WebSocket, in bytes. Default 1 MiB.
	MaxFrame int64
	// Proxies are the peers that have to begin with a header of the PROXY protocol,
	// version 2. Other peers are clients themselves.
	Proxies []netip.Prefix
}

// Listener accepts connections that are a *Conn, or a plain socket where nothing
// comes before MQTT.
type Listener struct {
	net.Listener
	opt    Options
	once   sync.Once
	closed chan struct{}
}

// TCP listens on a TCP address.
func TCP(ctx context.Context, addr string, o Options) (*Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l, err := On(ln, o)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return l, nil
}

// On takes over a listener that is open.
func On(ln net.Listener, o Options) (*Listener, error) {
	if o.MaxFrame == 0 {
		o.MaxFrame = 1 << 20
	}
	if o.MaxFrame < 1 {
		return nil, fmt.Errorf("listen: MaxFrame is %d, want 1 or more", o.MaxFrame)
	}
	return &Listener{Listener: ln, opt: o, closed: make(chan struct{})}, nil
}

// Accept waits for the next connection. It reads nothing from it.
func (l *Listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	proxied := l.trusts(nc.RemoteAddr())
	if l.opt.TLS == nil && !l.opt.WebSocket && !proxied {
		return nc, nil // which can be read raw
	}
	return &Conn{Conn: nc, opt: &l.opt, proxied: proxied}, nil
}

// trusts reports whether the peer is a proxy whose word is taken.
func (l *Listener) trusts(peer net.Addr) bool {
	a, ok := peer.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := a.AddrPort().Addr().Unmap()
	for _, p := range l.opt.Proxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// Plain gives the listener of the sockets, and a channel that Close closes, where nothing
// comes before MQTT, whoever connects; else nil. Who accepts there sees to TCP_NODELAY and
// keep-alive.
func (l *Listener) Plain() (ln *net.TCPListener, closed <-chan struct{}) {
	if l.opt.TLS != nil || l.opt.WebSocket || len(l.opt.Proxies) > 0 {
		return nil, nil
	}
	tcp, ok := l.Listener.(*net.TCPListener)
	if !ok {
		return nil, nil
	}
	return tcp, l.closed
}

// Close stops listening.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Secret reports whether what passes is encrypted.
func (l *Listener) Secret() bool { return l.opt.TLS != nil }

// TLSConfig is a configuration whose certificates are always the current ones, for
// servers that are not brokers.
func (c *Certificates) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
}
