package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"
)

// static is the built console, read into memory once: plain and compressed.
type static struct {
	files map[string]staticFile // by path without the leading slash
	index staticFile
}

// staticFile is one file, ready to be sent.
type staticFile struct {
	plain, gzipped []byte // gzipped is nil where it saves nothing
	mime, etag     string
}

func newStaticFile(text []byte, mediaType string) (staticFile, error) {
	f := staticFile{plain: text, mime: mediaType}
	sum := sha256.Sum256(text)
	f.etag = base64.RawURLEncoding.EncodeToString(sum[:12])
	if len(text) < minGzip || !worthGzip(mediaType) {
		return f, nil
	}
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		return f, err
	}
	if _, err := w.Write(text); err != nil {
		return f, err
	}
	if err := w.Close(); err != nil {
		return f, err
	}
	if z.Len() < len(text) {
		f.gzipped = z.Bytes()
	}
	return f, nil
}

func worthGzip(mediaType string) bool {
	return strings.HasPrefix(mediaType, "text/") || strings.Contains(mediaType, "json") || strings.Contains(mediaType, "javascript") ||
		strings.Contains(mediaType, "svg") || strings.Contains(mediaType, "wasm")
}

// mediaTypes are those a console consists of; a machine's own table may say otherwise about them.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".woff2":
		return "font/woff2"
	case ".ico":
		return "image/x-icon"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

func newStatic(console fs.FS) (*static, error) {
	s := &static{files: map[string]staticFile{}}
	err := fs.WalkDir(console, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(console, name)
		if err != nil {
			return err
		}
		f, err := newStaticFile(text, mediaType(name))
		s.files[name] = f
		return err
	})
	if err != nil {
		return nil, err
	}
	index, ok := s.files["index.html"]
	if !ok {
		return nil, fmt.Errorf("there is no index.html")
	}
	s.index = index
	return s, nil
}

// serve answers for the console. The page's own addresses stand behind a '#', so that a path which is no file is a mistake.
func (s *static) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writeProblem(w, problem(http.StatusMethodNotAllowed, fmt.Sprintf("%s %s: allowed here: GET, HEAD", r.Method, r.URL.Path)))
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	f, ok := s.files[name]
	switch {
	case ok && strings.HasPrefix(name, "assets/"):
		f.serve(w, r, "public, max-age=31536000, immutable") // the names hold a hash of the content
	case ok:
		f.serve(w, r, "no-cache")
	case name == "":
		s.index.serve(w, r, "no-cache")
	default:
		writeProblem(w, problem(http.StatusNotFound, fmt.Sprintf("there is nothing at %.200s; the page is at /, the API below /v1", r.URL.Path)))
	}
}

// serve sends the file, or that the client has it already.
func (f staticFile) serve(w http.ResponseWriter, r *http.Request, cache string) {
	h := w.Header()
	h.Set("Content-Type", f.mime)
	h.Set("Cache-Control", cache)
	body, etag := f.plain, `"`+f.etag+`"`
	if f.gzipped != nil {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(r) && r.Header.Get("Range") == "" {
			body, etag = f.gzipped, `"`+f.etag+`-gz"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body)) // If-None-Match, HEAD and ranges
}

// inline finds the scripts that stand in the page itself.
var inline = regexp.MustCompile(`(?s)<script(?:\s+type="module")?>(.*?)</script>`)

// policyFor is the Content-Security-Policy: nothing from elsewhere, no script in the page but those it was built with.
// The charts set styles on their elements.
func policyFor(page []byte) string {
	scripts := "'self'"
	for _, m := range inline.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(m[1])
		scripts += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'self'; script-src " + scripts + "; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
		"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}
