package mqttsn

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

type decodedVector struct {
	Type        string
	GwID        byte   `json:"gw_id"`
	Duration    uint16 `json:"duration_s"`
	Radius      byte
	GwAdd       string `json:"gw_add_hex"`
	Will, Clean bool
	KeepAlive   uint16 `json:"keepalive_s"`
	ClientID    string `json:"client_id"`
	Code        byte   `json:"rc"`
	QoS         QoS    `json:"qos"`
	Granted     QoS    `json:"granted_qos"`
	Dup, Retain bool
	Topic       string
	Payload     string
	PayloadLen  int    `json:"payload_len"`
	TopicID     uint16 `json:"topic_id"`
	MsgID       uint16 `json:"msg_id"`
	TopicType   string `json:"topic_id_type"`
	Short       string `json:"short_topic"`
	CtrlRadius  byte   `json:"ctrl_radius"`
	NodeID      string `json:"node_id_hex"`
	Inner       *decodedVector
}

type vectorFile struct {
	Valid, Invalid []struct {
		Name, Hex, Why string
		Decoded        decodedVector
	}
	Transcripts, Flows []struct {
		Name  string
		Steps []struct{ Dir, Hex string }
	}
}

func readVectors(tb testing.TB) (f vectorFile) {
	raw, err := os.ReadFile("testdata/mqttsn.json")
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		tb.Fatal(err)
	}
	if len(f.Valid) != 49 || len(f.Invalid) != 14 || len(f.Transcripts) != 7 || len(f.Flows) != 10 {
		tb.Fatalf("%d valid, %d invalid, %d transcripts, %d flows", len(f.Valid), len(f.Invalid), len(f.Transcripts), len(f.Flows))
	}
	return f
}

func unhex(tb testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestVectors reads messages as an independent decoder did, and writes them octet for octet.
func TestVectors(t *testing.T) {
	for _, v := range readVectors(t).Valid {
		b := unhex(t, v.Hex)
		m, err := Decode(b)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if want := v.Decoded.message(t, b); !equal(m, want) {
			t.Errorf("%s: read as %+v, want %+v", v.Name, m, want)
		}
		if v.Name == "pingresp_3octet_length" { // wasteful: we write the short form
			b = unhex(t, "0217")
		}
		if again, err := m.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: written as %x, %v", v.Name, again, err)
		}
	}
}

// message is what the vector says, as ours.
func (d *decodedVector) message(t *testing.T, b []byte) Message {
	tt, id := Normal, d.TopicID
	switch d.TopicType {
	case "predefined":
		tt = Predefined
	case "short":
		tt = Short
		var ok bool
		if id, ok = ShortID(d.Short); !ok {
			t.Fatalf("short name %q", d.Short)
		}
		if name, ok := ShortName(id); !ok || name != d.Short {
			t.Fatalf("short name %q came back as %q", d.Short, name)
		}
	}
	switch code := ReturnCode(d.Code); d.Type {
	case "ADVERTISE":
		return Advertise{d.GwID, d.Duration}
	case "SEARCHGW":
		return Searchgw{d.Radius}
	case "GWINFO":
		m := Gwinfo{GwID: d.GwID}
		if d.GwAdd != "" {
			m.Address = unhex(t, d.GwAdd)[1:]
		}
		return m
	case "CONNECT":
		return Connect{d.Will, d.Clean, d.KeepAlive, d.ClientID}
	case "CONNACK":
		return Connack{code}
	case "WILLTOPICREQ":
		return Willtopicreq{}
	case "WILLTOPIC":
		return Willtopic{d.QoS, d.Retain, d.Topic}
	case "WILLMSGREQ":
		return Willmsgreq{}
	case "WILLMSG":
		return Willmsg{[]byte(d.Payload)}
	case "REGISTER":
		return Register{id, d.MsgID, d.Topic}
	case "REGACK":
		return Regack{id, d.MsgID, code}
	case "PUBLISH":
		payload := []byte(d.Payload)
		if d.PayloadLen > 0 {
			payload = bytes.Repeat([]byte("A"), d.PayloadLen)
		}
		return Publish{d.Dup, d.QoS, d.Retain, tt, id, d.MsgID, payload}
	case "PUBACK":
		return Puback{id, d.MsgID, code}
	case "PUBCOMP":
		return Pubcomp{d.MsgID}
	case "PUBREC":
		return Pubrec{d.MsgID}
	case "PUBREL":
		return Pubrel{d.MsgID}
	case "SUBSCRIBE":
		return Subscribe{d.Dup, d.QoS, tt, d.MsgID, d.Topic, id}
	case "SUBACK":
		return Suback{d.Granted, id, d.MsgID, code}
	case "UNSUBSCRIBE":
		return Unsubscribe{tt, d.MsgID, d.Topic, id}
	case "UNSUBACK":
		return Unsuback{d.MsgID}
	case "PINGREQ":
		return Pingreq{d.ClientID}
	case "PINGRESP":
		return Pingresp{}
	case "DISCONNECT":
		return Disconnect{d.Duration}
	case "WILLTOPICUPD":
		return Willtopicupd{d.QoS, d.Retain, d.Topic}
	case "WILLTOPICRESP":
		return Willtopicresp{code}
	case "WILLMSGUPD":
		return Willmsgupd{[]byte(d.Payload)}
	case "WILLMSGRESP":
		return Willmsgresp{code}
	case "ENCAPSULATED":
		inner, err := d.Inner.message(t, nil).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return Forward{d.CtrlRadius, unhex(t, d.NodeID), inner}
	}
	t.Fatalf("vector of type %q: %x", d.Type, b)
	return nil
}

// equal compares messages; a payload that is nil is an empty one.
func equal(a, b Message) bool {
	x, errA := a.Append(nil)
	y, errB := b.Append(nil)
	return a.Type() == b.Type() && errA == nil && errB == nil && bytes.Equal(x, y)
}

func TestInvalidVectors(t *testing.T) {
	want := map[string]error{
		"one_octet": ErrTruncated, "length_mismatch_long": ErrLength, "length_mismatch_short": ErrLength,
		"length_zero": ErrLength, "three_octet_trunc": ErrTruncated, "three_octet_too_small": ErrLength,
		"reserved_type_03": ErrType, "reserved_type_11": ErrType, "reserved_type_19": ErrType,
		"connect_truncated": ErrLength, "connect_protocol_2": ErrProtocolID,
		"publish_reserved_topic_type": ErrTopicType, "encap_too_short": ErrTruncated, "connack_no_rc": ErrTruncated,
	}
	for _, v := range readVectors(t).Invalid {
		m, err := Decode(unhex(t, v.Hex))
		var me *MessageError
		if want[v.Name] == nil || !errors.Is(err, want[v.Name]) || !errors.As(err, &me) || m != nil {
			t.Errorf("%s (%s): %v, %v, want %v", v.Name, v.Why, m, err, want[v.Name])
		}
	}
}

// TestSessions reads and writes what a public client said, and the exchanges of the specification.
func TestSessions(t *testing.T) {
	f := readVectors(t)
	for _, s := range append(f.Transcripts, f.Flows...) {
		for i, step := range s.Steps {
			b := unhex(t, step.Hex)
			m, err := Decode(b)
			if err != nil {
				t.Errorf("%s, step %d: %v", s.Name, i, err)
				continue
			}
			if again, err := m.Append(nil); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%s, step %d: %s written as %x, %v", s.Name, i, step.Hex, again, err)
			}
			if w, ok := m.(Forward); ok {
				if _, err := Decode(w.Message); err != nil {
					t.Errorf("%s, step %d: wrapped: %v", s.Name, i, err)
				}
			}
		}
	}
}
