package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// apiPath reports whether a path belongs to the API; everything else is the console's.
func apiPath(path string) bool {
	switch path {
	case "/metrics", "/healthz", "/readyz", "/openapi.json", docsPath, "/v1":
		return true
	}
	return strings.HasPrefix(path, "/v1/")
}

// routes puts every call of the API on one mux and describes them in the OpenAPI document.
func (s *Server) routes() (*http.ServeMux, staticFile, error) {
	mux := http.NewServeMux()
	h := newAPI(mux, s.opt.Version, s.opt.known())
	s.meterCalls(h)
	s.valueCalls(h)
	s.editCalls(h)
	s.commandCalls(h)
	numberedChannels(h)
	s.decisionCalls(h)
	s.quarantineCalls(h)
	s.firmwareCalls(h)
	s.budgetCalls(h)
	s.auditCalls(h)
	s.groupCalls(h)
	s.networkCalls(h)
	s.outageCalls(h)
	s.maintenanceCalls(h)
	s.eventCalls(h)
	s.exportCalls(h)
	s.runCalls(h)
	s.healthCalls(h)
	s.backupCalls(h)
	s.principalCalls(h)
	s.registryCalls(h)
	s.sumCalls(h)
	s.targetCalls(h)
	describeMetrics(h)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opt.Gatherer, promhttp.HandlerOpts{ErrorLog: promLog{s.log}}))
	doc, err := document(h)
	if err != nil {
		return nil, staticFile{}, fmt.Errorf("web: writing the OpenAPI document: %w", err)
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<"+strings.TrimPrefix(docsPath, "/")+`>; rel="service-doc"; type="text/html"`) // RFC 8631
		s.openapi.serve(w, r, "no-cache")
	})
	if s.docs, err = docsPage(h.OpenAPI()); err != nil {
		return nil, staticFile{}, fmt.Errorf("web: writing the page of the API: %w", err)
	}
	mux.HandleFunc("GET "+docsPath, func(w http.ResponseWriter, r *http.Request) { s.docs.serve(w, r, "no-cache") })
	return mux, doc, nil
}

// dispatch sends a request to the API or to the console.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	if !apiPath(r.URL.Path) {
		if s.console == nil {
			writeProblem(w, problem(http.StatusNotFound, fmt.Sprintf("there is no %.200s, and no console is built in", r.URL.Path)))
			return
		}
		s.console.serve(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.Method == http.MethodOptions:
		s.options(w, r)
		return
	case r.Method == http.MethodHead && streams(r.URL.Path):
		w.Header().Set("Allow", "GET")
		writeProblem(w, problem(http.StatusMethodNotAllowed, fmt.Sprintf("HEAD %s: allowed here: GET; it has no end that could be told of", r.URL.Path)))
		return
	}
	if unknown, pattern := s.api.Handler(r); pattern == "" {
		s.noRoute(w, r, unknown)
		return
	}
	s.api.ServeHTTP(w, r)
}

// noRoute renders the mux's own 404 and 405, which are plain text, as problems.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request, h http.Handler) {
	rec := &refusal{header: http.Header{}}
	h.ServeHTTP(rec, r)
	if rec.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", rec.header.Get("Allow"))
		writeProblem(w, problem(rec.status, fmt.Sprintf("%s %s: allowed here: %s", r.Method, r.URL.Path, rec.header.Get("Allow"))))
		return
	}
	writeProblem(w, problem(http.StatusNotFound, fmt.Sprintf("there is no call %.200s; see /openapi.json", r.URL.Path)))
}

// options says which methods a path has. RFC 9110, 9.3.7
func (s *Server) options(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := s.api.Handler(probe); pattern != "" && (method != http.MethodHead || !streams(r.URL.Path)) {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		writeProblem(w, problem(http.StatusNotFound, fmt.Sprintf("there is no call %.200s; see /openapi.json", r.URL.Path)))
		return
	}
	w.Header().Set("Allow", strings.Join(append(allowed, http.MethodOptions), ", "))
	w.WriteHeader(http.StatusNoContent)
}

// refusal takes the status and the headers of an answer and forgets its body.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) WriteHeader(status int)      { r.status = status }
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }

// middleware is what every request goes through: metrics, recovery, security, compression, the body's limit.
func (s *Server) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(raw http.ResponseWriter, r *http.Request) {
		start := time.Now()
		out := &recorder{ResponseWriter: raw}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				s.recovered(out, r, p)
			}
			s.metrics.request(r, out.status, time.Since(start))
			s.log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", out.status, "took", time.Since(start))
		}()
		s.secureHeaders(out.Header())
		who, p := s.admit(r)
		if p != nil {
			if p.Status == http.StatusUnauthorized {
				out.Header().Set("WWW-Authenticate", `Bearer realm="wattbus"`) // RFC 6750, 3
			}
			if late := s.limited(out.Header(), r, nil); late != nil {
				p = late
			}
			writeProblem(out, p)
			return
		}
		if p := s.limited(out.Header(), r, who); p != nil {
			writeProblem(out, p)
			return
		}
		out.timed = start // of who may ask: what a refusal takes tells strangers nothing
		r = r.WithContext(context.WithValue(r.Context(), principalKey{}, who))
		switch r.URL.Path {
		case importPath:
		case imagePath:
			r.Body = http.MaxBytesReader(out, r.Body, maxImageFile)
		default:
			r.Body = http.MaxBytesReader(out, r.Body, maxBody+1)
		}
		lowerMediaType(r.Header)
		var w http.ResponseWriter = out
		if compressible(r) {
			z := newGzipWriter(out, &s.gzips)
			defer z.finish()
			w = z
		}
		if tagged(r) {
			t := &tagWriter{ResponseWriter: w, r: r}
			defer t.finish()
			w = t
		}
		next.ServeHTTP(w, r)
	})
}

// lowerMediaType writes the type of a body small, as the calls look for it: it means the same in capitals. RFC 9110, 8.3.1
func lowerMediaType(h http.Header) {
	if kind, params, ok := strings.Cut(h.Get("Content-Type"), ";"); kind != "" {
		kind = strings.ToLower(strings.TrimSpace(kind))
		if ok {
			kind += ";" + params
		}
		h.Set("Content-Type", kind)
	}
}

// maxBody is the largest request body in bytes.
const maxBody = 1 << 20

// recovered answers for a handler that panicked. An answer that could not be written is no fault of the handler's.
func (s *Server) recovered(w *recorder, r *http.Request, p any) {
	if r.Context().Err() != nil {
		return
	}
	s.log.Error("handler panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if w.status == 0 {
		w.Header().Del("Content-Encoding")
		writeProblem(w, problem(http.StatusInternalServerError, "the request could not be carried out; the server's log says why"))
	}
}
