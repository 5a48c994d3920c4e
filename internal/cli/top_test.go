package cli

import (
	"strings"
	"testing"
)

func TestTopWithoutTerminal(t *testing.T) {
	url, _ := fixedCentre(t)
	out, errs, status := call(t, nil, "top", "--server", url)
	if status != ExitDone || errs != "" {
		t.Fatalf("status %d: %s", status, errs)
	}
	golden(t, "top", strings.ReplaceAll(out, url, "http://127.0.0.1:8080"))
	if strings.Contains(out, "\x1b") {
		t.Errorf("plain text with escapes: %q", out)
	}
	if _, errs, status := call(t, nil, "top", "--server", url, "--every", "1ms"); status != ExitUsage || !strings.Contains(errs, "flag --every: value 1ms, want 1s or more") {
		t.Errorf("status %d: %s", status, errs)
	}
	if _, errs, status := call(t, nil, "top", "--server", "http://127.0.0.1:1"); status != ExitFailed || !strings.Contains(errs, "no answer") {
		t.Errorf("status %d: %s", status, errs)
	}
}
