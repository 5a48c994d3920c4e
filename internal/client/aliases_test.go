package client

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// aliasMax is what a server says that takes so many topic aliases.
func aliasMax(n uint16) *mqtt.Properties {
	return &mqtt.Properties{TopicAliasMaximum: n, Present: mqtt.Present(mqtt.PropTopicAliasMaximum)}
}

// TestOutgoingAliases: a topic goes once and then as its alias, the one that was not used longest gives way, and what is sent
// again on the next connection is whole.
func TestOutgoingAliases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{Version: mqtt.V5, Aliases: 10})
		p := n.accept()
		p.next()
		p.accept5(false, aliasMax(2))
		for i, topic := range []string{"topic/1", "topic/1", "topic/2", "topic/1", "topic/3", "topic/1", "topic/2", "t", "topic/3"} {
			publish(t, c, topic, fmt.Sprint(i), 1)
		}
		p.want(`PUBLISH q1 id1 topic/1 "0" {alias=1}`, `PUBLISH q1 id2  "1" {alias=1}`, `PUBLISH q1 id3 topic/2 "2" {alias=2}`,
			`PUBLISH q1 id4  "3" {alias=1}`, `PUBLISH q1 id5 topic/3 "4" {alias=2}`, `PUBLISH q1 id6  "5" {alias=1}`,
			`PUBLISH q1 id7 topic/2 "6" {alias=2}`, `PUBLISH q1 id8 t "7"`, `PUBLISH q1 id9 topic/3 "8" {alias=1}`)
		for id := range 6 {
			p.puback(uint16(id + 1))
		}
		p.close()
		p = n.accept() // no aliases
		p.next()
		p.accept5(true, nil)
		p.want(`PUBLISH q1 id7 dup topic/2 "6"`, `PUBLISH q1 id8 dup t "7"`, `PUBLISH q1 id9 dup topic/3 "8"`)
		p.puback(7)
		p.close()
		p = n.accept()
		p.next()
		p.accept5(true, aliasMax(100))
		p.want(`PUBLISH q1 id8 dup t "7"`, `PUBLISH q1 id9 dup topic/3 "8" {alias=1}`)
		publish(t, c, "topic/2", "9", 0)
		publish(t, c, "topic/3", "10", 0)
		p.want(`PUBLISH q0 topic/2 "9" {alias=2}`, `PUBLISH q0  "10" {alias=1}`)
		p.puback(8)
		p.puback(9)
		go stop()
		p.want("DISCONNECT", "end")
		p.close()
	})
}

// TestAliasWithoutRoom: no alias makes a packet larger than the server takes.
func TestAliasWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{Version: mqtt.V5, Aliases: 10})
		p := n.accept()
		p.next()
		props := aliasMax(2)
		props.MaximumPacketSize = 24
		props.Present |= mqtt.Present(mqtt.PropMaximumPacketSize)
		p.accept5(false, props)
		synctest.Wait()                           // QoS 0 wants a connection
		publish(t, c, "topic/1", "0123456789", 0) // 2 + 2 + 7 + 1 + 10 = 22
		publish(t, c, "topic/1", "0123456", 0)
		publish(t, c, "topic/1", "0123456789", 0)
		p.want(`PUBLISH q0 topic/1 "0123456789"`, `PUBLISH q0 topic/1 "0123456" {alias=1}`, `PUBLISH q0 topic/1 "0123456789"`)
		go stop()
		p.want("DISCONNECT", "end")
		p.close()
	})
}

// TestAliasesOfTooMany: where topics hardly come again, aliases are left alone, and the few that do keep theirs.
func TestAliasesOfTooMany(t *testing.T) {
	a := newAliases(32)
	set, known := 0, 0
	for i := range 10_000 {
		for _, topic := range []string{fmt.Sprint("meter/", i%1000), fmt.Sprint("once/", i)} {
			switch n, hit := a.get([]byte(topic)); {
			case hit:
				known++
			case n > 0:
				set++
			}
		}
	}
	if set > 3_000 || a.used.Len() != 32 || len(a.of) != 32 {
		t.Errorf("%d aliases were set for %d uses; %d and %d are kept", set, known, a.used.Len(), len(a.of))
	}
	for range 500 { // now few topics come, and each gets its alias in time
		for i := range 8 {
			a.get([]byte(fmt.Sprint("few/", i)))
		}
	}
	for i := range 8 {
		if _, hit := a.get([]byte(fmt.Sprint("few/", i))); !hit {
			t.Errorf("few/%d has no alias", i)
		}
	}
}

// FuzzAliases: with any packets and topics, what goes out means the same as what was queued.
func FuzzAliases(f *testing.F) {
	f.Add([]byte("abcabcabca"), byte(2), uint16(10), "text")
	f.Add([]byte("abcdefghabcdefgh"), byte(3), uint16(1100), "")
	f.Add([]byte("aAbBaAbB"), byte(1), uint16(120), strings.Repeat("x", 130))
	f.Fuzz(func(t *testing.T, topics []byte, most byte, size uint16, user string) {
		a := newAliases(uint16(most))
		if a == nil {
			return
		}
		at := make([]string, int(most)+1)
		var run []byte
		var out [][]byte
		var want []mqtt.Publish
		for i, b := range topics {
			m := mqtt.Publish{QoS: b % 3, Topic: strings.Repeat(fmt.Sprintf("%x", b), int(b%70)+1), Payload: make([]byte, int(size)*i%3000),
				Retain: b%2 == 0, Properties: &mqtt.Properties{}}
			if m.QoS > 0 {
				m.PacketID = uint16(i + 1)
			}
			if user != "" && i%2 == 0 {
				m.Properties.UserProperties = []mqtt.UserProperty{{Name: "u", Value: user}}
			}
			p, err := mqtt.AppendPublish(nil, mqtt.V5, &m)
			if err != nil {
				return
			}
			before := bytes.Clone(p)
			run, out = a.follow(run, out, p, m.QoS, 0)
			if !bytes.Equal(p, before) {
				t.Fatal("what is queued has changed")
			}
			want = append(want, m)
		}
		if run != nil {
			out = append(out, run)
		}
		sent := bytes.Join(out, nil)
		for i, w := range want {
			h, n, err := mqtt.ParseFixedHeader(sent)
			if err != nil || n == 0 || h.Length > len(sent)-n {
				t.Fatalf("message %d: %v, %+v", i, err, h)
			}
			got, err := mqtt.DecodePublish(mqtt.V5, h.Flags, sent[n:n+h.Length])
			if err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			sent = sent[n+h.Length:]
			if got.Properties.Has(mqtt.PropTopicAlias) {
				k := got.Properties.TopicAlias
				if k == 0 || k > uint16(most) {
					t.Fatalf("message %d: alias %d of %d", i, k, most)
				}
				if got.Topic != "" {
					at[k] = got.Topic
				}
				got.Topic = at[k]
			}
			if got.Topic != w.Topic || got.QoS != w.QoS || got.PacketID != w.PacketID || got.Retain != w.Retain || !bytes.Equal(got.Payload, w.Payload) {
				t.Fatalf("message %d: %.200v, want %.200v", i, got, w)
			}
			if w.Properties.UserProperties != nil && (len(got.Properties.UserProperties) != 1 || got.Properties.UserProperties[0].Value != user) {
				t.Fatalf("message %d: %+v", i, got.Properties)
			}
		}
		if len(sent) > 0 {
			t.Fatalf("%d bytes too many", len(sent))
		}
	})
}
