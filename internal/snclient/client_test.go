package snclient

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	sn "github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a client and a gateway whose part the test plays, on a link of its own, in a bubble of synthetic time.
type rig struct {
	t  *testing.T
	m  *snlink.Medium
	c  *Client
	gw *snlink.Node

	search bool // the link names no gateway

	mu       sync.Mutex
	messages []string
	states   []string
	connects int
	ends     []error
	done     []error
}

const gwAddr = snlink.MediumAddr("gw")

var from = snlink.MediumAddr("M1")

func play(t *testing.T, edit func(*Options), test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		m, err := snlink.NewMedium(snlink.MediumOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{t: t, m: m, gw: attach(t, m, "gw")}
		o := Options{ClientID: "M1", KeepAlive: -1, Search: -1, Predefined: map[uint16]string{2: "up/meter/M1/reading", 0x82: "dn/meter/M1/cmd"},
			Dial: func(context.Context) (snlink.Link, error) {
				n, err := m.Attach("M1")
				if r.search {
					return snlink.Link{Conn: n}, err
				}
				return snlink.Link{Conn: n, Gateway: gwAddr}, err
			},
			OnConnect:    func() { r.locked(func() { r.connects++ }) },
			OnDisconnect: func(err error) { r.locked(func() { r.ends = append(r.ends, err) }) },
			OnState:      func(s State) { r.locked(func() { r.states = append(r.states, s.String()) }) },
			OnMessage: func(m *Message) {
				r.locked(func() { r.messages = append(r.messages, fmt.Sprintf("%s=%s", m.Topic, m.Payload)) })
			},
		}
		if edit != nil {
			edit(&o)
		}
		r.search = o.Search >= 0
		if r.c, err = New(o); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := r.c.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() {
			cancel()
			wg.Wait()
			_ = r.gw.Close()
		})
		test(r)
	})
}

func attach(t *testing.T, m *snlink.Medium, name string) *snlink.Node {
	t.Helper()
	n, err := m.Attach(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// id is the client's last message id.
func (r *rig) id() uint16 {
	synctest.Wait()
	return r.c.msgID
}

func (r *rig) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// got is the next message at the gateway, nil if none comes within a time.
func (r *rig) next(n *snlink.Node, within time.Duration) sn.Message {
	r.t.Helper()
	type result struct {
		m   sn.Message
		err error
	}
	ch := make(chan result, 1)
	stop := make(chan struct{})
	go func() {
		b := make([]byte, 1000)
		k, _, err := n.ReadFrom(b)
		if err != nil {
			ch <- result{nil, err}
			return
		}
		m, err := sn.Decode(b[:k])
		ch <- result{m, err}
		close(stop)
	}()
	select {
	case x := <-ch:
		if x.err != nil {
			r.t.Fatal(x.err)
		}
		return x.m
	case <-time.After(within):
		// The reader gets a message of our own, so that it ends.
		poke := attach(r.t, r.m, "poke")
		b, _ := sn.Pingresp{}.Append(nil)
		_, _ = poke.WriteTo(b, n.LocalAddr())
		<-ch
		_ = poke.Close()
		return nil
	}
}

// from expects that a message comes from the client.
func (r *rig) from(want sn.Message) {
	r.t.Helper()
	got := r.next(r.gw, time.Hour)
	if !reflect.DeepEqual(got, want) {
		r.t.Fatalf("client --%#v--> gateway\nwant    %#v", got, want)
	}
}

// silent expects that nothing comes for a time.
func (r *rig) silent(d time.Duration) {
	r.t.Helper()
	if m := r.next(r.gw, d); m != nil {
		r.t.Fatalf("client --%#v--> gateway, want nothing for %s", m, d)
	}
}

// to sends a message to the client.
func (r *rig) to(m sn.Message) {
	r.t.Helper()
	r.toFrom(r.gw, m)
}

func (r *rig) toFrom(n *snlink.Node, m sn.Message) {
	r.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := n.WriteTo(b, from); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// connect plays a CONNECT without a will and without subscriptions.
func (r *rig) connect() {
	r.t.Helper()
	r.from(sn.Connect{ClientID: "M1"})
	r.to(sn.Connack{})
}

func (r *rig) publish(topic, payload string, qos sn.QoS) {
	r.t.Helper()
	if !r.c.TryPublish(Message{Topic: topic, Payload: []byte(payload), QoS: qos, Done: func(err error) {
		r.locked(func() { r.done = append(r.done, err) })
	}}) {
		r.t.Fatalf("%s does not fit", topic)
	}
}

func (r *rig) has(what string, got []string, want ...string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !reflect.DeepEqual(got, want) {
		r.t.Errorf("%s %q, want %q", what, got, want)
	}
}

// MQTT-SN 1.2, 6.2: the will handshake; then subscriptions, the first message, and what was queued.
func TestConnect(t *testing.T) {
	play(t, func(o *Options) {
		o.KeepAlive = time.Minute
		o.Will = func() *Message { return &Message{Topic: "up/meter/M1/lost", Payload: []byte("gone"), QoS: 1} }
		o.Birth = func() *Message { return &Message{Topic: "up/meter/M1/location", Payload: []byte("here")} }
		o.Subscriptions = []Subscription{{"dn/meter/M1/cmd", 1}, {"dn/all/meter/#", 1}, {"ab", 2}}
	}, func(r *rig) {
		r.publish("up/meter/M1/reading", "42", 1)
		r.from(sn.Connect{Will: true, Duration: 60, ClientID: "M1"})
		r.to(sn.Willtopicreq{})
		r.from(sn.Willtopic{QoS: 1, Topic: "up/meter/M1/lost"})
		r.to(sn.Willmsgreq{})
		r.from(sn.Willmsg{Payload: []byte("gone")})
		r.to(sn.Connack{})
		id := r.id()
		r.from(sn.Subscribe{QoS: 1, TopicType: sn.Predefined, TopicID: 0x82, MsgID: id})
		r.to(sn.Suback{QoS: 1, TopicID: 0x82, MsgID: id})
		r.from(sn.Subscribe{QoS: 1, Topic: "dn/all/meter/#", MsgID: id + 1})
		r.to(sn.Suback{QoS: 1, TopicID: 7, MsgID: id + 1}) // Paho gives an id to a filter: it means nothing
		ab, _ := sn.ShortID("ab")
		r.from(sn.Subscribe{QoS: 2, TopicType: sn.Short, TopicID: ab, MsgID: id + 2})
		r.to(sn.Suback{QoS: 2, MsgID: id + 2})
		r.from(sn.Register{MsgID: id + 3, Topic: "up/meter/M1/location"})
		r.to(sn.Regack{TopicID: 9, MsgID: id + 3})
		r.from(sn.Publish{TopicID: 9, Payload: []byte("here")})
		r.from(sn.Publish{QoS: 1, TopicType: sn.Predefined, TopicID: 2, MsgID: id + 4, Payload: []byte("42")})
		r.to(sn.Puback{TopicID: 2, MsgID: id + 4})
		synctest.Wait()
		if r.connects != 1 || len(r.done) != 1 || r.done[0] != nil || r.c.State() != Active {
			t.Errorf("%d connects, done %v, %s", r.connects, r.done, r.c.State())
		}
		// Keep-alive: a sign of life before a minute is over, repeated if it is not answered.
		began := time.Now()
		r.from(sn.Pingreq{})
		if d := time.Since(began); d < 40*time.Second || d > 60*time.Second {
			t.Errorf("PINGREQ after %s", d)
		}
		r.from(sn.Pingreq{})
		r.to(sn.Pingresp{})
		// The gateway may ask, too.
		r.to(sn.Pingreq{})
		r.from(sn.Pingresp{})
	})
}

// 6.13: T_retry apart, DUP set, N_retry times, with the same id; then the gateway is gone and the session begins anew.
func TestRetransmission(t *testing.T) {
	play(t, func(o *Options) { o.Retries = 2 }, func(r *rig) {
		r.connect()
		id := r.id() + 1
		r.publish("up/meter/M1/reading", "1", 1)
		p := sn.Publish{QoS: 1, TopicType: sn.Predefined, TopicID: 2, MsgID: id, Payload: []byte("1")}
		r.from(p)
		p.Dup = true
		for range 2 {
			began := time.Now()
			r.from(p)
			if d := time.Since(began); d < 7*time.Second || d > 13*time.Second {
				t.Errorf("repeated after %s", d)
			}
		}
		r.connect()
		r.from(p) // the same message with the same id: a gateway that kept the session has it already
		r.to(sn.Puback{TopicID: 2, MsgID: id})
		if s := r.c.Stats(); s.Repeated != 2 || s.Lost != 1 || len(r.done) != 1 {
			t.Errorf("%+v, done %v", s, r.done)
		}
	})
}

func TestQoS2(t *testing.T) {
	play(t, func(o *Options) { o.Retries = 1 }, func(r *rig) {
		r.connect()
		id := r.id() + 1
		r.publish("ab", "x", 2)
		ab, _ := sn.ShortID("ab")
		r.from(sn.Publish{QoS: 2, TopicType: sn.Short, TopicID: ab, MsgID: id, Payload: []byte("x")})
		r.to(sn.Pubrec{MsgID: id})
		r.from(sn.Pubrel{MsgID: id})
		r.from(sn.Pubrel{MsgID: id})
		r.connect() // in the middle of it: it goes on with PUBREL, so the message is not sent twice
		r.from(sn.Pubrel{MsgID: id})
		r.to(sn.Pubcomp{MsgID: id})
		if len(r.done) != 1 {
			t.Errorf("done %v", r.done)
		}
		// And in the other direction.
		p := sn.Publish{QoS: 2, TopicType: sn.Short, TopicID: ab, MsgID: 5, Payload: []byte("y")}
		r.to(p)
		r.from(sn.Pubrec{MsgID: 5})
		p.Dup = true
		r.to(p)
		r.from(sn.Pubrec{MsgID: 5})
		r.to(sn.Pubrel{MsgID: 5})
		r.from(sn.Pubcomp{MsgID: 5})
		r.to(sn.Pubrel{MsgID: 5})
		r.from(sn.Pubcomp{MsgID: 5})
		r.has("messages", r.messages, "ab=y")
		r.to(p) // another one that has the id by chance, or the same: after PUBREL nobody can tell
		r.from(sn.Pubrec{MsgID: 5})
		r.has("messages", r.messages, "ab=y", "ab=y")
	})
}

// Topics of what comes: predefined, registered by the gateway, by SUBACK, unknown. Doubled messages are acknowledged, not delivered.
func TestReceive(t *testing.T) {
	play(t, func(o *Options) { o.Subscriptions = []Subscription{{"plain", 1}} }, func(r *rig) {
		r.connect()
		id := r.id()
		r.from(sn.Subscribe{QoS: 1, Topic: "plain", MsgID: id})
		r.to(sn.Suback{QoS: 1, TopicID: 3, MsgID: id})
		r.to(sn.Publish{TopicID: 3, Payload: []byte("a")})
		r.to(sn.Register{TopicID: 4, MsgID: 1, Topic: "dn/x"})
		r.from(sn.Regack{TopicID: 4, MsgID: 1})
		p := sn.Publish{QoS: 1, TopicID: 4, MsgID: 2, Payload: []byte("b")}
		for range 3 { // the network doubles it, then the gateway repeats it
			r.to(p)
			r.from(sn.Puback{TopicID: 4, MsgID: 2})
			p.Dup = !p.Dup
		}
		p.Payload = []byte("c")
		r.to(p)
		r.from(sn.Puback{TopicID: 4, MsgID: 2})
		r.to(sn.Publish{QoS: 1, TopicType: sn.Predefined, TopicID: 0x82, MsgID: 3, Payload: []byte("d")})
		r.from(sn.Puback{TopicID: 0x82, MsgID: 3})
		r.to(sn.Publish{QoS: 1, TopicID: 77, MsgID: 4})
		r.from(sn.Puback{TopicID: 77, MsgID: 4, Code: sn.InvalidTopicID})
		r.to(sn.Publish{TopicType: sn.Predefined, TopicID: 99})
		r.from(sn.Puback{TopicID: 99, Code: sn.InvalidTopicID})
		r.has("messages", r.messages, "plain=a", "dn/x=b", "dn/x=c", "dn/meter/M1/cmd=d")
		// What comes from somebody else, or is no message, is not looked at.
		other := attach(t, r.m, "other")
		r.toFrom(other, sn.Publish{TopicID: 3, Payload: []byte("forged")})
		r.toFrom(other, sn.Disconnect{})
		_, _ = r.gw.WriteTo([]byte{9, 9, 9}, from)
		r.silent(time.Minute)
		if len(r.messages) != 4 || r.c.Stats().Malformed != 1 || r.c.Stats().Duplicates != 2 {
			t.Errorf("%q, %+v", r.messages, r.c.Stats())
		}
	})
}

// A session that goes on: what the gateway repeats over a new connection is known, where it says that it repeats.
func TestReceiveAgain(t *testing.T) {
	for _, clean := range []bool{false, true} {
		play(t, func(o *Options) { o.Clean = clean }, func(r *rig) {
			r.from(sn.Connect{ClientID: "M1", Clean: clean})
			r.to(sn.Connack{})
			p := sn.Publish{QoS: 1, TopicType: sn.Predefined, TopicID: 0x82, MsgID: 3, Payload: []byte("a")}
			r.to(p)
			r.from(sn.Puback{TopicID: 0x82, MsgID: 3})
			time.Sleep(time.Minute)
			r.to(sn.Disconnect{})
			r.from(sn.Connect{ClientID: "M1", Clean: clean})
			r.to(sn.Connack{})
			p.Dup = true
			r.to(p)
			r.from(sn.Puback{TopicID: 0x82, MsgID: 3})
			if clean { // another session, in which it is the first
				r.has("messages", r.messages, "dn/meter/M1/cmd=a", "dn/meter/M1/cmd=a")
			} else {
				r.has("messages", r.messages, "dn/meter/M1/cmd=a")
			}
		})
	}
}

// A gateway that does not know a predefined id is told the name; one that forgot an id is told again.
func TestTopicIDs(t *testing.T) {
	play(t, nil, func(r *rig) {
		r.connect()
		id := r.id() + 1
		r.publish("up/meter/M1/reading", "1", 1)
		r.from(sn.Publish{QoS: 1, TopicType: sn.Predefined, TopicID: 2, MsgID: id, Payload: []byte("1")})
		r.to(sn.Puback{TopicID: 2, MsgID: id, Code: sn.InvalidTopicID})
		r.from(sn.Register{MsgID: id + 1, Topic: "up/meter/M1/reading"})
		r.to(sn.Regack{TopicID: 5, MsgID: id + 1})
		r.from(sn.Publish{QoS: 1, TopicID: 5, MsgID: id + 2, Payload: []byte("1")})
		r.to(sn.Puback{TopicID: 5, MsgID: id + 2})
		r.to(sn.Publish{QoS: 1, MsgID: 1, TopicID: 5, Payload: []byte("echo")}) // 6.5: the id is good in both directions
		r.from(sn.Puback{MsgID: 1, TopicID: 5})
		r.has("messages", r.messages, "up/meter/M1/reading=echo")
		r.publish("up/meter/M1/reading", "2", 1)
		r.from(sn.Publish{QoS: 1, TopicID: 5, MsgID: id + 3, Payload: []byte("2")})
		r.to(sn.Puback{TopicID: 5, MsgID: id + 3, Code: sn.InvalidTopicID}) // it was restarted
		r.from(sn.Register{MsgID: id + 4, Topic: "up/meter/M1/reading"})
		r.to(sn.Regack{TopicID: 6, MsgID: id + 4})
		r.from(sn.Publish{QoS: 1, TopicID: 6, MsgID: id + 5, Payload: []byte("2")})
		r.to(sn.Puback{TopicID: 6, MsgID: id + 5, Code: sn.NotSupported})
		synctest.Wait()
		if len(r.done) != 2 || r.done[0] != nil || r.done[1] == nil || !strings.Contains(r.done[1].Error(), "not supported") {
			t.Errorf("done %v", r.done)
		}
	})
}

// 6.6: after "rejected: congestion" nothing is published for T_WAIT.
func TestCongestion(t *testing.T) {
	play(t, nil, func(r *rig) {
		r.from(sn.Connect{ClientID: "M1"})
		r.to(sn.Connack{Code: sn.Congestion})
		began := time.Now()
		r.connect()
		if d := time.Since(began); d < 5*time.Minute {
			t.Errorf("connects again after %s", d)
		}
		r.publish("up/meter/M1/reading", "1", 1)
		p := r.next(r.gw, time.Hour).(sn.Publish)
		r.to(sn.Puback{TopicID: 2, MsgID: p.MsgID, Code: sn.Congestion})
		r.silent(4*time.Minute + 50*time.Second)
		p = r.next(r.gw, time.Hour).(sn.Publish)
		r.to(sn.Puback{TopicID: 2, MsgID: p.MsgID})
		if len(r.done) != 1 || r.done[0] != nil || p.Dup {
			t.Errorf("done %v, %+v", r.done, p)
		}
		r.c.Subscribe(Subscription{"x/y", 0})
		s := r.next(r.gw, time.Hour).(sn.Subscribe)
		r.to(sn.Suback{MsgID: s.MsgID, Code: sn.Congestion})
		r.silent(4*time.Minute + 50*time.Second)
		s = r.next(r.gw, time.Hour).(sn.Subscribe)
		r.to(sn.Suback{MsgID: s.MsgID, TopicID: 1})
		r.c.Unsubscribe("x/y")
		u := r.next(r.gw, time.Hour).(sn.Unsubscribe)
		r.to(sn.Unsuback{MsgID: u.MsgID})
		if u.Topic != "x/y" {
			t.Errorf("%+v", u)
		}
	})
}

// 6.4: a will may change inside of a connection.
func TestWillUpdate(t *testing.T) {
	play(t, nil, func(r *rig) {
		r.connect()
		r.c.SetWill(&Message{Topic: "w", Payload: []byte("new"), QoS: 1})
		r.from(sn.Willtopicupd{QoS: 1, Topic: "w"})
		r.to(sn.Willtopicresp{})
		r.from(sn.Willmsgupd{Payload: []byte("new")})
		r.to(sn.Willmsgresp{})
		r.c.SetWill(nil)
		r.from(sn.Willtopicupd{})
		r.to(sn.Willtopicresp{Code: sn.NotSupported}) // as Paho answers: the connection goes on
		r.publish("up/meter/M1/reading", "1", 0)
		r.from(sn.Publish{TopicType: sn.Predefined, TopicID: 2, Payload: []byte("1")})
	})
}

// QoS -1: without a connection, and without the end of a sleep.
func TestWithoutConnection(t *testing.T) {
	play(t, nil, func(r *rig) {
		r.from(sn.Connect{ClientID: "M1"})
		r.publish("up/meter/M1/reading", "now", -1)
		r.publish("no/such/topic", "x", -1)
		r.from(sn.Publish{QoS: -1, TopicType: sn.Predefined, TopicID: 2, Payload: []byte("now")})
		r.to(sn.Connack{})
		r.publish("ab", "too", -1)
		ab, _ := sn.ShortID("ab")
		r.from(sn.Publish{QoS: -1, TopicType: sn.Short, TopicID: ab, Payload: []byte("too")})
		if r.c.Stats().Refused != 1 {
			t.Errorf("%+v", r.c.Stats())
		}
	})
}

func TestKillAndReconnect(t *testing.T) {
	play(t, nil, func(r *rig) {
		r.connect()
		r.c.Reconnect()
		r.from(sn.Disconnect{})
		r.to(sn.Disconnect{})
		r.connect()
		r.c.Kill()
		r.silent(time.Hour)
		r.publish("up/meter/M1/reading", "1", 1)
		if r.c.TryPublish(Message{Topic: "up/meter/M1/reading"}) {
			t.Error("QoS 0 was taken without a connection")
		}
		r.silent(time.Hour)
		r.c.Resume()
		r.connect()
		r.from(sn.Publish{QoS: 1, TopicType: sn.Predefined, TopicID: 2, MsgID: r.id(), Payload: []byte("1")})
		r.to(sn.Puback{TopicID: 2, MsgID: r.id()})
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		defer cancel()
		if err := r.c.Flush(ctx); err != nil {
			t.Error(err)
		}
		// A gateway that forgot the session says so: connect at once, later with pauses.
		time.Sleep(time.Minute)
		r.to(sn.Disconnect{})
		r.connect()
		r.to(sn.Disconnect{})
		r.connect()
		if len(r.ends) != 4 {
			t.Errorf("ends %v", r.ends)
		}
	})
}

func TestBounds(t *testing.T) {
	play(t, func(o *Options) { o.QueueBytes = 1000 }, func(r *rig) {
		r.connect()
		n := 0
		for r.c.TryPublish(Message{Topic: "up/meter/M1/reading", Payload: make([]byte, 36), QoS: 1}) {
			n++
		}
		if n != 8 {
			t.Errorf("%d messages fit", n)
		}
		for i := range 400 {
			r.to(sn.Register{TopicID: uint16(i + 1), MsgID: 1, Topic: fmt.Sprintf("t/%d", i)})
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if len(r.c.names) != maxNames {
			t.Errorf("%d names", len(r.c.names))
		}
	})
	for _, o := range []Options{{}, {ClientID: strings.Repeat("x", 24)}, {ClientID: "x"}, {ClientID: "x", Retries: 21}, {ClientID: "x", Sleep: -1}, {ClientID: "x", Linger: -1}} {
		if o.ClientID != "x" || o.Retries+int(o.Sleep+o.Linger) != 0 {
			o.Dial = func(context.Context) (snlink.Link, error) { return snlink.Link{}, net.ErrClosed }
		}
		if _, err := New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
