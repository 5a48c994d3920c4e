package cli

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/top"
)

// A frame of --watch fits the terminal, whatever there is to show, and says of when it is.
func TestWatchFrame(t *testing.T) {
	var long strings.Builder
	for range 100 {
		long.WriteString(strings.Repeat("x", 200) + "\n")
	}
	escape := regexp.MustCompile(`\x1b\[[?0-9;]*[A-Za-z]`)
	for _, tc := range []struct {
		text  string
		wrong error
		lines int
		want  string
	}{
		{"ID\nM1\n", nil, 3, "12:00:00, every 2s; Ctrl-C ends"},
		{"ID\nM1\n", errors.New("the centre does not answer"), 3, "12:00:00, not as of now: the centre does not answer"},
		{long.String(), nil, 23, "and 79 more lines"},
	} {
		frame := watchFrame(tc.text, noon, tc.wrong, 60, 24, true)
		lines := strings.Split(strings.TrimSuffix(escape.ReplaceAllString(frame, ""), "\r\n"), "\r\n")
		if len(lines) != tc.lines || !strings.Contains(frame, tc.want) || top.Width(lines[0]) > 60 {
			t.Errorf("%d lines, want %d and %q:\n%s", len(lines), tc.lines, tc.want, strings.Join(lines, "\n"))
		}
		if !strings.HasPrefix(frame, "\x1b[?7l\x1b[H") || !strings.HasSuffix(frame, "\x1b[J\x1b[?7h") || strings.Contains(frame, "\x1b[2J") {
			t.Errorf("a terminal would flicker or wrap: %q", frame)
		}
	}
}
