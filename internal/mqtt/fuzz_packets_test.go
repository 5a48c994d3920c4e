package mqtt

import (
	"encoding/hex"
	"reflect"
	"testing"
)

// fuzzPacket fuzzes the body and the flags of one type of packet, for each version:
// nothing panics, nothing is taken that was not read to its end, and what is accepted
// is written and read again as the same value.
func fuzzPacket(f *testing.F, kind PacketType) {
	add := func(v Version, b []byte) {
		h, n, err := ParseFixedHeader(b)
		if err != nil || n == 0 || h.Type != kind || len(b) < n+h.Length {
			return
		}
		for _, other := range []Version{V31, V311, V5} { // the same bytes mean something else there
			f.Add(byte(other), h.Flags, b[n:n+h.Length])
		}
		for cut := range h.Length {
			f.Add(byte(v), h.Flags, b[n:n+cut])
		}
	}
	for _, tt := range append(good, good5...) {
		add(tt.v, unhex(f, tt.hex))
	}
	for v, packets := range readVectors(f) {
		for _, vec := range packets {
			b, err := hex.DecodeString(vec.Hex)
			if err != nil {
				f.Fatal(err)
			}
			add(v, b)
		}
	}
	f.Fuzz(func(t *testing.T, version, flags byte, body []byte) {
		v := Version(version)
		if len(body) > MaxLength {
			return
		}
		b := append(AppendFixedHeader(nil, kind, flags&15, len(body)), body...)
		p, size, err := decodeAny(v, b)
		if err != nil {
			return
		}
		if size != len(b) {
			t.Fatalf("size %d of %d bytes", size, len(b))
		}
		again, err := encodeAny(v, p)
		if err != nil {
			t.Fatalf("%x read as %+v cannot be written: %v", b, p, err)
		}
		q, n, err := decodeAny(v, again)
		if err != nil || n != len(again) || !reflect.DeepEqual(p, q) {
			t.Fatalf("%x: %+v written as %x: %+v, %v", b, p, again, q, err)
		}
	})
}

func FuzzPacketConnect(f *testing.F)     { fuzzPacket(f, CONNECT) }
func FuzzPacketConnack(f *testing.F)     { fuzzPacket(f, CONNACK) }
func FuzzPacketPublish(f *testing.F)     { fuzzPacket(f, PUBLISH) }
func FuzzPacketPuback(f *testing.F)      { fuzzPacket(f, PUBACK) }
func FuzzPacketPubrec(f *testing.F)      { fuzzPacket(f, PUBREC) }
func FuzzPacketPubrel(f *testing.F)      { fuzzPacket(f, PUBREL) }
func FuzzPacketPubcomp(f *testing.F)     { fuzzPacket(f, PUBCOMP) }
func FuzzPacketSubscribe(f *testing.F)   { fuzzPacket(f, SUBSCRIBE) }
func FuzzPacketSuback(f *testing.F)      { fuzzPacket(f, SUBACK) }
func FuzzPacketUnsubscribe(f *testing.F) { fuzzPacket(f, UNSUBSCRIBE) }
func FuzzPacketUnsuback(f *testing.F)    { fuzzPacket(f, UNSUBACK) }
func FuzzPacketPingreq(f *testing.F)     { fuzzPacket(f, PINGREQ) }
func FuzzPacketPingresp(f *testing.F)    { fuzzPacket(f, PINGRESP) }
func FuzzPacketDisconnect(f *testing.F)  { fuzzPacket(f, DISCONNECT) }
func FuzzPacketAuth(f *testing.F)        { fuzzPacket(f, AUTH) }
