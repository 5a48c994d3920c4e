package mqttsn

import (
	"strings"
	"unicode/utf8"
)

// cursor walks over the body of one message. The first failure sticks; the values
// read after it are zero.
type cursor struct {
	b   []byte
	t   MsgType
	err error
}

func (c *cursor) fail(field string, err error) {
	if c.err == nil {
		c.err = bad(c.t, field, err)
		c.b = nil
	}
}

func (c *cursor) u8(field string) byte {
	if len(c.b) < 1 {
		c.fail(field, ErrTruncated)
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) u16(field string) uint16 {
	if len(c.b) < 2 {
		c.fail(field, ErrTruncated)
		return 0
	}
	v := uint16(c.b[0])<<8 | uint16(c.b[1])
	c.b = c.b[2:]
	return v
}

// msgID reads a message id that must not be 0.
func (c *cursor) msgID() uint16 {
	v := c.u16("message id")
	if v == 0 {
		c.fail("message id", ErrMsgID)
	}
	return v
}

// bytes takes all that is left; it aliases the input.
func (c *cursor) bytes() []byte {
	v := c.b[:len(c.b):len(c.b)]
	c.b = nil
	return v
}

// text takes all that is left as a string of UTF-8.
func (c *cursor) text(field string) string {
	if !utf8.Valid(c.b) {
		c.fail(field, ErrString)
		return ""
	}
	s := string(c.bytes())
	if strings.IndexByte(s, 0) >= 0 {
		c.fail(field, ErrString)
		return ""
	}
	return s
}

// name is text that has at least one octet.
func (c *cursor) name(field string) string {
	if c.err == nil && len(c.b) == 0 {
		c.fail(field, ErrEmpty)
	}
	return c.text(field)
}

// end gives the error of the walk, or ErrTrailing.
func (c *cursor) end() error {
	if len(c.b) > 0 {
		c.fail("end", ErrTrailing)
	}
	return c.err
}

// checkName refuses a string that its field cannot hold.
func checkName(t MsgType, field, s string) error {
	if s == "" {
		return bad(t, field, ErrEmpty)
	}
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return bad(t, field, ErrString)
	}
	return checkLength(t, field, len(s)+8)
}

func appendU16(dst []byte, v uint16) []byte { return append(dst, byte(v>>8), byte(v)) }
