package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestGivenUpRequests: a client that stops waiting is no fault of the server's.
func TestGivenUpRequests(t *testing.T) {
	var text strings.Builder
	s := &Server{log: slog.New(slog.NewTextHandler(&text, nil))}
	if p := s.asError(fmt.Errorf("asking: %w", context.Canceled)); text.Len() != 0 || !strings.Contains(p.Error(), "given up") {
		t.Errorf("%v, logged %q", p, text.String())
	}
	if s.asError(errors.New("the store is broken")); !strings.Contains(text.String(), "level=ERROR") {
		t.Errorf("logged %q", text.String())
	}
}
