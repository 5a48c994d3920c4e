package top

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// style is how a piece of text looks. The colours are of the terminal's own palette, so that they suit a light one too.
type style string

const (
	plain   style = ""
	bold    style = "1"
	dim     style = "2"
	reverse style = "7"
	red     style = "31"
	green   style = "32"
	yellow  style = "33"
	cyan    style = "36"
	alarm   style = "1;31"
)

// colour reports whether the style is more than light and dark.
func (s style) colour() bool { return strings.Contains(string(s), "3") }

// line is a line in the making, cut where the screen ends.
type line struct {
	b       strings.Builder
	room    int // columns
	used    int
	colours bool
	bare    bool // nothing but text
}

// Width is how many columns of a terminal the text takes.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Me, r), unicode.Is(unicode.Cf, r):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Clean replaces what a terminal would obey rather than show: names come from files and from other systems.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
}

// Fit cuts or fills the text to n columns; what is cut ends with '…'.
func Fit(s string, n int, right bool) string {
	if n <= 0 {
		return ""
	}
	w := Width(s)
	if w > n {
		var b strings.Builder
		w = 0
		for _, r := range s {
			if w+runeWidth(r) > n-1 {
				break
			}
			b.WriteRune(r)
			w += runeWidth(r)
		}
		b.WriteRune('…')
		s, w = b.String(), w+1
	}
	fill := strings.Repeat(" ", n-w)
	if right {
		return fill + s
	}
	return s + fill
}

func (l *line) add(st style, text string) *line {
	if l.used >= l.room {
		return l
	}
	text = Clean(text)
	if w := Width(text); w > l.room-l.used {
		text = Fit(text, l.room-l.used, false)
	}
	l.used += Width(text)
	if l.bare || st == plain || st.colour() && !l.colours {
		l.b.WriteString(text)
		return l
	}
	l.b.WriteString("\x1b[" + string(st) + "m" + text + "\x1b[0m")
	return l
}

func (l *line) String() string { return l.b.String() }
