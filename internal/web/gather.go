package web

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// gatherBytes is how much a connection gathers at most before it writes.
const gatherBytes = 8 << 10

// gathered is a connection whose writes are put together while it is held: a live stream's messages are small, and each write is a call into the
// system.
type gathered struct {
	net.Conn
	mu   sync.Mutex
	held *bufio.Writer // nil: writes go through
}

// gatherers are the buffers of connections that are held, which are few at a time.
var gatherers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, gatherBytes) }}

// Write implements net.Conn.
func (g *gathered) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != nil {
		return g.held.Write(b)
	}
	return g.Conn.Write(b)
}

// hold has what follows be gathered until release.
func (g *gathered) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == nil {
		w, ok := gatherers.Get().(*bufio.Writer)
		if !ok {
			return
		}
		w.Reset(g.Conn)
		g.held = w
	}
}

// release writes what was gathered.
func (g *gathered) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.held
	if w == nil {
		return nil
	}
	err := w.Flush()
	w.Reset(nil)
	gatherers.Put(w)
	g.held = nil
	return err
}

// taker hands out the connection that it takes over as one that can gather.
type taker struct {
	http.ResponseWriter
	conn *gathered
}

// Hijack implements http.Hijacker.
func (t *taker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.conn = &gathered{Conn: conn}
	return t.conn, rw, nil
}
