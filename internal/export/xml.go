package export

import (
	"bufio"
	"strconv"
	"time"
	"unicode/utf8"
)

// xmlOut writes XML by hand: elements are few, values many.
type xmlOut struct {
	w   *bufio.Writer
	buf []byte
}

func (x *xmlOut) raw(s string) *xmlOut {
	x.buf = append(x.buf, s...)
	return x
}

func (x *xmlOut) number(n int64) *xmlOut {
	x.buf = strconv.AppendInt(x.buf, n, 10)
	return x
}

func (x *xmlOut) time(unix int64) *xmlOut {
	x.buf = time.Unix(unix, 0).UTC().AppendFormat(x.buf, time.RFC3339)
	return x
}

// text writes character data or the value of an attribute. What XML cannot carry becomes U+FFFD.
func (x *xmlOut) text(s string) *xmlOut {
	for _, r := range s {
		switch {
		case r == '&':
			x.raw("&amp;")
		case r == '<':
			x.raw("&lt;")
		case r == '>':
			x.raw("&gt;")
		case r == '"':
			x.raw("&quot;")
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF:
			x.buf = utf8.AppendRune(x.buf, utf8.RuneError)
		case r < ' ':
			x.raw("&#").number(int64(r)).raw(";")
		default:
			x.buf = utf8.AppendRune(x.buf, r)
		}
	}
	return x
}

// flush hands on what has gathered.
func (x *xmlOut) flush() error {
	_, err := x.w.Write(x.buf)
	x.buf = x.buf[:0]
	return err
}
