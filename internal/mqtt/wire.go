package mqtt

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// cursor walks over the body of one packet. The first failure sticks; the values
// read after it are zero.
type cursor struct {
	b   []byte
	t   PacketType
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

func (c *cursor) u32(field string) uint32 {
	high := c.u16(field)
	return uint32(high)<<16 | uint32(c.u16(field))
}

// varint reads a variable byte integer of at most four bytes, in as few as it
// needs [MQTT-1.5.5-1].
func (c *cursor) varint(field string) uint32 {
	var v uint32
	for i := range 4 {
		b := c.u8(field)
		v |= uint32(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				c.fail(field, ErrLength)
			}
			return v
		}
	}
	c.fail(field, ErrLength)
	return 0
}

// id reads a packet identifier, which is never 0 [MQTT-2.3.1-1].
func (c *cursor) id() uint16 {
	v := c.u16("packet identifier")
	if v == 0 {
		c.fail("packet identifier", ErrPacketID)
	}
	return v
}

// bytes reads a field of two length bytes and as many bytes, which no string can exceed
// [MQTT-4.7.3-3]; it aliases the input.
func (c *cursor) bytes(field string) []byte {
	n := int(c.u16(field))
	if len(c.b) < n {
		c.fail(field, ErrTruncated)
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// text reads a UTF-8 string [MQTT-1.5.3-1] without U+0000 [MQTT-1.5.3-2]; MQTT 5:
// [MQTT-1.5.4-1], [MQTT-1.5.4-2]. It aliases the input, so that nothing is taken out of
// it, U+FEFF as little as another character [MQTT-1.5.3-3], MQTT 5: [MQTT-1.5.4-3].
// utf8.Valid refuses the surrogates U+D800 to U+DFFF.
func (c *cursor) text(field string) []byte {
	v := c.bytes(field)
	if !validText(v) {
		c.fail(field, ErrString)
		return nil
	}
	return v
}

// end gives the error of the walk, or ErrTrailing.
func (c *cursor) end() error {
	if len(c.b) > 0 {
		c.fail("end", ErrTrailing)
	}
	return c.err
}

func validText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

// validName: a topic of a message has a character [MQTT-4.7.3-1] and no wildcard
// [MQTT-3.3.2-2], [MQTT-4.7.1-1] of MQTT 3.1.1, [MQTT-4.7.0-1].
func validName(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	for _, c := range b {
		if c == '+' || c == '#' {
			return false
		}
	}
	return true
}

// checkText refuses a string that its field cannot hold.
func checkText(t PacketType, field, s string) error {
	if len(s) > 0xffff {
		return bad(t, field, ErrTooLong)
	}
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return bad(t, field, ErrString)
	}
	return nil
}

// checkName refuses a string that cannot be the topic of a message.
func checkName(t PacketType, field, s string) error {
	if s == "" || strings.IndexByte(s, '+') >= 0 || strings.IndexByte(s, '#') >= 0 {
		return bad(t, field, ErrTopic)
	}
	return checkText(t, field, s)
}

func appendU16(dst []byte, v uint16) []byte { return append(dst, byte(v>>8), byte(v)) }

func appendU32(dst []byte, v uint32) []byte {
	return append(dst, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// appendVarint appends a variable byte integer of at most MaxLength.
func appendVarint(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func varintSize(v int) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	}
	return 4
}

// appendField appends two length bytes and s, whose length was checked.
func appendField[S string | []byte](dst []byte, s S) []byte {
	return append(appendU16(dst, uint16(len(s))), s...)
}

// checkVersion refuses to encode for a version this package does not speak.
func checkVersion(t PacketType, v Version) error {
	if v != V31 && v != V311 && v != V5 {
		return bad(t, "version", ErrUnsupported)
	}
	return nil
}
