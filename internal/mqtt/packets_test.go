package mqtt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// good lists one or more packets of each type with their annotated bytes.
var good = []struct {
	name   string
	v      Version
	hex    string
	packet any
}{
	{"CONNECT 3.1.1", V311,
		"10 10" + // type 1, 16 bytes
			"0004 4d515454 04" + // MQTT, level 4
			"02 003c" + // clean session, keep alive 60 s
			"0004 6d312e61", // m1.a
		Connect{Version: V311, Clean: true, KeepAlive: 60, ClientID: "m1.a"}},
	{"CONNECT 3.1 of a bridge", V31,
		"10 10" + "0006 4d5149736470 83" + // MQIsdp, level 3 and the bridge bit
			"00 000a" + "0002 4337", // C7
		Connect{Version: V31, Bridge: true, KeepAlive: 10, ClientID: "C7"}},
	{"CONNECT with everything", V311,
		"10 1d" + "0004 4d515454 84" +
			"f6 0000" + // user, password, will retain, will QoS 2, will, clean
			"0001 6d" + // client id
			"0003 772f78 0002 00ff" + // will topic w/x, will message
			"0001 75 0002 ff00", // user u, password
		Connect{Version: V311, Bridge: true, Clean: true, ClientID: "m",
			Will:        &Will{Topic: "w/x", Payload: []byte{0, 255}, QoS: 2, Retain: true},
			HasUsername: true, Username: "u", HasPassword: true, Password: []byte{255, 0}}},
	{"CONNACK", V311, "20 02 00 00", Connack{}},
	{"CONNACK session present", V311, "20 02 01 00", Connack{SessionPresent: true}},
	{"CONNACK refused", V311, "20 02 00 05", Connack{Code: NotAuthorized}},
	{"PUBLISH QoS 0", V311, "30 05" + "0003 612f62", Publish{Topic: "a/b", Payload: []byte{}}},
	{"PUBLISH QoS 1 again", V311, "3b 09" + "0003 612f62" + "0102" + "2a 2b",
		Publish{Dup: true, QoS: 1, Retain: true, Topic: "a/b", PacketID: 258, Payload: []byte{42, 43}}},
	{"PUBLISH QoS 2", V31, "34 06" + "0001 61" + "ffff" + "01",
		Publish{QoS: 2, Topic: "a", PacketID: 65535, Payload: []byte{1}}},
	{"PUBACK", V311, "40 02 0001", Puback{PacketID: 1}},
	{"PUBREC", V311, "50 02 0002", Pubrec{PacketID: 2}},
	{"PUBREL", V311, "62 02 0003", Pubrel{PacketID: 3}},
	{"PUBCOMP", V311, "70 02 0004", Pubcomp{PacketID: 4}},
	{"SUBSCRIBE", V311, "82 0c" + "000a" + "0003 612f2b 01" + "0001 23 02",
		Subscribe{PacketID: 10, Subscriptions: []Subscription{{Filter: "a/+", QoS: 1}, {Filter: "#", QoS: 2}}}},
	{"SUBACK", V311, "90 06" + "000a" + "00 01 02 80", Suback{PacketID: 10, Codes: []byte{0, 1, 2, 0x80}}},
	{"UNSUBSCRIBE", V311, "a2 0a" + "000b" + "0003 612f2b" + "0001 23", Unsubscribe{PacketID: 11, Filters: []string{"a/+", "#"}}},
	{"UNSUBACK", V311, "b0 02 000b", Unsuback{PacketID: 11}},
	{"PINGREQ", V311, "c0 00", bare{PINGREQ}},
	{"PINGRESP", V311, "d0 00", bare{PINGRESP}},
	{"DISCONNECT", V311, "e0 00", Disconnect{}},
}

func TestPackets(t *testing.T) {
	for _, tt := range append(good, good5...) {
		b := unhex(t, tt.hex)
		got, size, err := decodeAny(tt.v, b)
		if err != nil || size != len(b) || !reflect.DeepEqual(got, tt.packet) {
			t.Errorf("%s: read %+v, size %d, %v; want %+v", tt.name, got, size, err, tt.packet)
		}
		again, err := encodeAny(tt.v, tt.packet)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: written %x, %v; want %x", tt.name, again, err, b)
		}
	}
}

// TestTruncated cuts every packet at every byte: as a stream it asks for more,
// and with its length corrected to the cut it is refused or says less.
func TestTruncated(t *testing.T) {
	for _, tt := range append(good, good5...) {
		b := unhex(t, tt.hex)
		for n := range b {
			if p, size, err := decodeAny(tt.v, b[:n]); err != nil || size != 0 {
				t.Errorf("%s cut to %d: %v, %d, %v", tt.name, n, p, size, err)
			}
		}
		for n := 2; n < len(b); n++ {
			cut := bytes.Clone(b[:n])
			cut[1] = byte(n - 2)
			p, _, err := decodeAny(tt.v, cut)
			if err == nil && !shorterIsFine(p) {
				t.Errorf("%s with %d bytes of body: read as %+v", tt.name, n-2, p)
			}
		}
	}
}

// shorterIsFine: a payload or a list ends where the packet ends.
func shorterIsFine(p any) bool {
	switch p := p.(type) {
	case Publish, Subscribe, Suback, Unsubscribe, Unsuback:
		return true
	case Puback: // of MQTT 5: without properties, without a reason
		return p.Properties == nil
	case Pubrec:
		return p.Properties == nil
	case Pubrel:
		return p.Properties == nil
	case Pubcomp:
		return p.Properties == nil
	case Disconnect:
		return p.Properties == nil
	case Auth:
		return p.Properties == nil
	}
	return false
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		v    Version
		hex  string
		want error
	}{
		{"type 0", V311, "00 00", ErrType},
		{"AUTH before MQTT 5 [MQTT-2.2.1]", V311, "f0 00", ErrType},
		{"length of five bytes [2.2.3]", V311, "30 ff ff ff ff 01", ErrLength},
		{"CONNECT flags [MQTT-2.2.2-2]", V311, "11 0c 0004 4d515454 04 02 003c 0000", ErrFlags},
		{"CONNECT too short", V311, "10 0b 0004 4d515454 04 02 003c 00", ErrLength},
		{"CONNECT protocol name [MQTT-3.1.2-1]", V311, "10 0c 0004 4d515455 04 02 003c 0000", ErrProtocolName},
		{"CONNECT level 6 [MQTT-3.1.2-2]", V311, "10 0c 0004 4d515454 06 02 003c 0000", ErrUnsupported},
		{"CONNECT level of the other name", V311, "10 0c 0004 4d515454 03 02 003c 0000", ErrUnsupported},
		{"CONNECT reserved flag [MQTT-3.1.2-3]", V311, "10 0c 0004 4d515454 04 03 003c 0000", ErrFlags},
		{"CONNECT will QoS 3 [MQTT-3.1.2-14]", V311, "10 12 0004 4d515454 04 1e 003c 0000 0001 77 0001 78", ErrQoS},
		{"CONNECT will QoS without will [MQTT-3.1.2-13]", V311, "10 0c 0004 4d515454 04 0a 003c 0000", ErrFlags},
		{"CONNECT will retain without will [MQTT-3.1.2-15]", V311, "10 0c 0004 4d515454 04 22 003c 0000", ErrFlags},
		{"CONNECT password alone [MQTT-3.1.2-22]", V311, "10 0f 0004 4d515454 04 42 003c 0000 0001 70", ErrFlags},
		{"CONNECT user name missing", V311, "10 0c 0004 4d515454 04 82 003c 0000", ErrTruncated},
		{"CONNECT will topic with wildcard", V311, "10 12 0004 4d515454 04 06 003c 0000 0001 23 0001 78", ErrTopic},
		{"CONNECT will topic empty", V311, "10 11 0004 4d515454 04 06 003c 0000 0000 0001 78", ErrTopic},
		{"CONNECT client id no UTF-8 [MQTT-3.1.3-4]", V311, "10 0d 0004 4d515454 04 02 003c 0001 ff", ErrString},
		{"CONNECT client id U+0000 [MQTT-1.5.3-2]", V311, "10 0d 0004 4d515454 04 02 003c 0001 00", ErrString},
		{"CONNECT client id surrogate [MQTT-1.5.3-1]", V311, "10 0f 0004 4d515454 04 02 003c 0003 eda080", ErrString},
		{"CONNECT trailing byte", V311, "10 0d 0004 4d515454 04 02 003c 0000 00", ErrTrailing},
		{"CONNACK flags", V311, "20 02 02 00", ErrFlags},
		{"CONNACK session with refusal [MQTT-3.2.2-4]", V311, "20 02 01 05", ErrFlags},
		{"CONNACK length", V311, "20 03 00 00 00", ErrLength},
		{"PUBLISH QoS 3 [MQTT-3.3.1-4]", V311, "36 06 0001 61 0001 00", ErrQoS},
		{"PUBLISH DUP at QoS 0 [MQTT-3.3.1-2]", V311, "38 03 0001 61", ErrFlags},
		{"PUBLISH no topic [MQTT-4.7.3-1]", V311, "30 03 0000 61", ErrTopic},
		{"PUBLISH + [MQTT-3.3.2-2]", V311, "30 05 0003 612f2b", ErrTopic},
		{"PUBLISH # [MQTT-3.3.2-2]", V311, "30 05 0003 612f23", ErrTopic},
		{"PUBLISH U+0000 [MQTT-1.5.3-2]", V311, "30 05 0003 610062", ErrString},
		{"PUBLISH no UTF-8 [MQTT-3.3.2-1]", V311, "30 05 0003 61c062", ErrString},
		{"PUBLISH packet id 0 [MQTT-2.3.1-1]", V311, "32 05 0001 61 0000", ErrPacketID},
		{"PUBLISH without packet id", V311, "32 04 0001 61 00", ErrTruncated},
		{"PUBLISH topic too long for packet", V311, "30 05 ffff 612f23", ErrTruncated},
		{"PUBACK id 0", V311, "40 02 0000", ErrPacketID},
		{"PUBACK flags", V311, "42 02 0001", ErrFlags},
		{"PUBACK of MQTT 5", V311, "40 03 0001 00", ErrLength},
		{"PUBREC id 0", V311, "50 02 0000", ErrPacketID},
		{"PUBREL flags [MQTT-3.6.1-1]", V311, "60 02 0001", ErrFlags},
		{"PUBREL DUP is for 3.1 only", V311, "6a 02 0001", ErrFlags},
		{"PUBCOMP short", V311, "70 01 01", ErrLength},
		{"SUBSCRIBE flags [MQTT-3.8.1-1]", V311, "80 06 0001 0001 61 00", ErrFlags},
		{"SUBSCRIBE DUP is for 3.1 only", V311, "8a 06 0001 0001 61 00", ErrFlags},
		{"SUBSCRIBE id 0 [MQTT-2.3.1-1]", V311, "82 06 0000 0001 61 00", ErrPacketID},
		{"SUBSCRIBE nothing [MQTT-3.8.3-3]", V311, "82 02 0001", ErrLength},
		{"SUBSCRIBE without QoS", V311, "82 06 0001 0002 6162", ErrTruncated},
		{"SUBSCRIBE QoS 3 [MQTT-3.8.3-4]", V311, "82 06 0001 0001 61 03", ErrQoS},
		{"SUBSCRIBE reserved bits [MQTT-3.8.3-4]", V311, "82 06 0001 0001 61 05", ErrQoS},
		{"SUBSCRIBE empty filter [MQTT-4.7.3-1]", V311, "82 06 0001 0000 01 00", ErrTopic},
		{"SUBSCRIBE filter U+0000", V311, "82 06 0001 0001 00 00", ErrString},
		{"SUBACK code [MQTT-3.9.3-2]", V311, "90 03 0001 03", ErrCode},
		{"SUBACK nothing", V311, "90 02 0001", ErrLength},
		{"UNSUBSCRIBE flags [MQTT-3.10.1-1]", V311, "a0 05 0001 0001 61", ErrFlags},
		{"UNSUBSCRIBE nothing [MQTT-3.10.3-2]", V311, "a2 02 0001", ErrLength},
		{"UNSUBSCRIBE empty filter", V311, "a2 05 0001 0000 61", ErrTopic},
		{"UNSUBACK id 0", V311, "b0 02 0000", ErrPacketID},
		{"PINGREQ with a body", V311, "c0 01 00", ErrLength},
		{"PINGREQ flags", V311, "c1 00", ErrFlags},
		{"PINGRESP flags", V311, "d2 00", ErrFlags},
		{"DISCONNECT flags [MQTT-3.14.1-1]", V311, "e1 00", ErrFlags},
		{"DISCONNECT with a reason of MQTT 5", V311, "e0 01 04", ErrLength},
		{"PINGREQ of a later version", 6, "c0 00", ErrUnsupported},
	}
	for _, tt := range tests {
		p, _, err := decodeAny(tt.v, unhex(t, tt.hex))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v; want %v", tt.name, p, err, tt.want)
		}
	}
}

// TestOlderClients holds MQTT 3.1 to what only it allows.
func TestOlderClients(t *testing.T) {
	tests := []struct {
		name, hex string
		want      any
	}{
		{"user name announced and missing (3.1)", "10 0e 0006 4d5149736470 03 c2 003c 0000",
			Connect{Version: V31, Clean: true, KeepAlive: 60}},
		{"CONNACK first byte reserved (3.2)", "20 02 01 00", Connack{}},
		{"SUBSCRIBE with DUP (3.8)", "8a 06 0001 0001 61 01", Subscribe{PacketID: 1, Subscriptions: []Subscription{{Filter: "a", QoS: 1}}}},
		{"UNSUBSCRIBE with DUP (3.10)", "aa 05 0001 0001 61", Unsubscribe{PacketID: 1, Filters: []string{"a"}}},
		{"PUBREL with DUP (3.6)", "6a 02 0001", Pubrel{PacketID: 1}},
	}
	for _, tt := range tests {
		p, _, err := decodeAny(V31, unhex(t, tt.hex))
		if err != nil || !reflect.DeepEqual(p, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, p, err)
		}
	}
}

func TestVersionError(t *testing.T) {
	for _, level := range []byte{0, 6, 0x86} {
		body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', level}, 2, 0, 60, 0, 0)
		_, err := DecodeConnect(body)
		var ve *VersionError
		if !errors.As(err, &ve) || ve.Level != level {
			t.Errorf("level %#x: %v", level, err)
		}
	}
}

func TestEncodersRefuse(t *testing.T) {
	long := strings.Repeat("x", 65536)
	tests := []struct {
		name string
		p    any
		want error
	}{
		{"CONNECT version", Connect{Version: 6}, ErrUnsupported},
		{"CONNECT client id", Connect{Version: V311, ClientID: long}, ErrTooLong},
		{"CONNECT client id text", Connect{Version: V311, ClientID: "\xff"}, ErrString},
		{"CONNECT will QoS", Connect{Version: V311, Will: &Will{Topic: "w", QoS: 3}}, ErrQoS},
		{"CONNECT will topic", Connect{Version: V311, Will: &Will{Topic: "w/#"}}, ErrTopic},
		{"CONNECT will message", Connect{Version: V311, Will: &Will{Topic: "w", Payload: []byte(long)}}, ErrTooLong},
		{"CONNECT password alone", Connect{Version: V311, HasPassword: true}, ErrFlags},
		{"CONNECT password", Connect{Version: V311, HasUsername: true, HasPassword: true, Password: []byte(long)}, ErrTooLong},
		{"CONNECT user name", Connect{Version: V311, HasUsername: true, Username: "a\x00"}, ErrString},
		{"PUBLISH topic", Publish{Topic: ""}, ErrTopic},
		{"PUBLISH topic length", Publish{Topic: long}, ErrTooLong},
		{"PUBLISH topic text", Publish{Topic: "a\x00"}, ErrString},
		{"PUBLISH QoS", Publish{Topic: "a", QoS: 3}, ErrQoS},
		{"PUBLISH id", Publish{Topic: "a", QoS: 1}, ErrPacketID},
		{"PUBLISH payload", Publish{Topic: "a", Payload: make([]byte, MaxLength)}, ErrTooLong},
		{"SUBSCRIBE id", Subscribe{Subscriptions: []Subscription{{Filter: "a"}}}, ErrPacketID},
		{"SUBSCRIBE nothing", Subscribe{PacketID: 1}, ErrEmpty},
		{"SUBSCRIBE filter", Subscribe{PacketID: 1, Subscriptions: []Subscription{{}}}, ErrTopic},
		{"SUBSCRIBE QoS", Subscribe{PacketID: 1, Subscriptions: []Subscription{{Filter: "a", QoS: 3}}}, ErrQoS},
		{"SUBACK id", Suback{Codes: []byte{0}}, ErrPacketID},
		{"SUBACK nothing", Suback{PacketID: 1}, ErrEmpty},
		{"SUBACK code", Suback{PacketID: 1, Codes: []byte{3}}, ErrCode},
		{"UNSUBSCRIBE id", Unsubscribe{Filters: []string{"a"}}, ErrPacketID},
		{"UNSUBSCRIBE nothing", Unsubscribe{PacketID: 1}, ErrEmpty},
		{"UNSUBSCRIBE filter", Unsubscribe{PacketID: 1, Filters: []string{long}}, ErrTooLong},
	}
	for _, tt := range tests {
		if b, err := encodeAny(V311, tt.p); !errors.Is(err, tt.want) || len(b) != 0 {
			t.Errorf("%s: %d bytes, %v; want %v", tt.name, len(b), err, tt.want)
		}
	}
}

func TestFixedHeader(t *testing.T) {
	for _, tt := range []struct {
		length int
		hex    string
	}{
		{0, "30 00"}, {127, "30 7f"}, {128, "30 80 01"}, {16383, "30 ff 7f"}, {16384, "30 80 80 01"},
		{2097151, "30 ff ff 7f"}, {2097152, "30 80 80 80 01"}, {MaxLength, "30 ff ff ff 7f"},
	} {
		b := AppendFixedHeader(nil, PUBLISH, 0, tt.length)
		if !bytes.Equal(b, unhex(t, tt.hex)) || HeaderSize(tt.length) != len(b) {
			t.Errorf("length %d: %x, size %d", tt.length, b, HeaderSize(tt.length))
		}
		h, n, err := ParseFixedHeader(b)
		if err != nil || n != len(b) || h.Length != tt.length {
			t.Errorf("length %d read as %+v, %d, %v", tt.length, h, n, err)
		}
	}
}

func TestPublishSize(t *testing.T) {
	for _, n := range []int{0, 100, 125, 126, 20000} {
		for qos := byte(0); qos < 3; qos++ {
			b, err := AppendPublish(nil, V311, &Publish{QoS: qos, PacketID: 9, Topic: "a/b", Payload: make([]byte, n)})
			if got := PublishSize(V311, qos, 3, n); err != nil || got != len(b) {
				t.Errorf("payload %d, QoS %d: %d, want %d (%v)", n, qos, got, len(b), err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for p, want := range map[PacketType]string{0: "packet type 0", CONNECT: "CONNECT", UNSUBSCRIBE: "UNSUBSCRIBE", AUTH: "AUTH"} {
		if p.String() != want {
			t.Errorf("%d: %q", p, p.String())
		}
	}
	for v, want := range map[Version]string{V31: "3.1", V311: "3.1.1", V5: "5", 9: "level 9"} {
		if v.String() != want {
			t.Errorf("%d: %q", v, v.String())
		}
	}
	for c := ReturnCode(0); c < 7; c++ {
		if c.String() == "" {
			t.Errorf("code %d has no words", c)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	b, _ := AppendPublish(nil, V311, &Publish{QoS: 1, PacketID: 9, Topic: "up/meter/M1/reading", Payload: make([]byte, 60)})
	dst := make([]byte, 0, 256)
	p := Publish{QoS: 1, PacketID: 9, Topic: "up/meter/M1/reading", Payload: b}
	n := testing.AllocsPerRun(100, func() {
		h, n, _ := ParseFixedHeader(b)
		if h.Check(V311) != nil {
			t.Error("header refused")
		}
		if _, err := ParsePublish(V311, h.Flags, b[n:n+h.Length]); err != nil {
			t.Error(err)
		}
		dst, _ = AppendPublish(dst[:0], V311, &p)
		dst = AppendPuback(dst, V311, Puback{PacketID: 7})
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
