package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// wsHandshake bounds the upgrade of a connection to a WebSocket; ctx does too.
const wsHandshake = 30 * time.Second

// openWebSocket makes a connection whose binary messages are the stream of MQTT packets (MQTT 3.1.1, 6).
func (s *server) openWebSocket(ctx context.Context, cfg *tls.Config) (net.Conn, error) {
	var below *bounded
	d := websocket.Dialer{TLSClientConfig: cfg, HandshakeTimeout: wsHandshake, Subprotocols: []string{"mqtt"}} // [MQTT-6.0.0-3]
	d.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var tcp net.Dialer
		conn, err := tcp.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		below = &bounded{Conn: conn}
		return below, nil
	}
	conn, resp, err := d.DialContext(ctx, s.url, nil)
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil:
		return nil, fmt.Errorf("WebSocket: the server answers %s, want a switch of protocols", resp.Status)
	case err != nil:
		return nil, fmt.Errorf("WebSocket: %w", err)
	case conn.Subprotocol() != "mqtt": // [MQTT-6.0.0-4]
		_ = conn.Close()
		return nil, fmt.Errorf("WebSocket: the server speaks %q, want mqtt", conn.Subprotocol())
	}
	return &webSocket{Conn: conn, below: below}, nil
}

// webSocket is a WebSocket as a stream. One goroutine reads and others write, one at a time.
type webSocket struct {
	*websocket.Conn
	below   *bounded
	message io.Reader // the one that is being read
	writing sync.Mutex
}

var _ net.Conn = (*webSocket)(nil)

// Read implements net.Conn: where messages begin and end means nothing [MQTT-6.0.0-2].
func (w *webSocket) Read(p []byte) (int, error) {
	for {
		if w.message == nil {
			kind, r, err := w.NextReader()
			var closed *websocket.CloseError
			switch {
			case errors.As(err, &closed):
				return 0, io.EOF
			case err != nil:
				return 0, err
			case kind != websocket.BinaryMessage: // [MQTT-6.0.0-1]
				return 0, errors.New("WebSocket: a text message, want binary ones")
			}
			w.message = r
		}
		n, err := w.message.Read(p)
		if errors.Is(err, io.EOF) {
			w.message, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// Write implements net.Conn.
func (w *webSocket) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if err := w.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetDeadline implements net.Conn.
func (w *webSocket) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

// SetWriteDeadline implements net.Conn: like that of other connections, and unlike the library's, it may be called beside a
// write and bounds that too.
func (w *webSocket) SetWriteDeadline(t time.Time) error { return w.below.bound(t) }

// bounded is the connection below a WebSocket. The library sets a deadline before every write, none for data and a near one for
// control messages; the one set by bound ends them earlier.
type bounded struct {
	net.Conn
	mu   sync.Mutex
	last time.Time // the deadline of all writes; zero: none
}

// bound sets the deadline of all writes, those that wait included.
func (b *bounded) bound(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = t
	return b.Conn.SetWriteDeadline(t)
}

// SetWriteDeadline implements net.Conn for the library.
func (b *bounded) SetWriteDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() && (t.IsZero() || b.last.Before(t)) {
		t = b.last
	}
	return b.Conn.SetWriteDeadline(t)
}
