package listen

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// maxRequest bounds the request that asks for a WebSocket, in bytes.
const maxRequest = 8 << 10

// subprotocols are what is spoken over the WebSocket: [MQTT-6.0.0-3], and the name
// of MQTT 3.1.
var subprotocols = []string{"mqtt", "mqttv3.1"}

var (
	errRequestTooLarge = fmt.Errorf("request of more than %d bytes", maxRequest)
	errNoUpgrade       = errors.New("plain HTTP request")
	errSubprotocol     = errors.New("sub-protocol mqtt is not offered")
)

// upgrade reads the request and answers it. The handshake is the library's; the
// framing is our own (webSocket), because the library holds a buffer for each
// connection that waits, and a deadline that has passed ends its reading for ever,
// while a broker sets the next one.
func upgrade(nc net.Conn, o *Options) error {
	limited := &io.LimitedReader{R: nc, N: maxRequest}
	br := bufio.NewReaderSize(limited, 1024)
	r, err := http.ReadRequest(br)
	if err != nil {
		if limited.N == 0 {
			err = errRequestTooLarge
		}
		return err
	}
	w := &answer{nc: nc, br: br, header: http.Header{}}
	switch {
	case !websocket.IsWebSocketUpgrade(r):
		w.header.Set("Upgrade", "websocket")
		http.Error(w, "this port speaks MQTT over WebSocket", http.StatusUpgradeRequired)
		return w.sent(errNoUpgrade)
	case !slices.ContainsFunc(websocket.Subprotocols(r), func(p string) bool { return slices.Contains(subprotocols, p) }):
		http.Error(w, `offer the sub-protocol "mqtt"`, http.StatusBadRequest) // [MQTT-6.0.0-3]
		return w.sent(errSubprotocol)
	}
	u := websocket.Upgrader{
		Subprotocols: subprotocols, // [MQTT-6.0.0-4]
		CheckOrigin:  func(r *http.Request) bool { return originAllowed(r, o.Origins) },
	}
	if _, err := u.Upgrade(w, r, nil); err != nil {
		return w.sent(err)
	}
	return nil
}

// originAllowed keeps pages of other hosts from using a browser's certificates and
// network: RFC 6455, 10.2. What is no browser sends no Origin.
func originAllowed(r *http.Request, allowed []string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(allowed, "*") {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, r.Host) || slices.ContainsFunc(allowed, func(a string) bool {
		return strings.EqualFold(a, u.Host) || strings.EqualFold(a, origin)
	})
}

// answer is the http.ResponseWriter of one request on a connection of its own.
type answer struct {
	nc     net.Conn
	br     *bufio.Reader
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// Hijack gives the connection to the library, which sets deadlines that would
// undo those of who serves the connection.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return keepDeadlines{a.nc}, bufio.NewReadWriter(a.br, bufio.NewWriterSize(a.nc, 512)), nil
}

// sent writes the refusal and returns why.
func (a *answer) sent(why error) error {
	if a.status == 0 {
		return why // refused after the hijacking: there is nothing to write to
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	a.header.Set("Content-Length", fmt.Sprint(a.body.Len()))
	a.header.Set("Connection", "close")
	if err := a.header.Write(&b); err != nil {
		return errors.Join(why, err)
	}
	b.WriteString("\r\n")
	b.Write(a.body.Bytes())
	if _, err := a.nc.Write(b.Bytes()); err != nil {
		return errors.Join(why, err)
	}
	return why
}

type keepDeadlines struct{ net.Conn }

func (keepDeadlines) SetDeadline(time.Time) error      { return nil }
func (keepDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (keepDeadlines) SetWriteDeadline(time.Time) error { return nil }
func (keepDeadlines) Close() error                     { return nil } // who opened it closes it
