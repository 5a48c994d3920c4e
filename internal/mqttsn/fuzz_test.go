package mqttsn

import (
	"bytes"
	"testing"
)

// FuzzDecode: no input panics, and what is accepted is written and read again as the same message.
func FuzzDecode(f *testing.F) {
	v := readVectors(f)
	for _, m := range append(v.Valid, v.Invalid...) {
		f.Add(unhex(f, m.Hex))
	}
	for _, g := range good {
		f.Add(octets(f, g.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := m.Append(nil)
		if err != nil {
			t.Fatalf("%x read as %+v cannot be written: %v", b, m, err)
		}
		n, err := Decode(again)
		if err != nil || !equal(m, n) {
			t.Fatalf("%x: %+v written as %x: %+v, %v", b, m, again, n, err)
		}
		if !bytes.Equal(before, b) {
			t.Fatalf("%x was changed into %x", before, b)
		}
	})
}

// FuzzAppend builds messages from their fields: what is written is read as the same, and an error leaves nothing.
func FuzzAppend(f *testing.F) {
	f.Add(byte(CONNECT), byte(0x0c), uint16(60), uint16(1), "M1", []byte("gone"))
	f.Add(byte(PUBLISH), byte(0xb1), uint16(2), uint16(3), "", make([]byte, 300))
	f.Add(byte(SUBSCRIBE), byte(0x20), uint16(0x6162), uint16(3), "a/#", []byte(nil))
	f.Add(byte(FORWARD), byte(3), uint16(0), uint16(0), "\x0a\x0b", []byte{2, 0x17})
	f.Fuzz(func(t *testing.T, typ, flags byte, x, y uint16, s string, p []byte) {
		q := QoS(flags>>5&7) - 2
		var m Message
		switch MsgType(typ) {
		case GWINFO:
			m = Gwinfo{flags, p}
		case CONNECT:
			m = Connect{flags&1 > 0, flags&2 > 0, x, s}
		case WILLTOPIC:
			m = Willtopic{q, flags&1 > 0, s}
		case WILLMSG:
			m = Willmsg{p}
		case REGISTER:
			m = Register{x, y, s}
		case PUBLISH:
			m = Publish{flags&4 > 0, q, flags&8 > 0, TopicType(flags & 3), x, y, p}
		case SUBSCRIBE:
			m = Subscribe{flags&4 > 0, q, TopicType(flags & 3), x, s, y}
		case UNSUBSCRIBE:
			m = Unsubscribe{TopicType(flags & 3), x, s, y}
		case SUBACK:
			m = Suback{q, x, y, ReturnCode(flags)}
		case PINGREQ:
			m = Pingreq{s}
		case DISCONNECT:
			m = Disconnect{x}
		case FORWARD:
			m = Forward{flags, []byte(s), p}
		default:
			return
		}
		b, err := m.Append([]byte("before"))
		if err != nil {
			if string(b) != "before" {
				t.Fatalf("an error left %q", b)
			}
			return
		}
		n, err := Decode(b[6:])
		if err != nil || !equal(m, n) {
			t.Fatalf("%+v came back as %+v, %v", m, n, err)
		}
	})
}
