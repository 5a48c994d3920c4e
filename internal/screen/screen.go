package screen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"

	"golang.org/x/term"
)

// ErrNone says that there is no terminal to draw on.
var ErrNone = errors.New("no terminal")

const (
	// The other screen, so that what was there comes back; no cursor; no wrapping at the right edge.
	enter = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leave = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	// Synchronised output: a terminal that knows it shows a frame at once, the others ignore it.
	begin = "\x1b[?2026h\x1b[H"
	end   = "\x1b[J\x1b[?2026l"
)

// Screen is a terminal that is drawn on. Run makes one.
type Screen struct {
	Keys    <-chan Key
	Resized <-chan struct{} // its size is another one, or all of it must be drawn anew

	out   *os.File
	saved *term.State
	shown []string
	w, h  int
}

// Run makes the terminal a screen, calls f, and gives the terminal back when f has returned, with f's error. f should return when its
// context ends. If f panics the terminal is given back first.
func Run(ctx context.Context, in, out *os.File, f func(context.Context, *Screen) error) (err error) {
	if in == nil || out == nil || !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return ErrNone
	}
	keys, resized := make(chan Key, 64), make(chan struct{}, 1)
	s := &Screen{Keys: keys, Resized: resized, out: out}
	if s.saved, err = term.MakeRaw(int(in.Fd())); err != nil {
		return fmt.Errorf("making the terminal raw: %w", err)
	}
	restore := func() error {
		_, werr := io.WriteString(out, leave)
		return errors.Join(werr, term.Restore(int(in.Fd()), s.saved))
	}
	defer func() {
		if p := recover(); p != nil {
			_ = restore()
			fmt.Fprintf(os.Stderr, "%s\n", debug.Stack())
			panic(p)
		}
		if rerr := restore(); rerr != nil && err == nil {
			err = fmt.Errorf("giving the terminal back: %w", rerr)
		}
	}()
	if _, err := io.WriteString(out, enter); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop, err := listen(ctx, in, keys, resized, func() { // a stop and a continuation: the terminal is the shell's in between
		_ = restore()
	}, func() {
		_, _ = term.MakeRaw(int(in.Fd()))
		_, _ = io.WriteString(out, enter)
	}, cancel)
	if err != nil {
		cancel()
		return err
	}
	defer stop()
	defer cancel()
	return f(ctx, s)
}

// Size is the size of the terminal in columns and lines.
func (s *Screen) Size() (w, h int) {
	w, h, err := term.GetSize(int(s.out.Fd()))
	if err != nil || w <= 0 || h <= 0 {
		return 80, 24
	}
	return w, h
}

// Forget has the next Draw draw everything.
func (s *Screen) Forget() { s.shown = nil }

// Draw shows the lines, from the top. Lines that are shown already are not sent again; what does not fit is left out.
func (s *Screen) Draw(lines []string) error {
	w, h := s.Size()
	if w != s.w || h != s.h {
		s.shown, s.w, s.h = nil, w, h
	}
	lines = lines[:min(len(lines), h)]
	if s.shown != nil && slices.Equal(lines, s.shown) {
		return nil
	}
	var b bytes.Buffer
	b.WriteString(begin)
	for i, l := range lines {
		if s.shown == nil || i >= len(s.shown) || s.shown[i] != l {
			b.WriteString("\x1b[2K" + l + "\x1b[0m") // erased first: after its last column an erasure would take that
		}
		if i < len(lines)-1 {
			b.WriteString("\r\n")
		}
	}
	if len(lines) < h {
		b.WriteString("\r\n" + end)
	} else {
		b.WriteString("\x1b[?2026l")
	}
	s.shown = slices.Clone(lines)
	if _, err := s.out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	return nil
}
