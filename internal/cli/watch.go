package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/top"
)

// watchEvery is how often --watch looks again.
const watchEvery = 2 * time.Second

// again shows f over and over until ctx ends: on a terminal in place, elsewhere one after the other, tables with the time between them.
func (l *look) again(ctx context.Context, client *apiclient.Client, f func(context.Context, *apiclient.Client) error) error {
	out, isFile := l.app.Out.(*os.File)
	inPlace := isFile && term.IsTerminal(int(out.Fd())) && l.output.format == "table"
	between := l.output.format == "table" || l.output.format == "wide" // JSON and CSV are for programs
	shown := ""
	for n := 0; ; n++ {
		var err error
		switch {
		case inPlace:
			shown, err = l.inPlace(ctx, client, out, shown, f)
		case n > 0 && between:
			if _, err = fmt.Fprintf(l.app.Out, "\n%s\n", l.app.now().Format(time.DateTime)); err == nil {
				err = f(ctx, client)
			}
		default:
			err = f(ctx, client)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// inPlace shows once what f writes, in the place of what was shown before. A centre that is away for a while is told over what it
// said last; one that was never there is an error.
func (l *look) inPlace(ctx context.Context, client *apiclient.Client, out *os.File, shown string, f func(context.Context, *apiclient.Client) error) (string, error) {
	width, height, err := term.GetSize(int(out.Fd()))
	if err != nil {
		width, height = 80, 24
	}
	if l.output.width > 0 {
		l.output.width = width
	}
	var text bytes.Buffer
	l.app.Out = &text
	err = f(ctx, client)
	l.app.Out = out
	if ctx.Err() != nil || err != nil && shown == "" {
		return shown, err
	}
	if err == nil {
		shown = text.String()
	}
	_, err = out.WriteString(watchFrame(shown, l.app.now(), err, width, height, l.output.colours))
	return shown, err
}

// watchFrame draws a text from the top of a terminal: below a line that says when it was asked for, or what is wrong since. What does not
// fit is cut.
func watchFrame(text string, at time.Time, wrong error, width, height int, colours bool) string {
	head, style := fmt.Sprintf("%s, every %v; Ctrl-C ends", at.Format(time.TimeOnly), watchEvery), "\x1b[2m"
	if wrong != nil {
		head, style = fmt.Sprintf("%s, not as of now: %s", at.Format(time.TimeOnly), top.Clean(render(wrong))), "\x1b[31m"
	}
	head = strings.TrimRight(top.Fit(head, width, false), " ")
	if colours {
		head = style + head + "\x1b[0m"
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if room := max(height-2, 1); len(lines) > room { // the head, and the line of the cursor
		more := len(lines) - room + 1
		lines = append(lines[:room-1:room-1], fmt.Sprintf("and %s more lines", thousands(more)))
	}
	var b strings.Builder
	b.WriteString("\x1b[?7l\x1b[H") // what is too long is cut, not wrapped
	for _, l := range append([]string{head}, lines...) {
		b.WriteString(l + "\x1b[0m\x1b[K\r\n")
	}
	b.WriteString("\x1b[J\x1b[?7h")
	return b.String()
}
