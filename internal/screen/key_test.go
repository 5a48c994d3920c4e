package screen

import (
	"reflect"
	"testing"
)

func TestDecode(t *testing.T) {
	for _, tc := range []struct {
		in   string
		last bool
		keys []Key
		rest string
	}{
		{"qé/", false, []Key{"q", "é", "/"}, ""},
		{"\x1b[A\x1bOB\x1b[5~\x1b[6~x", false, []Key{Up, Down, PageUp, PageDown, "x"}, ""},
		{"\x1b", false, nil, "\x1b"},
		{"\x1b", true, []Key{Escape}, ""},
		{"\x1b[", false, nil, "\x1b["},
		{"\x1b[1;5Aq", false, []Key{"q"}, ""}, // Ctrl-Up is nothing to us
		{"\x1bq", false, []Key{Escape, "q"}, ""},
		{"\x03\x1a\t\r\x7f\x00", false, []Key{Interrupt, Suspend, Tab, Enter, Backspace}, ""},
		{"\xe3\x81", false, nil, "\xe3\x81"},
		{"\xe3\x81", true, nil, ""},
		{"\xff", false, nil, ""},
	} {
		keys, rest := decode([]byte(tc.in), tc.last)
		if !reflect.DeepEqual(keys, tc.keys) || string(rest) != tc.rest {
			t.Errorf("decode(%q, %v) = %q, %q; want %q, %q", tc.in, tc.last, keys, rest, tc.keys, tc.rest)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x1b[A\x1b[1;5Aq\xe3\x81\x82"), false)
	f.Fuzz(func(t *testing.T, b []byte, last bool) {
		_, rest := decode(b, last)
		if last && len(rest) > 0 || len(rest) > maxSequence {
			t.Fatalf("%q is left of %q", rest, b)
		}
	})
}
