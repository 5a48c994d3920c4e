package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigCheckCalendar(t *testing.T) {
	const file = "../../examples/tariff-day-night.yaml"
	out, errs, status := call(t, nil, "config", "check", "calendar", file)
	if status != ExitDone || !strings.Contains(out, "Good Friday") || !strings.Contains(out, "23h") || !strings.Contains(out, "25h") {
		t.Errorf("status %d, errors %q, output\n%s", status, errs, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte(strings.Replace(string(text), "from: 06:00, to: 17:00", "from: 06:30, to: 17:00", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, status = call(t, nil, "config", "check", "calendar", bad)
	if status != ExitUsage || out != "" || !strings.Contains(errs, bad+":39: periods[0].times: 06:00 to 06:30 is missing") {
		t.Errorf("status %d, output %q, errors %q", status, out, errs)
	}
	if _, errs, status = call(t, nil, "config", "check", "calendar", "absent.yaml"); status != ExitUsage {
		t.Errorf("absent file: status %d, errors %q", status, errs)
	}
}
