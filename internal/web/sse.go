package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// serverSent streams events as text/event-stream (HTML, 9.2).
func (s *Server) serverSent(w http.ResponseWriter, r *http.Request, f api.EventFilter) {
	st := s.openStream(w, r)
	if st == nil {
		return
	}
	defer st.leave()
	if err := st.edit(func(fs map[string]api.EventFilter) { fs[filterKey(f)] = f }); err != nil {
		writeProblem(w, problem(http.StatusServiceUnavailable, err.Error()))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that would collect it
	rc := http.NewResponseController(w)
	deadline := func() error {
		// A server without deadlines, as in tests, has none to set.
		if err := rc.SetWriteDeadline(time.Now().Add(s.opt.WriteTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		return nil
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) || deadline() != nil {
		return
	}
	w.WriteHeader(http.StatusOK)
	if _, err := io.WriteString(w, "retry: 2000\n: following\n\n"); err != nil || rc.Flush() != nil {
		return
	}
	err := s.pump(r.Context(), st, func(m message) error {
		if err := deadline(); err != nil {
			return err
		}
		return writeSSE(w, m)
	}, rc.Flush)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.log.Info("live stream cut: it took nothing", "remote", r.RemoteAddr, "for", s.opt.WriteTimeout)
	}
}

// writeSSE writes one event; data holds no line break.
func writeSSE(w io.Writer, m message) error {
	id := ""
	if m.id != "" {
		id = "id: " + m.id + "\n"
	}
	_, err := fmt.Fprintf(w, "event: %s\n%sdata: %s\n\n", m.name, id, m.data)
	return err
}
