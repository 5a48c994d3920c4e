package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

// TestTitles: whoever finds a request wrong calls it the same.
func TestTitles(t *testing.T) {
	for _, p := range []*api.Problem{api.BadRequest("x", "y"), api.NotFound("x"), api.Conflict("x"), api.Outdated("x")} {
		if got := title(p.Status); got != p.Title {
			t.Errorf("%d is %q here and %q there", p.Status, got, p.Title)
		}
	}
	if got := title(http.StatusRequestURITooLong); got != "Request URI too long" {
		t.Errorf("%q", got)
	}
}

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
