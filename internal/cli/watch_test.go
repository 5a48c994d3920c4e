package cli

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/apiclient"
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

// In a file or a pipe tables have the time between them; what programs read has nothing.
func TestWatchInPipe(t *testing.T) {
	for format, want := range map[string]string{"table": "M1\n\n2018-12-12 12:00:00\nM1\n", "wide": "M1\n\n2018-12-12 12:00:00\nM1\n", "json": "M1\nM1\n", "csv": "M1\nM1\n"} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			l := &look{app: &app{Stdio: Stdio{Out: &out, Now: func() time.Time { return noon }}}, output: output{format: format}}
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			err := l.again(ctx, nil, func(context.Context, *apiclient.Client) error {
				if n++; n == 2 {
					cancel()
				}
				out.WriteString("M1\n")
				return nil
			})
			if err != nil || out.String() != want {
				t.Errorf("-o %s: %q, %v, want %q", format, out.String(), err, want)
			}
		})
	}
}
