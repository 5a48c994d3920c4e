package mqtt

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
)

// FuzzDecode: no input panics, nothing is read beyond the packet, and what is
// accepted is written and read again as the same value.
func FuzzDecode(f *testing.F) {
	for _, tt := range append(good, good5...) {
		f.Add(byte(tt.v), unhex(f, tt.hex))
	}
	for v, packets := range readVectors(f) {
		for _, vec := range packets {
			b, err := hex.DecodeString(vec.Hex)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(v), b)
		}
	}
	f.Fuzz(func(t *testing.T, version byte, b []byte) {
		v := Version(version)
		p, size, err := decodeAny(v, b)
		if err != nil || size == 0 {
			return
		}
		if size > len(b) {
			t.Fatalf("size %d of %d bytes", size, len(b))
		}
		again, err := encodeAny(v, p)
		if err != nil {
			t.Fatalf("%x read as %+v cannot be written: %v", b[:size], p, err)
		}
		q, n, err := decodeAny(v, again)
		if err != nil || n != len(again) || !reflect.DeepEqual(p, q) {
			t.Fatalf("%x: %+v written as %x: %+v, %v", b[:size], p, again, q, err)
		}
	})
}

// FuzzPublish builds a PUBLISH from its fields: what the encoder takes, the
// decoder gives back.
func FuzzPublish(f *testing.F) {
	f.Add(byte(1), true, false, "up/meter/M1/reading", uint16(7), []byte("payload"))
	f.Add(byte(0), false, true, "a", uint16(0), []byte{})
	f.Add(byte(3), false, true, "a/#", uint16(0), []byte{0})
	f.Fuzz(func(t *testing.T, qos byte, dup, retain bool, topic string, id uint16, payload []byte) {
		p := Publish{Dup: dup, QoS: qos, Retain: retain, Topic: topic, PacketID: id, Payload: payload}
		b, err := AppendPublish([]byte("before"), V311, &p)
		if err != nil {
			if string(b) != "before" {
				t.Fatalf("an error left %q", b)
			}
			return
		}
		h, n, err := ParseFixedHeader(b[6:])
		if err != nil || h.Check(V311) != nil || n+h.Length != len(b)-6 {
			t.Fatalf("%x: %+v, %v", b, h, err)
		}
		if PublishSize(V311, qos, len(topic), len(payload)) != len(b)-6 {
			t.Fatalf("size of %x", b)
		}
		q, err := DecodePublish(V311, h.Flags, b[6+n:])
		if err != nil {
			t.Fatal(err)
		}
		if q.Topic != topic || q.QoS != qos || q.Retain != retain || !bytes.Equal(q.Payload, payload) ||
			qos > 0 && (q.PacketID != id || q.Dup != dup) {
			t.Fatalf("%+v came back as %+v", p, q)
		}
	})
}

// FuzzConnect does the same for CONNECT.
func FuzzConnect(f *testing.F) {
	f.Add(byte(4), byte(0xff), uint16(60), "m1", "w/t", []byte("gone"), "user", []byte("secret"))
	f.Add(byte(3), byte(0), uint16(0), "", "", []byte(nil), "", []byte(nil))
	f.Fuzz(func(t *testing.T, version, bits byte, keepAlive uint16, id, topic string, will []byte, user string, password []byte) {
		p := Connect{Version: Version(version), Bridge: bits&1 > 0, Clean: bits&2 > 0, KeepAlive: keepAlive, ClientID: id}
		if bits&4 > 0 {
			p.Will = &Will{Topic: topic, Payload: bytes.Clone(append([]byte{}, will...)), QoS: bits >> 3 & 3, Retain: bits&32 > 0}
		}
		if bits&128 > 0 {
			p.HasUsername, p.Username = true, user
		}
		if bits&64 > 0 {
			p.HasPassword, p.Password = true, append([]byte{}, password...)
		}
		b, err := AppendConnect(nil, &p)
		if err != nil {
			return
		}
		_, n, _ := ParseFixedHeader(b)
		q, err := DecodeConnect(b[n:])
		if err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v came back as %+v, %v", p, q, err)
		}
	})
}

// FuzzProperties builds properties from their fields, for every packet that has
// some: what the encoder takes, the decoder gives back, and what a server forwards
// of a PUBLISH is read as the same properties but those of the delivery.
func FuzzProperties(f *testing.F) {
	f.Add(byte(PUBLISH), uint64(Present(PropContentType, PropMessageExpiry)), uint32(60), "text", []byte{1}, uint32(1))
	f.Add(byte(CONNECT), uint64(Present(PropSessionExpiry, PropReceiveMaximum)), uint32(1), "", []byte{}, uint32(0))
	f.Add(byte(CONNACK), uint64(Present(PropAssignedClientID, PropMaximumQoS)), uint32(1), "id", []byte{}, uint32(0))
	f.Add(byte(AUTH), uint64(Present(PropAuthMethod, PropAuthData)), uint32(0), "SCRAM", []byte("x"), uint32(0))
	f.Add(byte(will), uint64(Present(PropWillDelay)), uint32(5), "", []byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, packet byte, present uint64, number uint32, text string, data []byte, id uint32) {
		p := &Properties{Present: PropertySet(present)}
		for set := p.Present; set != 0; set &= set - 1 {
			prop := set.first()
			if int(prop) >= len(propRules) {
				continue
			}
			switch propRules[prop].kind {
			case kindText:
				*p.text(prop) = text
			case kindBinary:
				*p.binary(prop) = append([]byte{}, data...)
			case kindFlag, kindU16, kindU32:
				p.setNumber(prop, number)
			}
		}
		if id > 0 {
			p.SubscriptionIDs = []uint32{id}
			p.UserProperties = []UserProperty{{text, ""}, {"", text}}
		}
		in := PacketType(packet & 15)
		n, err := p.size(in, in)
		if err != nil {
			return
		}
		b := p.append(nil, n)
		if len(b) != varintSize(n)+n {
			t.Fatalf("%x: size %d", b, n)
		}
		c := cursor{b: b, t: in}
		q := c.properties(in)
		if err := c.end(); err != nil || n > 0 && !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v came back as %+v, %v", p, q, err)
		}
		if in != PUBLISH {
			return
		}
		raw := b[varintSize(n):]
		forward := AppendForwardable(nil, raw)
		q, err = DecodeProperties(PUBLISH, forward)
		if err != nil {
			t.Fatalf("%x forwarded as %x: %v", raw, forward, err)
		}
		p.Present &^= Present(PropTopicAlias, PropMessageExpiry)
		p.TopicAlias, p.MessageExpiry, p.SubscriptionIDs = 0, 0, nil
		if len(forward) > 0 && !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v forwarded as %+v", p, q)
		}
	})
}
