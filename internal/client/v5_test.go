package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// accept5 answers CONNECT with a CONNACK of MQTT 5.
func (p *peer) accept5(present bool, props *mqtt.Properties) {
	p.t.Helper()
	b, err := mqtt.AppendConnack(nil, mqtt.V5, &mqtt.Connack{SessionPresent: present, Properties: props})
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(b)
}

func (p *peer) must(b []byte, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(b)
}

// default5 is what the client says in CONNECT by itself.
const default5 = "expiry=604800 packet=327688"

// TestConnect5: what CONNECT says, and what CONNACK changes.
func TestConnect5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said *mqtt.Connack
		c, n, stop := start(t, Options{Version: mqtt.V5, ReceiveMaximum: 10, TopicAliases: 2, KeepAlive: 100 * time.Second, SessionExpiry: time.Hour,
			Properties: &mqtt.Properties{UserProperties: []mqtt.UserProperty{{Name: "a", Value: "b"}}},
			Will: func() *Message {
				return &Message{Topic: "will", QoS: 1, Properties: &mqtt.Properties{WillDelay: 5, Present: mqtt.Present(mqtt.PropWillDelay)}}
			},
			Subscriptions: []Subscription{{Filter: "a", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 2, ID: 7}, {Filter: "b"}},
			OnConnack:     func(a *mqtt.Connack) { said = a }})
		p := n.accept()
		p.want("CONNECT v5 M1 clean=false keep=100 will=will q1 \"\" {delay=5} {expiry=3600 receive=10 packet=327688 aliases=2 user=[{a b}]}")
		p.accept5(false, &mqtt.Properties{ServerKeepAlive: 16, ResponseInfo: "re", Present: mqtt.Present(mqtt.PropServerKeepAlive, mqtt.PropResponseInfo)})
		p.want("SUBSCRIBE a:1,true,true,2 {id=[7]}")
		p.suback(1)
		p.want("SUBSCRIBE b:0")
		p.suback(0)
		if said.Properties.ResponseInfo != "re" {
			t.Errorf("%+v", said)
		}
		began := time.Now()
		p.want("PINGREQ") // [MQTT-3.2.2-21]
		if d := time.Since(began); d != 14*time.Second {
			t.Errorf("PINGREQ after %s", d)
		}
		p.send([]byte{0xD0, 0})
		_ = c
		go stop()
		p.want("DISCONNECT", "end")
		p.close()
	})
}

// TestAssignedID: the id that the server gave is the client's from then on [MQTT-3.2.2-16].
func TestAssignedID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, err := New(Options{Version: mqtt.V5, Dial: n.dial})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		p := n.accept()
		p.want("CONNECT v5  clean=false keep=60 {" + default5 + "}")
		p.accept5(false, &mqtt.Properties{AssignedClientID: "X9", Present: mqtt.Present(mqtt.PropAssignedClientID)})
		p.close()
		p = n.accept()
		p.want("CONNECT v5 X9 clean=false keep=60 {" + default5 + "}")
		p.close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestReceiveMaximum: no more is under way than the server takes, Birth included [MQTT-3.3.4-9].
func TestReceiveMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{Version: mqtt.V5, Birth: func() *Message { return &Message{Topic: "birth", QoS: 1} },
			Farewell: func() *Message { return &Message{Topic: "bye", QoS: 1} }})
		for i := range 4 {
			publish(t, c, "t", fmt.Sprint(i+1), 1)
		}
		p := n.accept()
		p.next()
		p.accept5(false, &mqtt.Properties{ReceiveMaximum: 2, Present: mqtt.Present(mqtt.PropReceiveMaximum)})
		p.want(`PUBLISH q1 id65533 birth ""`, `PUBLISH q1 id1 t "1"`)
		p.puback(idBirth)
		p.want(`PUBLISH q1 id2 t "2"`)
		p.puback(1)
		p.want(`PUBLISH q1 id3 t "3"`)
		go stop()
		p.want(`PUBLISH q0 bye ""`, "DISCONNECT", "end")
		p.close()
	})
}

// TestServerLimits: packets queued before the server said what it takes are made what it takes, or dropped and counted.
func TestServerLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{Version: mqtt.V5})
		if err := c.Publish(t.Context(), Message{Topic: "t", Payload: []byte("1"), QoS: 2, Retain: true}); err != nil {
			t.Fatal(err)
		}
		publish(t, c, "t", strings.Repeat("x", 200), 1)
		publish(t, c, "t", "3", 1)
		p := n.accept()
		p.next()
		p.accept5(false, &mqtt.Properties{MaximumPacketSize: 100, MaximumQoS: 1,
			Present: mqtt.Present(mqtt.PropMaximumPacketSize, mqtt.PropMaximumQoS, mqtt.PropRetainAvailable)})
		p.want(`PUBLISH q1 id1 t "1"`, `PUBLISH q1 id3 t "3"`)
		p.puback(1, 3)
		synctest.Wait()
		if err := c.Publish(t.Context(), Message{Topic: "t", Payload: make([]byte, 200), QoS: 1}); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		if s := c.Stats(); s.Refused != 1 || s.Acked != 2 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
		go stop()
		p.want("DISCONNECT", "end")
		p.close()
	})
}

// TestPropertiesAndExpiry: properties travel in the queue; what waited too long is not sent, and what is sent says how long is left.
func TestPropertiesAndExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n, stop := start(t, Options{Version: mqtt.V5, MinBackoff: time.Minute, MaxBackoff: time.Minute})
		p := n.accept()
		p.close() // and the next attempt is half a minute away at least
		props := func(seconds uint32) *mqtt.Properties {
			return &mqtt.Properties{MessageExpiry: seconds, PayloadFormat: 1, ResponseTopic: "re", CorrelationData: []byte("77"), TopicAlias: 3,
				UserProperties: []mqtt.UserProperty{{Name: "a", Value: "b"}}, SubscriptionIDs: []uint32{9},
				Present: mqtt.Present(mqtt.PropMessageExpiry, mqtt.PropPayloadFormat, mqtt.PropResponseTopic, mqtt.PropCorrelationData, mqtt.PropTopicAlias)}
		}
		synctest.Wait()
		for i, seconds := range []uint32{10, 1000} {
			if err := c.Publish(t.Context(), Message{Topic: "t", Payload: fmt.Append(nil, i), QoS: 1, Properties: props(seconds)}); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		p = n.accept()
		p.next()
		p.accept5(false, nil)
		got := p.next()
		left := 1000 - int(time.Since(began)/time.Second)
		want := func(left int) string {
			return fmt.Sprintf(`PUBLISH q1 id2 t "1" {message-expiry=%d format=1 response=re correlation=77 user=[{a b}]}`, left)
		}
		if got != want(left) && got != want(left-1) {
			t.Errorf("got %s, want %s", got, want(left))
		}
		p.puback(2)
		synctest.Wait()
		if s := c.Stats(); s.Expired != 1 || s.Acked != 1 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
		go stop()
		p.want("DISCONNECT", "end")
		p.close()
	})
}

// TestAcknowledgedWithAFailure: the message is done with, and its sender is told; at QoS 2 no PUBREL follows [MQTT-4.3.3-4].
func TestAcknowledgedWithAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused []string
		acked := 0
		c, n, stop := start(t, Options{Version: mqtt.V5, OnRefused: func(topic string, err *ReasonError) { refused = append(refused, topic+": "+err.Error()) }})
		for i, qos := range []byte{1, 2, 1} {
			if err := c.Publish(t.Context(), Message{Topic: fmt.Sprintf("topic/%d", i), QoS: qos, Acked: func() { acked++ }}); err != nil {
				t.Fatal(err)
			}
		}
		p := n.accept()
		p.next()
		p.accept5(false, nil)
		p.want(`PUBLISH q1 id1 topic/0 ""`, `PUBLISH q2 id2 topic/1 ""`, `PUBLISH q1 id3 topic/2 ""`)
		text := &mqtt.Properties{ReasonString: "full", Present: mqtt.Present(mqtt.PropReasonString)}
		p.send(mqtt.AppendPuback(nil, mqtt.V5, mqtt.Puback{PacketID: 1, Reason: mqtt.ReasonQuotaExceeded, Properties: text}))
		p.send(mqtt.AppendPubrec(nil, mqtt.V5, mqtt.Pubrec{PacketID: 2, Reason: mqtt.ReasonNotAuthorized}))
		p.send(mqtt.AppendPuback(nil, mqtt.V5, mqtt.Puback{PacketID: 3, Reason: mqtt.ReasonNoMatchingSubscribers}))
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []string{"topic/0: quota exceeded: full", "topic/1: not authorized"}; !slices.Equal(refused, want) || acked != 1 {
			t.Errorf("refused %q, want %q; %d acknowledged", refused, want, acked)
		}
		go stop()
		p.want("DISCONNECT", "end")
		p.close()
	})
}

// TestIncomingAliases: an alias stands for a topic on its connection; one that means nothing ends it, with a reason.
func TestIncomingAliases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		errs := make(chan error, 3)
		_, n, stop := start(t, Options{Version: mqtt.V5, TopicAliases: 2, OnDisconnect: func(err error) { errs <- err },
			OnMessage: func(m *Message) { got = append(got, fmt.Sprintf("%s %v", m.Topic, m.Properties.SubscriptionIDs)) }})
		alias := func(n uint16) *mqtt.Properties {
			return &mqtt.Properties{TopicAlias: n, SubscriptionIDs: []uint32{4}, Present: mqtt.Present(mqtt.PropTopicAlias)}
		}
		p := n.accept()
		p.next()
		p.accept5(false, nil)
		p.publish(mqtt.Publish{Topic: "long/topic", Properties: alias(2)})
		p.publish(mqtt.Publish{Properties: alias(2)})
		p.publish(mqtt.Publish{Topic: "other", Properties: alias(2)})
		p.publish(mqtt.Publish{Properties: alias(2)})
		p.publish(mqtt.Publish{Properties: alias(1)})
		p.want("DISCONNECT protocol error", "end")
		if err := <-errs; !errors.Is(err, ErrProtocol) {
			t.Error(err)
		}
		if want := []string{"long/topic [4]", "long/topic [4]", "other [4]", "other [4]"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		p.close()
		p = n.accept()
		p.next()
		p.accept5(false, nil)
		p.publish(mqtt.Publish{Topic: "x", Properties: alias(3)}) // more than was allowed
		p.want("DISCONNECT protocol error", "end")
		p.close()
		stop()
	})
}

// TestEndedByTheServer: the reason is in the error.
func TestEndedByTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 3)
		_, n, stop := start(t, Options{Version: mqtt.V5, OnDisconnect: func(err error) { errs <- err }})
		p := n.accept()
		p.next()
		p.must(mqtt.AppendConnack(nil, mqtt.V5, &mqtt.Connack{Reason: mqtt.ReasonServerBusy}))
		var refused *RefusedError
		if err := <-errs; !errors.As(err, &refused) || refused.Reason.Reason != mqtt.ReasonServerBusy || refused.Code != mqtt.ServerUnavailable {
			t.Error(err)
		}
		p.close()
		p = n.accept()
		p.next()
		p.accept5(false, nil)
		p.must(mqtt.AppendDisconnect(nil, mqtt.V5, &mqtt.Disconnect{Reason: mqtt.ReasonSessionTakenOver}))
		var r *ReasonError
		if err := <-errs; !errors.As(err, &r) || r.Reason != mqtt.ReasonSessionTakenOver {
			t.Error(err)
		}
		p.close()
		p = n.accept()
		p.next()
		p.accept5(false, &mqtt.Properties{MaximumQoS: 0, Present: mqtt.Present(mqtt.PropMaximumQoS)})
		p.want("end")
		if err := <-errs; !errors.Is(err, ErrUnsupported) {
			t.Error(err)
		}
		p.close()
		stop()
	})
}

// counting is an Auth that answers each number with the next.
type counting struct{ ended []string }

func (*counting) Method() string         { return "COUNT" }
func (*counting) Begin() ([]byte, error) { return []byte("0"), nil }
func (*counting) Continue(data []byte) ([]byte, error) {
	if len(data) != 1 {
		return nil, errors.New("no number")
	}
	return []byte{data[0] + 1}, nil
}
func (a *counting) End(data []byte) error { a.ended = append(a.ended, string(data)); return nil }

// TestEnhancedAuthentication: before CONNACK and again on a connection that stands.
func TestEnhancedAuthentication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &counting{}
		c, n, stop := start(t, Options{Version: mqtt.V5, Auth: a})
		auth := func(p *peer, r mqtt.Reason, data string) {
			t.Helper()
			p.must(mqtt.AppendAuth(nil, mqtt.V5, &mqtt.Auth{Reason: r, Properties: &mqtt.Properties{AuthMethod: "COUNT", AuthData: []byte(data),
				Present: mqtt.Present(mqtt.PropAuthMethod, mqtt.PropAuthData)}}))
		}
		p := n.accept()
		p.want("CONNECT v5 M1 clean=false keep=60 {" + default5 + " auth=COUNT data=0}")
		auth(p, mqtt.ReasonContinueAuthentication, "1")
		p.want("AUTH continue authentication {auth=COUNT data=2}")
		auth(p, mqtt.ReasonContinueAuthentication, "3")
		p.want("AUTH continue authentication {auth=COUNT data=4}")
		p.accept5(false, &mqtt.Properties{AuthMethod: "COUNT", AuthData: []byte("fine"), Present: mqtt.Present(mqtt.PropAuthMethod, mqtt.PropAuthData)})
		synctest.Wait()
		if err := c.Reauthenticate(); err != nil {
			t.Fatal(err)
		}
		p.want("AUTH re-authenticate {auth=COUNT data=0}")
		auth(p, mqtt.ReasonContinueAuthentication, "1")
		p.want("AUTH continue authentication {auth=COUNT data=2}")
		auth(p, mqtt.ReasonSuccess, "again")
		synctest.Wait()
		if !slices.Equal(a.ended, []string{"fine", "again"}) {
			t.Errorf("%q", a.ended)
		}
		for range 3 { // those that come while one is under way are followed by one
			if err := c.Reauthenticate(); err != nil {
				t.Fatal(err)
			}
		}
		p.want("AUTH re-authenticate {auth=COUNT data=0}")
		auth(p, mqtt.ReasonSuccess, "first of two")
		p.want("AUTH re-authenticate {auth=COUNT data=0}")
		auth(p, mqtt.ReasonSuccess, "second")
		synctest.Wait()
		if !slices.Equal(a.ended[2:], []string{"first of two", "second"}) {
			t.Errorf("%q", a.ended)
		}
		auth(p, mqtt.ReasonContinueAuthentication, "") // no number: an error of Auth ends the connection
		p.want("end")
		p.close()
		p = n.accept()
		p.want("CONNECT v5 M1 clean=false keep=60 {" + default5 + " auth=COUNT data=0}")
		if err := c.Reauthenticate(); !errors.Is(err, ErrNotConnected) { // and what is under way is not disturbed
			t.Errorf("before CONNACK: %v", err)
		}
		auth(p, mqtt.ReasonContinueAuthentication, "1")
		p.want("AUTH continue authentication {auth=COUNT data=2}")
		p.close()
		stop()
	})
}

// TestRedirects: the client goes where it is sent, a bounded number of times, and never from TLS to plain.
func TestRedirects(t *testing.T) {
	a, b := newStage(t), newStage(t)
	c, err := New(Options{URL: a.url(), Version: mqtt.V5, ClientID: "M1", MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond, MaxRedirects: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	use := func(s *stage) *mqtt.Properties {
		return &mqtt.Properties{ServerReference: strings.TrimPrefix(s.url(), "mqtt://") + " other:1", Present: mqtt.Present(mqtt.PropServerReference)}
	}
	away := func(at, to *stage) {
		t.Helper()
		p := at.accept()
		p.next()
		p.must(mqtt.AppendConnack(nil, mqtt.V5, &mqtt.Connack{Reason: mqtt.ReasonUseAnotherServer, Properties: use(to)}))
		p.close()
	}
	away(a, b)
	p := b.accept()
	p.next()
	p.accept5(false, nil)
	publish(t, c, "t", "1", 1)
	p.want(`PUBLISH q1 id1 t "1"`)
	if s := c.Stats(); s.Server != b.url() {
		t.Errorf("%+v", s)
	}
	p.must(mqtt.AppendDisconnect(nil, mqtt.V5, &mqtt.Disconnect{Reason: mqtt.ReasonServerMoved, Properties: use(a)}))
	p.close()
	p = a.accept() // as the one it was sent to
	p.next()
	p.accept5(false, nil)
	p.want(`PUBLISH q1 id1 dup t "1"`)
	p.puback(1)
	p.close()
	away(a, b)
	away(b, a)
	away(a, b) // one too many: after the back-off its own list again
	away(a, b)
	away(b, a)
	p = a.accept()
	cancel()
	p.close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	web, err := parseServer("wss://u@h:1/path")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := web.other("other:2"); !ok || got.name != "wss://other:2/path" || got.username != "u" {
		t.Errorf("%+v, %v", got, ok)
	}
	secure := server{name: "mqtts://h:1", secure: true, username: "u"}
	for reference, want := range map[string]string{"b:2": "mqtts://b:2", " b x": "mqtts://b:8883", "[::1]:2": "mqtts://[::1]:2", "::1": "mqtts://[::1]:8883",
		"": "", "mqtt://b": "", "u@b": "", "b:x": "", "b/..": ""} {
		if got, ok := secure.other(reference); got.name != want || ok != (want != "") || ok && (!got.secure || got.username != "u") {
			t.Errorf("%q: %+v", reference, got)
		}
	}
}
