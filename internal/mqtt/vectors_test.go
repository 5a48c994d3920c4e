package mqtt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/bits"
	"os"
	"reflect"
	"testing"
)

type vectorFile struct {
	Sessions []struct {
		Version     string
		Level       Version
		Connections []struct {
			Nr      int
			Packets []vectorPacket
		}
	}
}

type vectorPacket struct {
	Dir     string
	Hex     string
	Decoded struct {
		Type           string
		Clean          bool
		KeepAlive      uint16 `json:"keepalive_s"`
		ClientID       string `json:"client_id"`
		Username       string
		Password       string
		SessionPresent bool `json:"session_present"`
		Code           byte
		PacketID       uint16 `json:"packet_id"`
		Dup, Retain    bool
		QoS            byte `json:"qos"`
		Topic, Payload string
		Codes          []int
		Filters        []struct {
			Filter  string
			Options byte
		}
		Properties     [][]any
		WillProperties [][]any `json:"will_properties"`
		Will           *struct {
			Topic, Payload string
			QoS            byte `json:"qos"`
			Retain         bool
		}
	}
}

// readVectors gives the recorded sessions of the levels this package speaks.
func readVectors(tb testing.TB) map[Version][]vectorPacket {
	raw, err := os.ReadFile("testdata/mqtt-sessions.json")
	if err != nil {
		tb.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(raw, &f); err != nil {
		tb.Fatal(err)
	}
	out := map[Version][]vectorPacket{}
	for _, s := range f.Sessions {
		if s.Level != V31 && s.Level != V311 && s.Level != V5 {
			continue
		}
		for _, c := range s.Connections {
			out[s.Level] = append(out[s.Level], c.Packets...)
		}
	}
	return out
}

// TestRecordedSessions reads what Mosquitto's clients and broker said to each
// other, compares it with an independent decoder, and writes it byte for byte.
func TestRecordedSessions(t *testing.T) {
	vectors := readVectors(t)
	if len(vectors[V31]) != 28 || len(vectors[V311]) != 26 || len(vectors[V5]) != 26 {
		t.Fatalf("vectors: %d of 3.1, %d of 3.1.1, %d of 5",
			len(vectors[V31]), len(vectors[V311]), len(vectors[V5]))
	}
	for v, packets := range vectors {
		for _, vec := range packets {
			b, err := hex.DecodeString(vec.Hex)
			if err != nil {
				t.Fatal(err)
			}
			p, size, err := decodeAny(v, b)
			if err != nil || size != len(b) {
				t.Errorf("%s %s: size %d, %v", v, vec.Hex, size, err)
				continue
			}
			compareVector(t, vec, p)
			again, err := encodeAny(v, p)
			switch {
			case err == nil && bytes.Equal(again, b):
			case err == nil && v == V5: // Mosquitto writes properties in another order
				q, _, err := decodeAny(v, again)
				if err != nil || len(again) != len(b) || !reflect.DeepEqual(p, q) {
					t.Errorf("%s %s: written as %x, %v", v, vec.Hex, again, err)
				}
			default:
				t.Errorf("%s %s: written as %x, %v", v, vec.Hex, again, err)
			}
		}
	}
}

func compareVector(t *testing.T, vec vectorPacket, p any) {
	t.Helper()
	d := vec.Decoded
	ok := false
	var props *Properties
	switch p := p.(type) {
	case Connect:
		props = p.Properties
		ok = d.Type == "CONNECT" && p.Clean == d.Clean && p.KeepAlive == d.KeepAlive && p.ClientID == d.ClientID &&
			p.Username == d.Username && string(p.Password) == d.Password && (p.Will != nil) == (d.Will != nil) &&
			(p.Will == nil || p.Will.Topic == d.Will.Topic && string(p.Will.Payload) == d.Will.Payload &&
				p.Will.QoS == d.Will.QoS && p.Will.Retain == d.Will.Retain)
	case Connack:
		props = p.Properties
		ok = d.Type == "CONNACK" && p.SessionPresent == d.SessionPresent && byte(p.Code) == d.Code
	case Publish:
		props = p.Properties
		ok = d.Type == "PUBLISH" && p.Dup == d.Dup && p.QoS == d.QoS && p.Retain == d.Retain &&
			p.Topic == d.Topic && p.PacketID == d.PacketID && string(p.Payload) == d.Payload
	case Puback:
		ok = d.Type == "PUBACK" && p.PacketID == d.PacketID
	case Pubrec:
		ok = d.Type == "PUBREC" && p.PacketID == d.PacketID
	case Pubrel:
		ok = d.Type == "PUBREL" && p.PacketID == d.PacketID
	case Pubcomp:
		ok = d.Type == "PUBCOMP" && p.PacketID == d.PacketID
	case Subscribe:
		ok = d.Type == "SUBSCRIBE" && p.PacketID == d.PacketID && len(p.Subscriptions) == 1 && len(d.Filters) == 1 &&
			p.Subscriptions[0] == Subscription{Filter: d.Filters[0].Filter, QoS: d.Filters[0].Options}
	case Suback:
		ok = d.Type == "SUBACK" && p.PacketID == d.PacketID && len(p.Codes) == 1 && int(p.Codes[0]) == d.Codes[0]
	case Disconnect:
		ok = d.Type == "DISCONNECT"
	case bare:
		ok = d.Type == p.t.String()
	}
	if len(d.Properties) != propertyCount(props) || len(d.WillProperties) > 0 {
		ok = false
	}
	for _, want := range d.Properties {
		ok = ok && hasVectorProperty(props, want)
	}
	if !ok {
		t.Errorf("%s: read as %+v, want %+v", vec.Hex, p, d)
	}
}

func propertyCount(p *Properties) int {
	if p == nil {
		return 0
	}
	return bits.OnesCount64(uint64(p.Present)) + len(p.UserProperties) + len(p.SubscriptionIDs)
}

// hasVectorProperty looks for a property as the independent decoder writes it.
func hasVectorProperty(p *Properties, want []any) bool {
	switch want[0] {
	case "receive_maximum":
		return p.Has(PropReceiveMaximum) && float64(p.ReceiveMaximum) == want[1]
	case "topic_alias_maximum":
		return p.Has(PropTopicAliasMaximum) && float64(p.TopicAliasMaximum) == want[1]
	case "message_expiry_s":
		return p.Has(PropMessageExpiry) && float64(p.MessageExpiry) == want[1]
	case "content_type":
		return p.Has(PropContentType) && p.ContentType == want[1]
	case "user_property":
		return reflect.DeepEqual(p.UserProperties, []UserProperty{{want[1].(string), want[2].(string)}})
	}
	return false
}
