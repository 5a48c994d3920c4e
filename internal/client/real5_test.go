package client_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// server5 runs each test of MQTT 5 against the servers that speak it.
func server5(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("ours", func(t *testing.T) {
		_, url := newBroker(t)
		test(t, url)
	})
	t.Run("mosquitto", func(t *testing.T) { test(t, mosquitto(t)) })
}

// inbox collects what a client gets.
type inbox struct {
	mu  sync.Mutex
	all []client.Message
}

func (i *inbox) put(m *client.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := *m
	c.Payload = append([]byte(nil), m.Payload...)
	i.all = append(i.all, c)
}

func (i *inbox) len() int { i.mu.Lock(); defer i.mu.Unlock(); return len(i.all) }

func (i *inbox) get(n int) client.Message { i.mu.Lock(); defer i.mu.Unlock(); return i.all[n] }

// subscribed runs a client and waits until its subscriptions stand: it hears itself on a topic of its own.
func subscribed(t *testing.T, o client.Options, box *inbox) *client.Client {
	t.Helper()
	ready := make(chan struct{})
	up := sync.OnceFunc(func() { close(ready) }) // after a connection that was cut what it said comes twice
	self := "self/" + o.ClientID
	o.Version = mqtt.V5
	own := client.Subscription{Filter: self, QoS: 1}
	if len(o.Subscriptions) > 0 {
		own.ID = o.Subscriptions[0].ID // so that it is in the same SUBSCRIBE
	}
	o.Subscriptions = append(o.Subscriptions, own)
	o.OnMessage = func(m *client.Message) {
		if m.Topic == self {
			up()
			return
		}
		box.put(m)
	}
	c := run(t, o)
	if err := c.Publish(t.Context(), client.Message{Topic: self, QoS: 1}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		t.Fatal("not subscribed within 20 s")
	}
	return c
}

// TestRequestAndResponse: one client asks another one over real servers; properties come through, the subscription's identifier too.
func TestRequestAndResponse(t *testing.T) {
	server5(t, func(t *testing.T, url string) {
		var asked, answered inbox
		var responder *client.Client
		asker := subscribed(t, client.Options{URL: url, ClientID: "asker", Clean: true,
			Subscriptions: []client.Subscription{{Filter: "answer/asker", QoS: 1, ID: 12}}}, &answered)
		responder = subscribed(t, client.Options{URL: url, ClientID: "responder", Clean: true, TopicAliases: 10,
			Subscriptions: []client.Subscription{{Filter: "question", QoS: 1}}}, &asked)
		props := &mqtt.Properties{ResponseTopic: "answer/asker", CorrelationData: []byte{1, 2}, ContentType: "text", MessageExpiry: 60,
			UserProperties: []mqtt.UserProperty{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}},
			Present:        mqtt.Present(mqtt.PropResponseTopic, mqtt.PropCorrelationData, mqtt.PropContentType, mqtt.PropMessageExpiry)}
		if err := asker.Publish(t.Context(), client.Message{Topic: "question", Payload: []byte("?"), QoS: 1, Properties: props}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the question", func() bool { return asked.len() == 1 })
		q := asked.get(0).Properties
		if q == nil || q.ResponseTopic != "answer/asker" || string(q.CorrelationData) != "\x01\x02" || q.ContentType != "text" || len(q.UserProperties) != 2 ||
			q.UserProperties[1].Value != "2" || q.MessageExpiry == 0 || q.MessageExpiry > 60 {
			t.Fatalf("%+v", q)
		}
		if err := responder.Publish(t.Context(), client.Message{Topic: q.ResponseTopic, Payload: []byte("!"), QoS: 1,
			Properties: &mqtt.Properties{CorrelationData: q.CorrelationData, Present: mqtt.Present(mqtt.PropCorrelationData)}}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the answer", func() bool { return answered.len() == 1 })
		if a := answered.get(0).Properties; string(a.CorrelationData) != "\x01\x02" || len(a.SubscriptionIDs) != 1 || a.SubscriptionIDs[0] != 12 {
			t.Errorf("%+v", a)
		}
	})
}

// TestNoLocalAndRetain: what a client publishes does not come back to it, and RETAIN stays as it was set.
func TestNoLocalAndRetain(t *testing.T) {
	server5(t, func(t *testing.T, url string) {
		var one, two inbox
		a := subscribed(t, client.Options{URL: url, ClientID: "a", Clean: true,
			Subscriptions: []client.Subscription{{Filter: "x/#", QoS: 1, NoLocal: true, RetainAsPublished: true}}}, &one)
		b := subscribed(t, client.Options{URL: url, ClientID: "b", Clean: true,
			Subscriptions: []client.Subscription{{Filter: "x/#", QoS: 1, RetainAsPublished: true}}}, &two)
		for i, c := range []*client.Client{a, b} {
			if err := c.Publish(t.Context(), client.Message{Topic: fmt.Sprintf("x/%d", i), Payload: []byte("x"), QoS: 1, Retain: true}); err != nil {
				t.Fatal(err)
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "both at b, one at a", func() bool { return one.len() == 1 && two.len() == 2 })
		if m := one.get(0); m.Topic != "x/1" || !m.Retain {
			t.Errorf("%+v", m)
		}
	})
}

// TestSessionExpiryAndWillDelay: a will with a delay is not sent when the client is back in time; a session without expiry is gone.
func TestSessionExpiryAndWillDelay(t *testing.T) {
	server5(t, func(t *testing.T, url string) {
		var watch, in inbox
		subscribed(t, client.Options{URL: url, ClientID: "w", Clean: true, Subscriptions: []client.Subscription{{Filter: "will/#", QoS: 1}}}, &watch)
		will := func(topic string, delay uint32) func() *client.Message {
			return func() *client.Message {
				return &client.Message{Topic: topic, QoS: 1, Properties: &mqtt.Properties{WillDelay: delay, Present: mqtt.Present(mqtt.PropWillDelay)}}
			}
		}
		present := make(chan bool, 10)
		late := subscribed(t, client.Options{URL: url, ClientID: "late", Will: will("will/late", 3600), SessionExpiry: time.Hour,
			OnConnect: func(p bool) { present <- p }}, &in)
		soon := subscribed(t, client.Options{URL: url, ClientID: "soon", Will: will("will/soon", 0)}, &in)
		if <-present {
			t.Error("a session at the first connection")
		}
		late.Kill()
		soon.Kill()
		eventually(t, "the will without a delay", func() bool { return watch.len() == 1 })
		late.Resume()
		if !<-present {
			t.Error("the session is gone")
		}
		if m := watch.get(0); m.Topic != "will/soon" || watch.len() != 1 {
			t.Errorf("%+v", m)
		}
	})
}

// TestAServerGivesTheID: without a client id the server gives one, and keeps the session under it.
func TestAServerGivesTheID(t *testing.T) {
	server5(t, func(t *testing.T, url string) {
		present := make(chan bool, 10)
		ids := make(chan string, 10)
		c := run(t, client.Options{URL: url, Version: mqtt.V5, OnConnect: func(p bool) { present <- p },
			OnConnack: func(a *mqtt.Connack) {
				id := ""
				if a.Properties != nil {
					id = a.Properties.AssignedClientID
				}
				ids <- id
			}})
		if id := <-ids; id == "" || <-present {
			t.Errorf("id %q", id)
		}
		c.Kill()
		c.Resume()
		if id := <-ids; id != "" || !<-present {
			t.Errorf("id %q, and no session", id)
		}
	})
}

// TestAliasesAtServers: over real servers each message of a client with topic aliases arrives under its own topic, in order, also
// those that go out again after the connection was cut.
func TestAliasesAtServers(t *testing.T) {
	server5(t, func(t *testing.T, url string) {
		var in inbox
		subscribed(t, client.Options{URL: url, ClientID: "watch", Clean: true, Subscriptions: []client.Subscription{{Filter: "topic/#", QoS: 1}}}, &in)
		from := subscribed(t, client.Options{URL: url, ClientID: "from", Aliases: 100, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}, &inbox{})
		const messages, topics = 600, 50
		for i := range messages {
			m := client.Message{Topic: fmt.Sprintf("topic/%d", i%topics), Payload: fmt.Append(nil, i), QoS: 1}
			if err := from.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if i%200 == 100 {
				from.Kill()
				from.Resume()
			}
		}
		if err := from.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := make(map[string]int)
		eventually(t, "all of them", func() bool {
			return in.len() >= messages && string(in.get(in.len()-1).Payload) == fmt.Sprint(messages-1)
		})
		got := 0
		for i := range in.len() {
			m := in.get(i)
			n, err := strconv.Atoi(string(m.Payload))
			if err != nil || m.Topic != fmt.Sprintf("topic/%d", n%topics) {
				t.Fatalf("message %s under %q", m.Payload, m.Topic)
			}
			if before, ok := last[m.Topic]; ok && n <= before { // sent again
				continue
			}
			last[m.Topic] = n
			got++
		}
		if got != messages {
			t.Errorf("%d messages in order, want %d", got, messages)
		}
	})
}
