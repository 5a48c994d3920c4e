package peers

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// go5Peer is Paho's Go client for MQTT 5.
type go5Peer struct {
	t       *testing.T
	c       *paho.Client
	nc      net.Conn
	got     chan *paho.Publish
	connack *paho.Connack
}

func of[T any](v T) *T { return &v }

func kept5(c *paho.Connect) {
	c.CleanStart = false
	c.Properties.SessionExpiryInterval = of(uint32(300))
}

func (s *server) go5(t *testing.T, id string, more ...func(*paho.Connect)) *go5Peer {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr())
	check(t, err)
	p := &go5Peer{t: t, nc: nc, got: make(chan *paho.Publish, 100)}
	p.c = paho.NewClient(paho.ClientConfig{Conn: nc, PacketTimeout: patience, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(r paho.PublishReceived) (bool, error) { p.got <- r.Packet; return true, nil },
	}})
	c := &paho.Connect{ClientID: id, KeepAlive: 30, CleanStart: true, Properties: &paho.ConnectProperties{}}
	for _, f := range more {
		f(c)
	}
	p.connack, err = p.c.Connect(p.ctx(), c)
	check(t, err)
	t.Cleanup(p.leave)
	return p
}

func (p *go5Peer) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p.t.Cleanup(cancel)
	return ctx
}

// leave also follows a connection that is lost already.
func (p *go5Peer) leave() {
	_ = p.c.Disconnect(&paho.Disconnect{})
	<-p.c.Done()
	_ = p.nc.Close()
}

func (p *go5Peer) subscribe(o paho.SubscribeOptions) {
	p.t.Helper()
	ack, err := p.c.Subscribe(p.ctx(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{o}})
	check(p.t, err)
	if ack.Reasons[0] != o.QoS {
		p.t.Fatalf("granted %d for %d", ack.Reasons[0], o.QoS)
	}
}

func (p *go5Peer) publish(m *paho.Publish) {
	p.t.Helper()
	_, err := p.c.Publish(p.ctx(), m)
	check(p.t, err)
}

func (p *go5Peer) say(topic, payload string, qos byte) {
	p.t.Helper()
	p.publish(&paho.Publish{Topic: topic, Payload: []byte(payload), QoS: qos})
}

func (p *go5Peer) want(topic, payload string, qos byte, retain bool) *paho.Publish {
	p.t.Helper()
	m := received(p.t, p.got)
	if m.Topic != topic || string(m.Payload) != payload || m.QoS != qos || m.Retain != retain {
		p.t.Fatalf("got %v, want %q = %.40q, QoS %d, retain %v", m, topic, payload, qos, retain)
	}
	return m
}

// silent: what another publishes now comes next, so nothing came before.
func (p *go5Peer) silent(other *go5Peer) {
	p.t.Helper()
	p.subscribe(paho.SubscribeOptions{Topic: "end", QoS: 1})
	other.say("end", "end", 1)
	p.want("end", "end", 1, false)
}

func TestPahoGo5(t *testing.T) {
	versions(t, func(t *testing.T, s *server, _ mqtt.Version) {
		for _, step := range []struct {
			name string
			run  func(t *testing.T, s *server)
		}{
			{"QoS", go5QoS}, {"retained", go5Retained}, {"will", go5Will}, {"session", go5Session}, {"properties", go5Properties},
			{"options", go5Options}, {"shared", go5Shared}, {"limits", go5Limits},
		} {
			t.Run(step.name, func(t *testing.T) { step.run(t, s) })
		}
	}, mqtt.V5)
}

func go5QoS(t *testing.T, s *server) {
	a, b := s.go5(t, "a"), s.go5(t, "b")
	a.subscribe(paho.SubscribeOptions{Topic: "to/a/+", QoS: 2})
	b.subscribe(paho.SubscribeOptions{Topic: "to/b/#", QoS: 2})
	for qos := range byte(3) {
		for _, size := range []int{0, 1, 100, 20_000} {
			payload := strings.Repeat("x", size)
			a.say("to/b/x", payload, qos)
			b.want("to/b/x", payload, qos, false)
			b.say("to/a/x", payload, qos)
			a.want("to/a/x", payload, qos, false)
		}
	}
	_, err := b.c.Unsubscribe(b.ctx(), &paho.Unsubscribe{Topics: []string{"to/b/#"}})
	check(t, err)
	a.say("to/b/x", "no", 1)
	b.silent(a)
}

func go5Retained(t *testing.T, s *server) {
	a := s.go5(t, "a")
	for qos := range byte(3) {
		topic := fmt.Sprint("r/", qos)
		a.publish(&paho.Publish{Topic: topic, Payload: []byte("kept"), QoS: qos, Retain: true})
		b := s.go5(t, fmt.Sprint("b", qos))
		b.subscribe(paho.SubscribeOptions{Topic: "r/+", QoS: 2})
		b.want(topic, "kept", qos, true)
		a.publish(&paho.Publish{Topic: topic, QoS: qos, Retain: true})
		b.want(topic, "", qos, false)
		c := s.go5(t, fmt.Sprint("c", qos))
		c.subscribe(paho.SubscribeOptions{Topic: "r/+", QoS: 2})
		c.silent(a)
	}
}

func go5Will(t *testing.T, s *server) {
	watch := s.go5(t, "watch")
	watch.subscribe(paho.SubscribeOptions{Topic: "w", QoS: 1})
	last := func(c *paho.Connect) {
		c.WillMessage = &paho.WillMessage{Topic: "w", Payload: []byte("gone"), QoS: 1}
		c.WillProperties = &paho.WillProperties{User: paho.UserProperties{{Key: "k", Value: "v"}}}
	}
	s.go5(t, "mortal", last).leave()
	watch.silent(watch)
	check(t, s.go5(t, "mortal", last).nc.Close())
	if m := watch.want("w", "gone", 1, false); m.Properties.User.Get("k") != "v" { // the others it does not send
		t.Errorf("%v", m)
	}
	late := func(c *paho.Connect) {
		last(c)
		kept5(c)
		c.WillProperties.WillDelayInterval = of(uint32(1))
	}
	begin := time.Now()
	check(t, s.go5(t, "late", late).nc.Close())
	watch.want("w", "gone", 1, false)
	if took := time.Since(begin); took < 900*time.Millisecond {
		t.Errorf("a will with a delay of 1 s after %v", took)
	}
}

func go5Session(t *testing.T, s *server) {
	a := s.go5(t, "a")
	away := s.go5(t, "away", kept5)
	if away.connack.SessionPresent {
		t.Error("a session from nowhere")
	}
	away.subscribe(paho.SubscribeOptions{Topic: "s/#", QoS: 2})
	away.leave()
	for i := range 30 {
		a.say("s/x", fmt.Sprint(i), byte(1+i%2))
	}
	// Paho refuses a session that it does not have itself; it is told that it has one
	// by an expiry alone.
	away = s.go5(t, "away", kept5)
	byQoS := map[byte][]string{}
	for range 30 {
		m := received(t, away.got)
		byQoS[m.QoS] = append(byQoS[m.QoS], string(m.Payload))
	}
	inOrder(t, byQoS)
	away.leave()
	fresh := s.go5(t, "away")
	if fresh.connack.SessionPresent {
		t.Error("session present after a clean start")
	}
	a.say("s/x", "no", 1)
	fresh.silent(a)
}

func go5Properties(t *testing.T, s *server) {
	a, b := s.go5(t, "a"), s.go5(t, "b")
	_, err := b.c.Subscribe(b.ctx(), &paho.Subscribe{
		Properties:    &paho.SubscribeProperties{SubscriptionIdentifier: of(4242)},
		Subscriptions: []paho.SubscribeOptions{{Topic: "p", QoS: 1}},
	})
	check(t, err)
	a.publish(&paho.Publish{Topic: "p", Payload: []byte("question"), QoS: 1, Properties: &paho.PublishProperties{
		ContentType: "text/plain", ResponseTopic: "answer", CorrelationData: []byte{0, 255}, PayloadFormat: of(byte(1)),
		MessageExpiry: of(uint32(100)), User: paho.UserProperties{{Key: "k", Value: "1"}, {Key: "a", Value: "2"}, {Key: "k", Value: "3"}},
	}})
	p := b.want("p", "question", 1, false).Properties
	if p.ContentType != "text/plain" || p.ResponseTopic != "answer" || string(p.CorrelationData) != "\x00\xff" || *p.PayloadFormat != 1 ||
		*p.MessageExpiry > 100 || *p.MessageExpiry < 80 || *p.SubscriptionIdentifier != 4242 || fmt.Sprint(p.User) != "[{k 1} {a 2} {k 3}]" {
		t.Errorf("%+v", p)
	}
}

func go5Options(t *testing.T, s *server) {
	a, b := s.go5(t, "a"), s.go5(t, "b")
	a.subscribe(paho.SubscribeOptions{Topic: "o", QoS: 1, NoLocal: true})
	b.subscribe(paho.SubscribeOptions{Topic: "o", QoS: 1, RetainAsPublished: true})
	a.publish(&paho.Publish{Topic: "o", Payload: []byte("kept"), QoS: 1, Retain: true})
	b.want("o", "kept", 1, true)
	for handling := byte(1); handling < 3; handling++ {
		b.subscribe(paho.SubscribeOptions{Topic: "o", QoS: 1, RetainHandling: handling})
	}
	b.silent(b)
	a.publish(&paho.Publish{Topic: "o", QoS: 1, Retain: true})
	a.silent(b)
}

func go5Shared(t *testing.T, s *server) {
	a := s.go5(t, "a")
	members := []*go5Peer{s.go5(t, "one"), s.go5(t, "two")}
	for _, p := range members {
		p.subscribe(paho.SubscribeOptions{Topic: "$share/g/x", QoS: 1})
		p.subscribe(paho.SubscribeOptions{Topic: "mark", QoS: 1})
	}
	for i := range 20 {
		a.say("x", fmt.Sprint(i), 1)
	}
	a.say("mark", "", 1)
	seen := map[string]bool{}
	for _, p := range members {
		for m := received(t, p.got); m.Topic != "mark"; m = received(t, p.got) {
			if seen[string(m.Payload)] {
				t.Errorf("twice: %s", m.Payload)
			}
			seen[string(m.Payload)] = true
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d of 20", len(seen))
	}
}

// go5Limits: what the client says it can take.
func go5Limits(t *testing.T, s *server) {
	a := s.go5(t, "a")
	b := s.go5(t, "", func(c *paho.Connect) {
		c.Properties.ReceiveMaximum, c.Properties.TopicAliasMaximum = of(uint16(2)), of(uint16(0))
		c.Properties.MaximumPacketSize = of(uint32(5000))
	})
	if b.connack.Properties.AssignedClientID == "" {
		t.Error("no client id assigned")
	}
	b.subscribe(paho.SubscribeOptions{Topic: "x", QoS: 1})
	a.say("x", strings.Repeat("x", 6000), 1)
	for i := range 20 {
		a.say("x", fmt.Sprint(i), 1)
	}
	for i := range 20 {
		b.want("x", fmt.Sprint(i), 1, false)
	}
}
