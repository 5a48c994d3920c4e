package broker

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// The clauses of MQTT 5 are tested one by one in package conformance. Here are the
// ladders of what needs a configuration of its own, or the Go side of the broker.

// props makes properties that are present.
func props(p mqtt.Properties, present ...mqtt.Property) *mqtt.Properties {
	p.Present = mqtt.Present(present...)
	return &p
}

// connect5 sends a CONNECT of MQTT 5 and wants it accepted.
func (s *server) connect5(tb testing.TB, id string, p *mqtt.Properties) (*peer, mqtt.Connack) {
	tb.Helper()
	return s.connack5(tb, mqtt.Connect{Version: mqtt.V5, Clean: p == nil || p.SessionExpiry == 0, ClientID: id, Properties: p})
}

func (s *server) connack5(tb testing.TB, c mqtt.Connect) (*peer, mqtt.Connack) {
	tb.Helper()
	p := s.dial(tb)
	p.v = mqtt.V5
	p.send(c)
	ack, ok := p.read().(mqtt.Connack)
	if !ok || ack.Reason != mqtt.ReasonSuccess {
		tb.Fatalf("CONNECT of %s: %+v", c.ClientID, ack)
	}
	return p, ack
}

// wantGoodbye wants DISCONNECT with a reason, and the end.
func (p *peer) wantGoodbye(want mqtt.Reason) mqtt.Disconnect {
	p.tb.Helper()
	bye, ok := p.read().(mqtt.Disconnect)
	if !ok || bye.Reason != want {
		p.tb.Fatalf("got %+v, want DISCONNECT: %s", bye, want)
	}
	p.wantClosed()
	return bye
}

// TestConnackTellsTheBounds: what differs from what the client wants, and what it may.
func TestConnackTellsTheBounds(t *testing.T) {
	s := start(t, Options{SessionExpiry: time.Hour, MaxKeepAlive: 30 * time.Second, ReceiveMaximum: 7, MaxTopicAliases: 3,
		MaxPacketSize: 1000, ResponseTopics: "answers"})
	asked := props(mqtt.Properties{SessionExpiry: 0xffffffff, RequestResponseInfo: true},
		mqtt.PropSessionExpiry, mqtt.PropRequestResponseInfo)
	// client --CONNECT, keep alive 60--> broker
	p, ack := s.connack5(t, mqtt.Connect{Version: mqtt.V5, KeepAlive: 60, ClientID: "m", Properties: asked})
	want := props(mqtt.Properties{SessionExpiry: 3600, ServerKeepAlive: 30, ReceiveMaximum: 7, TopicAliasMaximum: 3,
		MaximumPacketSize: 1003, ResponseInfo: "answers/m"},
		mqtt.PropSessionExpiry, mqtt.PropServerKeepAlive, mqtt.PropReceiveMaximum, mqtt.PropTopicAliasMaximum,
		mqtt.PropMaximumPacketSize, mqtt.PropResponseInfo)
	if !reflect.DeepEqual(ack.Properties, want) {
		t.Errorf("got %+v, want %+v", ack.Properties, want)
	}
	// client --PUBLISH of 1,004 bytes--> broker: one too many
	p.send(pub(0, 0, "a", strings.Repeat("x", 1004-3-4)))
	p.wantGoodbye(mqtt.ReasonPacketTooLarge)
	_, ack = s.connack5(t, mqtt.Connect{Version: mqtt.V5, KeepAlive: 10, ClientID: "n", Clean: true})
	if p := ack.Properties; p.Has(mqtt.PropServerKeepAlive) || p.Has(mqtt.PropSessionExpiry) || p.Has(mqtt.PropResponseInfo) {
		t.Errorf("%+v", p)
	}
}

// TestMixedVersions: what a message has in MQTT 5 is kept for those who know it.
func TestMixedVersions(t *testing.T) {
	s := start(t, Options{})
	old := s.clean(t, "old")
	old.subscribe(2, "#")
	young, _ := s.connect5(t, "young", nil)
	young.send(mqtt.Subscribe{PacketID: 1, Properties: &mqtt.Properties{SubscriptionIDs: []uint32{300}},
		Subscriptions: []mqtt.Subscription{{Filter: "#", QoS: 2, NoLocal: true}}})
	young.want(mqtt.Suback{PacketID: 1, Codes: []byte{2}})
	from, _ := s.connect5(t, "from", nil)
	m := pub(1, 5, "a", "x")
	m.Properties = props(mqtt.Properties{PayloadFormat: 1, MessageExpiry: 100, ResponseTopic: "r", CorrelationData: []byte{7},
		ContentType: "t", TopicAlias: 1, UserProperties: []mqtt.UserProperty{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}}},
		mqtt.PropPayloadFormat, mqtt.PropMessageExpiry, mqtt.PropResponseTopic, mqtt.PropCorrelationData, mqtt.PropContentType,
		mqtt.PropTopicAlias)
	from.send(m)
	from.want(mqtt.Puback{PacketID: 5})
	old.want(pub(1, 1, "a", "x"))
	got := m
	got.PacketID = 1
	p := *m.Properties
	p.Present &^= mqtt.Present(mqtt.PropTopicAlias)
	p.TopicAlias, p.SubscriptionIDs = 0, []uint32{300}
	got.Properties = &p
	young.want(got)
	// old --PUBLISH--> broker --PUBLISH with the identifier--> young
	old.send(pub(0, 0, "b", "y"))
	old.want(pub(0, 0, "b", "y"))
	young.want(mqtt.Publish{Topic: "b", Payload: []byte("y"), Properties: &mqtt.Properties{SubscriptionIDs: []uint32{300}}})
	// A refusal has no words in 3.1.1.
	from.send(pub(1, 6, "$nothing", "z"))
	from.want(mqtt.Puback{PacketID: 6, Reason: mqtt.ReasonTopicNameInvalid})
	old.send(pub(1, 6, "$nothing", "z"))
	old.want(mqtt.Puback{PacketID: 6})
}

// TestPropertiesInside: handlers read properties, and Send gives some.
func TestPropertiesInside(t *testing.T) {
	s := start(t, Options{})
	got := make(chan *mqtt.Properties, 1)
	s.Handle("in/#", func(m *Inbound) { got <- m.Properties() })
	p, _ := s.connect5(t, "p", nil)
	p.subscribe(1, "out/#")
	p.send(pub(0, 0, "in/1", "none"))
	if m := <-got; m != nil {
		t.Errorf("%+v", m)
	}
	m := pub(1, 1, "in/2", "some")
	m.Properties = props(mqtt.Properties{MessageExpiry: 9, ContentType: "t"}, mqtt.PropMessageExpiry, mqtt.PropContentType)
	p.send(m)
	if in := <-got; !reflect.DeepEqual(in, m.Properties) {
		t.Errorf("%+v", in)
	}
	p.want(mqtt.Puback{PacketID: 1})
	send := Message{Topic: "out/1", Payload: []byte("x"), QoS: 1, Properties: props(
		mqtt.Properties{ContentType: "c", TopicAlias: 3, SubscriptionIDs: []uint32{4}, MessageExpiry: 50},
		mqtt.PropContentType, mqtt.PropTopicAlias, mqtt.PropMessageExpiry)}
	if n, err := s.Send(&send); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	want := pub(1, 1, "out/1", "x")
	want.Properties = props(mqtt.Properties{ContentType: "c", MessageExpiry: 50}, mqtt.PropContentType, mqtt.PropMessageExpiry)
	p.want(want)
	send.Properties = props(mqtt.Properties{}, mqtt.PropSessionExpiry)
	if _, err := s.Send(&send); err == nil {
		t.Error("a property of another packet was taken")
	}
}

// TestExpiredMakesRoom: what has expired takes no room from what has not, in a queue and
// among the retained messages.
func TestExpiredMakesRoom(t *testing.T) {
	const size = messageOverhead + moreOverhead + 1 + 100
	s := start(t, Options{MaxSessionQueueBytes: 3 * size, MaxRetained: 1})
	p, _ := s.connect5(t, "p", props(mqtt.Properties{SessionExpiry: 100}, mqtt.PropSessionExpiry))
	p.subscribe(1, "a")
	p.send(mqtt.Disconnect{})
	p.wantClosed()
	eventually(t, "detached", func() bool { return s.Stats().Connections == 0 })
	for i := range 6 {
		m := Message{Topic: "a", Payload: fmt.Appendf(nil, "%0100d", i), QoS: 1, Retain: i == 0}
		if i < 3 {
			m.Properties = props(mqtt.Properties{MessageExpiry: 1}, mqtt.PropMessageExpiry)
		}
		if _, err := s.Send(&m); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			time.Sleep(1100 * time.Millisecond) // the time is what is tested
		}
	}
	if d := s.Stats().Dropped; d["message_expired"] != 3 || d["offline_session_full"] != 0 {
		t.Errorf("%v", d)
	}
	late, _ := s.connect5(t, "late", nil)
	late.subscribe(1, "a")
	late.quiet() // the retained one has expired
	if _, err := s.Publish("b", []byte("kept"), 0, true); err != nil || s.Stats().Dropped["retained_full"] != 0 {
		t.Errorf("%v, %v", err, s.Stats().Dropped)
	}
	back, ack := s.connect5(t, "p", props(mqtt.Properties{SessionExpiry: 100}, mqtt.PropSessionExpiry))
	if !ack.SessionPresent {
		t.Error("no session")
	}
	for i := range 3 {
		back.want(pub(1, uint16(i+1), "a", fmt.Sprintf("%0100d", i+3)))
	}
}

// TestTooLargeIsSkipped: what a client does not take keeps nothing else back, also where
// it was sent before to the same client when it took more.
func TestTooLargeIsSkipped(t *testing.T) {
	s := start(t, Options{})
	kept := props(mqtt.Properties{SessionExpiry: 100}, mqtt.PropSessionExpiry)
	p, _ := s.connect5(t, "p", kept)
	p.subscribe(2, "a")
	long := strings.Repeat("x", 200)
	for _, m := range []mqtt.Publish{pub(1, 1, "a", long), pub(2, 2, "a", "1"), pub(2, 3, "a", long), pub(1, 4, "a", "2")} {
		if _, err := s.Publish("a", m.Payload, m.QoS, false); err != nil {
			t.Fatal(err)
		}
		p.want(m)
	}
	_ = p.nc.Close()
	small := *kept
	small.Present |= mqtt.Present(mqtt.PropMaximumPacketSize)
	small.MaximumPacketSize = 100
	p, _ = s.connect5(t, "p", &small)
	p.want(again(pub(2, 2, "a", "1")), again(pub(1, 4, "a", "2")))
	if n := s.Stats().Dropped["too_large"]; n != 2 {
		t.Errorf("%d dropped", n)
	}
	p.send(mqtt.Pubrec{PacketID: 2}, mqtt.Puback{PacketID: 4})
	p.want(mqtt.Pubrel{PacketID: 2})
	p.send(mqtt.Pubcomp{PacketID: 2})
	for _, payload := range []string{long, "3"} {
		if _, err := s.Publish("a", []byte(payload), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	p.want(pub(1, 5, "a", "3"))
	eventually(t, "an empty queue but for it", func() bool { return s.Stats().QueuedBytes == messageOverhead+2 })
}

// TestReceiveMaximumOnResume: a window that has shrunk holds for what is sent again.
func TestReceiveMaximumOnResume(t *testing.T) {
	s := start(t, Options{})
	kept := props(mqtt.Properties{SessionExpiry: 100}, mqtt.PropSessionExpiry)
	p, _ := s.connect5(t, "p", kept)
	p.subscribe(1, "a")
	for i := range 5 {
		if _, err := s.Publish("a", fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
		p.want(pub(1, uint16(i+1), "a", fmt.Sprint(i)))
	}
	_ = p.nc.Close()
	narrow := *kept
	narrow.Present |= mqtt.Present(mqtt.PropReceiveMaximum)
	narrow.ReceiveMaximum = 2
	p, _ = s.connect5(t, "p", &narrow)
	p.want(again(pub(1, 1, "a", "0")), again(pub(1, 2, "a", "1")))
	p.quiet()
	p.send(mqtt.Puback{PacketID: 2}) // out of order: one more may come
	p.want(again(pub(1, 3, "a", "2")))
	p.quiet()
	p.send(mqtt.Puback{PacketID: 5}) // of the connection before: not a place in the window
	p.quiet()
	p.send(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 3})
	p.want(again(pub(1, 4, "a", "3")))
	if _, err := s.Publish("a", []byte("5"), 1, false); err != nil {
		t.Fatal(err)
	}
	p.want(pub(1, 6, "a", "5"))
	p.quiet()
}

// TestPubrelOnResume: the window is for PUBLISH alone, PUBREL does not wait for it.
func TestPubrelOnResume(t *testing.T) {
	s := start(t, Options{})
	kept := props(mqtt.Properties{SessionExpiry: 100, ReceiveMaximum: 2}, mqtt.PropSessionExpiry, mqtt.PropReceiveMaximum)
	p, _ := s.connect5(t, "p", kept)
	p.subscribe(2, "a")
	for i := range 2 {
		if _, err := s.Publish("a", fmt.Append(nil, i), 2, false); err != nil {
			t.Fatal(err)
		}
		p.want(pub(2, uint16(i+1), "a", fmt.Sprint(i)))
	}
	p.send(mqtt.Pubrec{PacketID: 2})
	p.want(mqtt.Pubrel{PacketID: 2})
	_ = p.nc.Close()
	narrow := *kept
	narrow.ReceiveMaximum = 1
	p, _ = s.connect5(t, "p", &narrow)
	p.want(again(pub(2, 1, "a", "0")), mqtt.Pubrel{PacketID: 2})
	p.quiet()
	p.send(mqtt.Pubrec{PacketID: 1}, mqtt.Pubcomp{PacketID: 2})
	p.want(mqtt.Pubrel{PacketID: 1})
	p.send(mqtt.Pubcomp{PacketID: 1})
	if _, err := s.Publish("a", []byte("2"), 2, false); err != nil {
		t.Fatal(err)
	}
	p.want(pub(2, 3, "a", "2"))
}

// TestAliasMemory: long topics behind aliases count, and are given back.
func TestAliasMemory(t *testing.T) {
	s := start(t, Options{MaxAssemblyBytes: 70_000})
	p, _ := s.connect5(t, "p", nil)
	for n := range uint16(3) {
		m := pub(0, 0, strings.Repeat("x", 30_000), "")
		m.Properties = props(mqtt.Properties{TopicAlias: n + 1}, mqtt.PropTopicAlias)
		p.send(m)
		if n < 2 {
			p.quiet()
		}
	}
	p.wantGoodbye(mqtt.ReasonQuotaExceeded)
	eventually(t, "memory given back", func() bool { return s.assembly.Load() == 0 })
}

// TestReceiveMaximumCountsBoth: QoS 1 and 2 share one quota, which PUBACK, a PUBREC that refuses, and PUBREL give back.
func TestReceiveMaximumCountsBoth(t *testing.T) {
	s := start(t, Options{ReceiveMaximum: 4})
	var mu sync.Mutex
	var acks []Ack
	s.Handle("later", func(m *Inbound) { mu.Lock(); acks = append(acks, m.Defer()); mu.Unlock() })
	acknowledge := func() { mu.Lock(); Acknowledge(acks); acks = nil; mu.Unlock() }
	p, _ := s.connect5(t, "p", nil)
	p.send(pub(1, 1, "later", ""), pub(2, 2, "now", ""), pub(1, 3, "now", ""), pub(2, 4, "now", "")) // 2 to 4 wait for 1
	p.quiet()
	acknowledge()
	none := mqtt.ReasonNoMatchingSubscribers
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Pubrec{PacketID: 2, Reason: none}, mqtt.Puback{PacketID: 3, Reason: none}, mqtt.Pubrec{PacketID: 4, Reason: none})
	p.send(mqtt.Pubrel{PacketID: 2}, pub(1, 5, "later", ""), pub(2, 6, "$denied", ""))
	p.want(mqtt.Pubcomp{PacketID: 2})
	p.quiet()
	acknowledge()
	p.want(mqtt.Puback{PacketID: 5}, mqtt.Pubrec{PacketID: 6, Reason: mqtt.ReasonTopicNameInvalid})
	p.send(pub(2, 7, "now", ""), pub(2, 8, "now", ""), pub(1, 9, "later", ""), pub(1, 10, "later", "")) // with 4
	p.want(mqtt.Pubrec{PacketID: 7, Reason: none}, mqtt.Pubrec{PacketID: 8, Reason: none})
	if r := p.read().(mqtt.Disconnect).Reason; r != mqtt.ReasonReceiveMaximumExceeded {
		t.Errorf("ended with %v", r)
	}
}
