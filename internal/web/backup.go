package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// backupPath is the one call whose answer may be of any length.
const backupPath = "/v1/backup/bus"

// backupCalls registers GET /v1/backup/bus.
func (s *Server) backupCalls(h huma.API) {
	op := operation("backup-bus", http.MethodGet, backupPath, "operations", "Copy the bus",
		"What is committed to the bus and not in the store yet, and the dead letters, as a file of the format in internal/bus/backup.go. Copy "+
			"the store after it: `wattbus backup` does both.")
	op.Responses = map[string]*huma.Response{
		"200": {Description: "The copy; whole only with its end mark", Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}},
		"default": problemResponse(h),
	}
	huma.Register(h, op, func(_ context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			w.Header().Set("Content-Type", "application/octet-stream")
			out := &steadyWriter{w: w, rc: http.NewResponseController(w), each: s.opt.WriteTimeout}
			if err := s.opt.Bus.Backup(r.Context(), out, nil); err != nil {
				s.log.Warn("copy of the bus was cut", "remote", r.RemoteAddr, "error", err)
				panic(http.ErrAbortHandler) // so that nobody takes it for the end
			}
		}}, nil
	})
}

// steadyWriter gives a reader time for each write, not for all of the answer.
type steadyWriter struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	each time.Duration
}

func (w *steadyWriter) Write(p []byte) (int, error) {
	end := time.Now().Add(w.each)
	for _, set := range []func(time.Time) error{w.rc.SetWriteDeadline, w.rc.SetReadDeadline} {
		// A server without deadlines, as in tests, has none to set.
		if err := set(end); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
	}
	return w.w.Write(p)
}
