package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
)

// server is one place to connect to.
type server struct {
	name     string // without credentials, for logs
	address  string // host:port
	host     string
	secure   bool
	url      string // of a WebSocket, without credentials; "": none
	path     string // in it
	username string
	password []byte
	dial     func(ctx context.Context) (net.Conn, error) // nil: TCP to address
}

// CheckURL returns nil if s can be the URL of a server.
func CheckURL(s string) error {
	_, err := parseServer(s)
	return err
}

// parseServer reads mqtt://[user[:password]@]host[:port] or mqtts://…, and over WebSocket ws://…[/path] or wss://…[/path], where
// no path is /mqtt.
func parseServer(s string) (server, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The error of url.Parse repeats its input, which may hold a password.
		return server{}, fmt.Errorf("server URL cannot be read: want mqtt://host:port, mqtts://host:port, ws://host:port/mqtt or wss://host:port/mqtt")
	}
	srv := server{host: u.Hostname()}
	port := u.Port()
	switch u.Scheme {
	case "mqtt":
		if port == "" {
			port = "1883"
		}
	case "mqtts":
		srv.secure = true
		if port == "" {
			port = "8883"
		}
	case "ws":
		if port == "" {
			port = "80"
		}
	case "wss":
		srv.secure = true
		if port == "" {
			port = "443"
		}
	default:
		return server{}, fmt.Errorf("server URL %s: scheme %q, want mqtt, mqtts, ws or wss", u.Redacted(), u.Scheme)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return server{}, fmt.Errorf("server URL %s: port %s, want 1 to 65535", u.Redacted(), port)
	}
	if srv.host == "" {
		return server{}, fmt.Errorf("server URL %s: no host, want %s://host:port", u.Redacted(), u.Scheme)
	}
	web := u.Scheme == "ws" || u.Scheme == "wss"
	if (u.Path != "" && u.Path != "/" && !web) || u.RawQuery != "" || u.Fragment != "" {
		return server{}, fmt.Errorf("server URL %s: nothing may follow the port but the path of a WebSocket", u.Redacted())
	}
	srv.username = u.User.Username()
	if p, ok := u.User.Password(); ok {
		if srv.username == "" {
			return server{}, fmt.Errorf("server URL %s: a password needs a user name", u.Redacted()) // [MQTT-3.1.2-22]
		}
		srv.password = []byte(p)
	}
	srv.address = net.JoinHostPort(srv.host, port)
	srv.name = u.Scheme + "://" + srv.address
	if web {
		path := u.EscapedPath()
		if path == "" || path == "/" {
			path = "/mqtt"
		}
		srv.name += path
		srv.url, srv.path = srv.name, path
	}
	return srv, nil
}

// open makes a connection, with the TLS handshake done.
func (s *server) open(ctx context.Context, cfg *tls.Config) (net.Conn, error) {
	if s.dial != nil {
		return s.dial(ctx)
	}
	if s.url != "" {
		return s.openWebSocket(ctx, cfg)
	}
	var d net.Dialer // a TCP stream keeps the order and loses nothing [MQTT-7.1.2-1]
	conn, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil || !s.secure {
		return conn, err
	}
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = s.host
	}
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return tc, nil
}
