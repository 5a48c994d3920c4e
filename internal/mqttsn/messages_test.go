package mqttsn

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// good is every message, annotated octet by octet.
var good = []struct {
	hex string
	m   Message
}{
	{"05 00  07        gateway 7\n" +
		"        03 84     900 s to the next", Advertise{GwID: 7, Duration: 900}},
	{"03 01  02        radius 2", Searchgw{Radius: 2}},
	{"03 02  07        gateway 7", Gwinfo{GwID: 7}},
	{"06 02  07        gateway 7\n" +
		"        02 c0 a8  address of two octets", Gwinfo{GwID: 7, Address: []byte{0xc0, 0xa8}}},
	{"08 04  0c        will, clean\n" +
		"        01        protocol 1\n" +
		"        00 3c     = 60 s\n" +
		"        4d 31     M1", Connect{Will: true, Clean: true, Duration: 60, ClientID: "M1"}},
	{"03 05  01        congestion", Connack{Code: Congestion}},
	{"02 06", Willtopicreq{}},
	{"05 07  30        QoS 1, retain\n" +
		"        77 2f     w/", Willtopic{QoS: 1, Retain: true, Topic: "w/"}},
	{"02 07            delete", Willtopic{}},
	{"02 08", Willmsgreq{}},
	{"04 09  de ad     payload", Willmsg{Payload: []byte{0xde, 0xad}}},
	{"02 09            of nothing", Willmsg{}},
	{"09 0a  00 05     topic id 5\n" +
		"        00 02     message 2\n" +
		"        61 2f 62  a/b", Register{TopicID: 5, MsgID: 2, Topic: "a/b"}},
	{"07 0b  00 05     topic id 5\n" +
		"        00 02     message 2\n" +
		"        02        invalid topic id", Regack{TopicID: 5, MsgID: 2, Code: InvalidTopicID}},
	{"08 0c  b1        dup, QoS 1, retain, predefined\n" +
		"        00 02     topic id 2\n" +
		"        00 03     message 3\n" +
		"        aa        payload", Publish{Dup: true, QoS: 1, Retain: true, TopicType: Predefined, TopicID: 2, MsgID: 3, Payload: []byte{0xaa}}},
	{"07 0c  62        QoS -1, short\n" +
		"        61 62     = ab\n" +
		"        00 00     no message id", Publish{QoS: -1, TopicType: Short, TopicID: 0x6162}},
	{"07 0d  00 02  00 03  03", Puback{TopicID: 2, MsgID: 3, Code: NotSupported}},
	{"04 0e  00 03", Pubcomp{MsgID: 3}},
	{"04 0f  00 03", Pubrec{MsgID: 3}},
	{"04 10  00 03", Pubrel{MsgID: 3}},
	{"08 12  a0        dup, QoS 1, by name\n" +
		"        00 04     message 4\n" +
		"        61 2f 23  a/#", Subscribe{Dup: true, QoS: 1, MsgID: 4, Topic: "a/#"}},
	{"07 12  41        QoS 2, predefined\n" +
		"        00 04     message 4\n" +
		"        00 82     topic id 0x82", Subscribe{QoS: 2, TopicType: Predefined, MsgID: 4, TopicID: 0x82}},
	{"08 13  20        granted QoS 1\n" +
		"        00 05     topic id 5\n" +
		"        00 04     message 4\n" +
		"        00        accepted", Suback{QoS: 1, TopicID: 5, MsgID: 4}},
	{"08 14  00 00 04 61 2f 23", Unsubscribe{MsgID: 4, Topic: "a/#"}},
	{"07 14  02 00 04 61 62", Unsubscribe{TopicType: Short, MsgID: 4, TopicID: 0x6162}},
	{"04 15  00 04", Unsuback{MsgID: 4}},
	{"02 16", Pingreq{}},
	{"04 16  4d 31     M1", Pingreq{ClientID: "M1"}},
	{"02 17", Pingresp{}},
	{"02 18", Disconnect{}},
	{"04 18  07 08     1800 s", Disconnect{Duration: 1800}},
	{"05 1a  40 77 2f", Willtopicupd{QoS: 2, Topic: "w/"}},
	{"02 1a            delete", Willtopicupd{}},
	{"03 1b  00", Willtopicresp{}},
	{"03 1c  aa", Willmsgupd{Payload: []byte{0xaa}}},
	{"03 1d  03", Willmsgresp{Code: NotSupported}},
	{"05 fe  01        radius 1\n" +
		"        0a 0b     node\n" +
		"        02 17     PINGRESP", Forward{Radius: 1, NodeID: []byte{10, 11}, Message: []byte{2, 0x17}}},
	{"03 fe  00 02 17  a node without an id", Forward{Message: []byte{2, 0x17}}},
}

// octets takes the hex digits of an annotated line: groups of two, up to the first word.
func octets(tb testing.TB, annotated string) (b []byte) {
	for line := range strings.Lines(annotated) {
		for _, f := range strings.Fields(line) {
			if len(f) != 2 || strings.Trim(f, "0123456789abcdef") != "" {
				break
			}
			b = append(b, unhex(tb, f)...)
		}
	}
	return b
}

func TestAnnotated(t *testing.T) {
	seen := map[MsgType]bool{}
	for _, tt := range good {
		b := octets(t, tt.hex)
		seen[tt.m.Type()] = true
		if got, err := tt.m.Append([]byte("before")); err != nil || !bytes.Equal(got, append([]byte("before"), b...)) {
			t.Errorf("%+v written as %x, %v; want %x", tt.m, got, err, b)
		}
		if m, err := Decode(b); err != nil || !equal(m, tt.m) {
			t.Errorf("%x read as %+v, %v; want %+v", b, m, err, tt.m)
		}
	}
	for typ := range MsgType(0xff) {
		if typ.known() != seen[typ] {
			t.Errorf("%s: known %v, tested %v", typ, typ.known(), seen[typ])
		}
	}
}

// TestTruncated cuts every message at every octet, with the length as it was and with the length set right. Where what is
// left is a message it is read as what it says; nothing panics, and no part of a field is taken for a whole one.
func TestTruncated(t *testing.T) {
	for _, tt := range good {
		b := octets(t, tt.hex)
		for n := range len(b) {
			if m, err := Decode(b[:n]); err == nil && tt.m.Type() != FORWARD {
				t.Errorf("%x read as %+v", b[:n], m)
			}
			if n < 2 || tt.m.Type() == FORWARD {
				continue
			}
			cut := bytes.Clone(b[:n])
			cut[0] = byte(n)
			m, err := Decode(cut)
			if err != nil {
				continue
			}
			if again, err := m.Append(nil); err != nil || !bytes.Equal(again, cut) && len(again) > len(cut) {
				t.Errorf("%x read as %+v, written as %x, %v", cut, m, again, err)
			}
		}
	}
}

// TestTrailing adds octets to the messages that end with a field of fixed size.
func TestTrailing(t *testing.T) {
	tested := 0
	for _, tt := range good {
		switch m := tt.m.(type) {
		case Gwinfo, Connect, Willtopic, Willmsg, Willtopicupd, Willmsgupd, Register, Publish, Pingreq, Forward: // end with what is left
			continue
		case Willtopicresp, Willmsgresp: // there is a broker that sends more
			continue
		case Subscribe:
			if m.TopicType == Normal {
				continue
			}
		case Unsubscribe:
			if m.TopicType == Normal {
				continue
			}
		}
		tested++
		b := append(octets(t, tt.hex), 'x', 'y', 'z')
		b[0] += 3
		if _, err := Decode(b); !errors.Is(err, ErrTrailing) {
			t.Errorf("%x: %v", b, err)
		}
	}
	if tested != 17 {
		t.Errorf("%d messages", tested)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want error
	}{
		{"", ErrTruncated}, {"01", ErrTruncated}, {"01 00 04", ErrTruncated},
		{"06 04 00 01 00 3c", ErrEmpty}, // no client id
		{"07 04 00 01 00 3c 00", ErrString},
		{"07 04 00 01 00 3c ff", ErrString},
		{"07 04 00 02 00 3c 4d", ErrProtocolID},
		{"04 07 60 77", ErrQoS}, {"04 1a 60 77", ErrQoS},
		{"06 0a 00 05 00 02", ErrEmpty},
		{"07 0a 00 05 00 00 61", ErrMsgID},
		{"07 0c 20 00 01 00 00", ErrMsgID},
		{"07 0c 60 00 01 00 00", ErrTopicType}, // QoS -1 and a registered id
		{"07 0c 03 00 01 00 00", ErrTopicType},
		{"06 0c 00 00 01 00", ErrTruncated},
		{"04 0e 00 00", ErrMsgID}, {"04 15 00 00", ErrMsgID},
		{"06 12 60 00 04 61", ErrQoS}, {"06 12 03 00 04 61", ErrTopicType},
		{"06 12 00 00 00 61", ErrMsgID}, {"05 12 00 00 04", ErrEmpty},
		{"06 12 01 00 04 61", ErrTruncated}, {"08 12 01 00 04 61 62 63", ErrTrailing},
		{"06 14 03 00 04 61", ErrTopicType},
		{"08 13 60 00 05 00 04 00", ErrQoS}, {"08 13 20 00 05 00 00 00", ErrMsgID},
		{"03 18 07", ErrTruncated}, {"05 18 07 08 09", ErrTrailing},
		{"04 02 07 00", ErrLength}, {"05 02 07 02 01", ErrLength},
		{"03 fe 00", ErrTruncated}, {"03 fe 00 02", ErrTruncated},
		{"03 fe 00 03 fe 00 02 17", ErrNested},
		{"03 fe 00 01 00 04 fe", ErrNested},
		{"01 00 05 fe 00 02 17", ErrLength},
		{"09 fe 00 02 17", ErrLength},
	} {
		if m, err := Decode(octets(t, tt.hex)); !errors.Is(err, tt.want) || m != nil {
			t.Errorf("%s: %+v, %v; want %v", tt.hex, m, err, tt.want)
		}
	}
}

func TestNotWritten(t *testing.T) {
	long := strings.Repeat("x", MaxLength)
	for _, tt := range []struct {
		m    Message
		want error
	}{
		{Gwinfo{Address: make([]byte, 256)}, ErrTooLong},
		{Connect{}, ErrEmpty}, {Connect{ClientID: "\xff"}, ErrString}, {Connect{ClientID: long}, ErrTooLong},
		{Willtopic{QoS: -1, Topic: "w"}, ErrQoS}, {Willtopic{QoS: 3, Topic: "w"}, ErrQoS}, {Willtopicupd{Topic: "\x00"}, ErrString},
		{Willmsg{Payload: []byte(long)}, ErrTooLong}, {Willmsgupd{Payload: []byte(long)}, ErrTooLong},
		{Register{Topic: "a"}, ErrMsgID}, {Register{MsgID: 1}, ErrEmpty},
		{Publish{QoS: 1}, ErrMsgID}, {Publish{QoS: 3, MsgID: 1}, ErrQoS}, {Publish{QoS: -2}, ErrQoS},
		{Publish{QoS: -1}, ErrTopicType}, {Publish{TopicType: 3}, ErrTopicType}, {Publish{Payload: []byte(long)}, ErrTooLong},
		{Pubrec{}, ErrMsgID}, {Pubrel{}, ErrMsgID}, {Pubcomp{}, ErrMsgID}, {Unsuback{}, ErrMsgID},
		{Subscribe{Topic: "a"}, ErrMsgID}, {Subscribe{MsgID: 1}, ErrEmpty}, {Subscribe{QoS: -1, MsgID: 1, Topic: "a"}, ErrQoS},
		{Subscribe{MsgID: 1, TopicType: 3}, ErrTopicType}, {Unsubscribe{MsgID: 1, TopicType: 3}, ErrTopicType},
		{Suback{QoS: -1, MsgID: 1}, ErrQoS}, {Suback{}, ErrMsgID},
		{Pingreq{ClientID: "\x00"}, ErrString},
		{Forward{Message: []byte{2}}, ErrTruncated}, {Forward{Message: []byte{3, 0xfe, 0, 2, 0x17}}, ErrNested},
		{Forward{Radius: 4, Message: []byte{2, 0x17}}, ErrTooLong}, {Forward{NodeID: make([]byte, 253), Message: []byte{2, 0x17}}, ErrTooLong},
		{Forward{Message: make([]byte, MaxLength+1)}, ErrTooLong},
	} {
		if b, err := tt.m.Append([]byte("before")); !errors.Is(err, tt.want) || string(b) != "before" {
			t.Errorf("%T: %.20q, %v; want %v", tt.m, b, err, tt.want)
		}
	}
}

// TestLengthForms: 255 octets fit the short form and are accepted in either; 256 would be 0 in the short form.
func TestLengthForms(t *testing.T) {
	for _, tt := range []struct {
		payload int
		head    string
		total   int
	}{{248, "ff 0c", 255}, {249, "01 01 02 0c", 258}, {MaxLength - 9, "01 ff ff 0c", MaxLength}} {
		b, err := Publish{Payload: make([]byte, tt.payload)}.Append(nil)
		if err != nil || !bytes.HasPrefix(b, octets(t, tt.head)) || len(b) != tt.total || len(b) != PublishSize(tt.payload) {
			t.Errorf("payload of %d: %d octets %.8x, %v", tt.payload, len(b), b, err)
		}
		if m, err := Decode(b); err != nil || len(m.(Publish).Payload) != tt.payload {
			t.Errorf("payload of %d: %v", tt.payload, err)
		}
	}
	long := append(octets(t, "01 00 ff 0c 00 00 01 00 00"), make([]byte, 246)...)
	if m, err := Decode(long); err != nil || len(m.(Publish).Payload) != 246 {
		t.Errorf("255 in the long form: %v", err)
	}
	if _, err := Decode(append([]byte{0}, long[3:]...)); !errors.Is(err, ErrLength) {
		t.Errorf("length 0: %v", err)
	}
}

// TestTolerance: what other implementations send, see docs/interpretation.md.
func TestTolerance(t *testing.T) {
	for hex, want := range map[string]Message{
		"03 07 20":             Willtopic{},                          // flags but no topic: delete
		"03 1a 20":             Willtopicupd{},                       //
		"05 1b 00 00 01":       Willtopicresp{},                      // RSMB's layout
		"05 1d 00 00 01":       Willmsgresp{},                        //
		"04 18 00 00":          Disconnect{},                         // a sleep of no time
		"07 0c 80 00 01 00 07": Publish{TopicID: 1},                  // DUP and message id at QoS 0
		"07 0c 0c 00 01 00 00": Publish{TopicID: 1},                  // bits it does not use
		"07 04 f3 01 00 3c 4d": Connect{Duration: 60, ClientID: "M"}, //
	} {
		b := octets(t, hex)
		if m, err := Decode(b); err != nil || !equal(m, want) {
			t.Errorf("%s: %+v, %v; want %+v", hex, m, err, want)
		}
	}
}

func TestShortNames(t *testing.T) {
	for _, name := range []string{"", "a", "abc", "a+", "#a", "a ", "ä", "a\x00"} {
		if id, ok := ShortID(name); ok {
			t.Errorf("%q is %04x", name, id)
		}
	}
	if _, ok := ShortName(0x2b61); ok {
		t.Error("a name with a wildcard")
	}
}

func TestStrings(t *testing.T) {
	for got, want := range map[string]string{
		PUBREL.String(): "PUBREL", MsgType(3).String(): "message type 0x3", FORWARD.String(): "encapsulated message",
		Accepted.String(): "accepted", ReturnCode(0x80).String(): "rejected: code 128",
		bad(CONNECT, "client id", ErrEmpty).Error(): "CONNECT: client id: field must not be empty",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	m := Publish{QoS: 1, TopicType: Predefined, TopicID: 2, MsgID: 3, Payload: make([]byte, 32)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = m.Append(buf[:0])
		h, err := ParseHeader(buf)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := DecodePublish(buf[h.Size:h.Length]); err != nil {
			b.Fatal(err)
		}
	}
}
