package screen

import "unicode/utf8"

// Key is a key that was pressed: the text that it types, or one of these names.
type Key string

// The keys that type nothing.
const (
	Up        Key = "up"
	Down      Key = "down"
	Left      Key = "left"
	Right     Key = "right"
	Home      Key = "home"
	End       Key = "end"
	PageUp    Key = "page-up"
	PageDown  Key = "page-down"
	Enter     Key = "enter"
	Tab       Key = "tab"
	BackTab   Key = "back-tab"
	Backspace Key = "backspace"
	Escape    Key = "escape"
	Interrupt Key = "ctrl-c"
	Suspend   Key = "ctrl-z"
	Redraw    Key = "ctrl-l"
)

// sequences are what follows ESC [ or ESC O, in the ways of xterm, VT220, rxvt and the Linux console.
var sequences = map[string]Key{
	"A": Up, "B": Down, "C": Right, "D": Left, "H": Home, "F": End, "Z": BackTab, "M": Enter,
	"1~": Home, "7~": Home, "4~": End, "8~": End, "5~": PageUp, "6~": PageDown,
}

var controls = map[byte]Key{3: Interrupt, 8: Backspace, 9: Tab, 10: Enter, 12: Redraw, 13: Enter, 26: Suspend, 127: Backspace}

// decode reads the keys of what a terminal sent and returns what is left: the beginning of a key whose rest may still come.
// With last there is none to come, and a lone ESC is the key.
func decode(b []byte, last bool) (keys []Key, rest []byte) {
	for len(b) > 0 {
		switch {
		case b[0] == 0x1b:
			k, n := escape(b, last)
			if n == 0 {
				return keys, b
			}
			if k != "" {
				keys = append(keys, k)
			}
			b = b[n:]
		case b[0] < 0x20 || b[0] == 0x7f:
			if k, ok := controls[b[0]]; ok {
				keys = append(keys, k)
			}
			b = b[1:]
		default:
			if !utf8.FullRune(b) && !last {
				return keys, b
			}
			r, n := utf8.DecodeRune(b)
			if r != utf8.RuneError {
				keys = append(keys, Key(b[:n]))
			}
			b = b[n:]
		}
	}
	return keys, nil
}

// maxSequence is how long an escape sequence may be; a longer one is none that we know.
const maxSequence = 16

// escape reads one that begins with ESC. n is 0 where its end is not there yet; k is empty for a sequence that we do not know.
func escape(b []byte, last bool) (k Key, n int) {
	if len(b) == 1 {
		if last {
			return Escape, 1
		}
		return "", 0
	}
	if b[1] != '[' && b[1] != 'O' {
		return Escape, 1
	}
	for i := 2; i < len(b) && i < maxSequence; i++ {
		if b[i] >= 0x40 && b[i] <= 0x7e { // ECMA-48, 5.4: the final byte
			return sequences[string(b[2:i+1])], i + 1
		}
	}
	if last || len(b) >= maxSequence {
		return Escape, 1
	}
	return "", 0
}
