package web

import (
	"bufio"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// recorder remembers an answer's status, and tells the client how long it took.
type recorder struct {
	http.ResponseWriter
	status int
	timed  time.Time // since when the time is told; zero: it is not
}

// WriteHeader notes the status. What the answer took until now goes with it, so that a browser can tell the centre's time from that of the
// network and its own. W3C Server Timing
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
		if !w.timed.IsZero() {
			w.Header().Set("Server-Timing", "answer;dur="+strconv.FormatFloat(float64(time.Since(w.timed).Microseconds())/1000, 'f', -1, 64))
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write notes the status that a Write without WriteHeader implies.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands out the connection, for WebSockets.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.status = http.StatusSwitchingProtocols
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// compressible reports whether the answer to a request may be compressed: answers of the API, streams excepted. The
// console's files and the OpenAPI document are kept compressed.
func compressible(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/v1/") && r.URL.Path != "/v1/events" && r.URL.Path != backupPath && r.URL.Path != importPath && r.URL.Path != exportPath && acceptsGzip(r)
}

// acceptsGzip reads Accept-Encoding. RFC 9110, 12.5.3
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				return weight(params) > 0
			}
		}
	}
	return false
}

// weight reads the parameters behind what a client accepts, 1 where there is no weight. RFC 9110, 12.4.2
func weight(params string) float64 {
	for param := range strings.SplitSeq(strings.ReplaceAll(params, " ", ""), ";") {
		name, value, _ := strings.Cut(param, "=")
		if q, err := strconv.ParseFloat(value, 64); err == nil && strings.EqualFold(name, "q") {
			return q
		}
	}
	return 1
}

// minGzip is the size in bytes from which compressing an answer pays.
const minGzip = 1400

// gzipPool keeps compressors, which cost 800 KB each.
type gzipPool struct{ free sync.Pool }

func (p *gzipPool) get(w io.Writer) *gzip.Writer {
	if z, ok := p.free.Get().(*gzip.Writer); ok {
		z.Reset(w)
		return z
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil { // only an unknown level is an error
		return gzip.NewWriter(w)
	}
	return z
}

func (p *gzipPool) put(z *gzip.Writer) {
	z.Reset(nil)
	p.free.Put(z)
}

// gzipWriter compresses an answer once it has grown beyond minGzip. It holds the status back until it knows.
type gzipWriter struct {
	http.ResponseWriter
	pool   *gzipPool
	status int
	held   []byte
	z      *gzip.Writer // nil: not compressing
	passed bool         // the head is out
}

func newGzipWriter(w http.ResponseWriter, pool *gzipPool) *gzipWriter {
	w.Header().Add("Vary", "Accept-Encoding")
	return &gzipWriter{ResponseWriter: w, pool: pool}
}

// WriteHeader holds the status back.
func (w *gzipWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write takes a part of the body.
func (w *gzipWriter) Write(b []byte) (int, error) {
	switch {
	case w.z != nil:
		return w.z.Write(b)
	case w.passed:
		return w.ResponseWriter.Write(b)
	case len(w.held)+len(b) < minGzip:
		w.held = append(w.held, b...)
		return len(b), nil
	}
	h := w.Header()
	if h.Get("Content-Encoding") == "" {
		h.Set("Content-Encoding", "gzip")
		h.Del("Content-Length")
		if tag := h.Get("ETag"); tag != "" {
			h.Set("ETag", gzipTag(tag))
		}
		w.z = w.pool.get(w.ResponseWriter)
	}
	if err := w.pass(); err != nil {
		return 0, err
	}
	if w.z != nil {
		return w.z.Write(b)
	}
	return w.ResponseWriter.Write(b)
}

// pass sends the head and what was held.
func (w *gzipWriter) pass() error {
	w.passed = true
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	if len(w.held) == 0 {
		return nil
	}
	var err error
	if w.z != nil {
		_, err = w.z.Write(w.held)
	} else {
		_, err = w.ResponseWriter.Write(w.held)
	}
	w.held = nil
	return err
}

// finish sends what is left. Its errors are the client's going away.
func (w *gzipWriter) finish() {
	if !w.passed {
		_ = w.pass()
	}
	if w.z != nil {
		_ = w.z.Close()
		w.pool.put(w.z)
		w.z = nil
	}
}
