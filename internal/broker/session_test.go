package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestResume: what is on the way and what waits comes in the order of publishing,
// the former with DUP [MQTT-4.4.0-1], [MQTT-4.6.0-1].
func TestResume(t *testing.T) {
	s := start(t, Options{MaxInflight: 3})
	p, present := s.connect(t, mqtt.Connect{ClientID: "p"})
	if present {
		t.Error("session present at the first CONNECT [MQTT-3.2.2-3]")
	}
	p.subscribe(2, "a")
	for i := range 5 {
		if n, err := s.Publish("a", fmt.Appendf(nil, "%d", i), 1+byte(i%2), false); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	p.want(pub(1, 1, "a", "0"), pub(2, 2, "a", "1"), pub(1, 3, "a", "2"))
	p.send(mqtt.Pubrec{PacketID: 2})
	p.want(mqtt.Pubrel{PacketID: 2})
	p.send(mqtt.Puback{PacketID: 3})
	p.quiet()
	_ = p.nc.Close()
	eventually(t, "the end", func() bool { return s.Stats().Connections == 0 })
	if n, _ := s.Publish("a", []byte("5"), 1, false); n != 1 {
		t.Error("the session that is not connected did not take it")
	}
	if n, _ := s.Publish("a", []byte("6"), 0, false); n != 0 {
		t.Error("QoS 0 kept for a session that is not connected")
	}

	p, present = s.connect(t, mqtt.Connect{ClientID: "p"})
	if !present { // [MQTT-3.2.2-2]
		t.Error("session not present")
	}
	p.want(again(pub(1, 1, "a", "0")), mqtt.Pubrel{PacketID: 2})
	p.quiet()
	p.send(mqtt.Puback{PacketID: 1}, mqtt.Pubcomp{PacketID: 2})
	p.want(pub(2, 4, "a", "3"), pub(1, 5, "a", "4"), pub(1, 6, "a", "5"))
	p.send(mqtt.Pubrec{PacketID: 4})
	p.want(mqtt.Pubrel{PacketID: 4})
	p.send(mqtt.Pubcomp{PacketID: 4}, mqtt.Puback{PacketID: 5}, mqtt.Puback{PacketID: 6})
	p.quiet()
	if st := s.Stats(); st.QueuedBytes != 0 || st.OfflineBytes != 0 {
		t.Errorf("left over: %+v", st)
	}
}

// TestManyResumes: the order holds over any number of cut connections.
func TestManyResumes(t *testing.T) {
	const n = 2000
	s := start(t, Options{MaxInflight: 100})
	p, _ := s.connect(t, mqtt.Connect{ClientID: "p"})
	p.subscribe(1, "a")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			if _, err := s.Publish("a", fmt.Appendf(nil, "%d", i), 1, false); err != nil {
				t.Error(err)
			}
		}
	}()
	seen := -1
	for seen < n-1 {
		for range 150 {
			m, ok := p.read().(mqtt.Publish)
			if !ok {
				t.Fatalf("%+v", m)
			}
			var i int
			if _, err := fmt.Sscan(string(m.Payload), &i); err != nil {
				t.Fatal(err)
			}
			if i > seen+1 || i <= seen && !m.Dup {
				t.Fatalf("message %d after %d, dup %v", i, seen, m.Dup)
			}
			seen = max(seen, i)
			if i%3 != 0 || m.Dup || i == n-1 { // some stay unacknowledged until the next time
				p.send(mqtt.Puback{PacketID: m.PacketID})
			}
			if seen == n-1 {
				break
			}
			if m.PacketID%97 == 0 {
				break
			}
		}
		_ = p.nc.Close()
		p, _ = s.connect(t, mqtt.Connect{ClientID: "p"})
	}
	<-done
}

// TestCleanSession: [MQTT-3.1.2-6].
func TestCleanSession(t *testing.T) {
	s := start(t, Options{})
	p, _ := s.connect(t, mqtt.Connect{ClientID: "p"})
	p.subscribe(1, "a")
	p.send(bare(mqtt.DISCONNECT))
	p.wantClosed()
	if _, err := s.Publish("a", []byte("kept"), 1, false); err != nil {
		t.Fatal(err)
	}
	p, present := s.connect(t, mqtt.Connect{ClientID: "p", Clean: true})
	if present {
		t.Error("session present after a clean CONNECT")
	}
	p.quiet()
	p.subscribe(1, "a")
	p.send(bare(mqtt.DISCONNECT))
	p.wantClosed()
	eventually(t, "no session", func() bool { st := s.Stats(); return st.Sessions == 0 && st.Subscriptions == 0 })
	if _, present := s.connect(t, mqtt.Connect{ClientID: "p"}); present {
		t.Error("a clean session was kept")
	}
	if st := s.Stats(); st.QueuedBytes != 0 || st.OfflineBytes != 0 {
		t.Errorf("left over: %+v", st)
	}
}

// TestOfflineBounds: the newest is dropped and counted, the oldest kept in order.
func TestOfflineBounds(t *testing.T) {
	const size = messageOverhead + 1 + 100
	s := start(t, Options{MaxSessionQueueBytes: 3 * size, MaxQueueBytes: 10 * size})
	offline := func(id string) {
		p, _ := s.connect(t, mqtt.Connect{ClientID: id})
		p.subscribe(1, "a")
		p.send(bare(mqtt.DISCONNECT))
		p.wantClosed()
		eventually(t, "detached", func() bool { return s.Stats().Connections == 0 })
	}
	offline("p")
	message := func(i int) []byte { return fmt.Appendf(make([]byte, 0, 100), "%0100d", i) }
	for i := range 5 {
		if _, err := s.Publish("a", message(i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if d := s.Stats().Dropped; d["offline_session_full"] != 2 {
		t.Errorf("dropped %v", d)
	}
	offline("q")
	for i := range 3 { // two fit under half of the total
		if _, err := s.Publish("a", message(10+i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if d := s.Stats().Dropped; d["offline_session_full"] != 5 || d["offline_total_full"] != 1 {
		t.Errorf("dropped %v", d)
	}
	p, _ := s.connect(t, mqtt.Connect{ClientID: "p"})
	p.want(pub(1, 1, "a", string(message(0))), pub(1, 2, "a", string(message(1))), pub(1, 3, "a", string(message(2))))
	p.quiet()
}

func TestSessionExpiry(t *testing.T) {
	s := start(t, Options{SessionExpiry: 50 * time.Millisecond})
	p, _ := s.connect(t, mqtt.Connect{ClientID: "p"})
	p.subscribe(1, "a")
	stay, _ := s.connect(t, mqtt.Connect{ClientID: "stay"})
	_ = p.nc.Close()
	eventually(t, "expiry", func() bool { return s.Stats().Sessions == 1 })
	stay.quiet()
	if st := s.Stats(); st.Subscriptions != 0 {
		t.Errorf("%+v", st)
	}
}

// TestUnsubscribe: [MQTT-3.10.4-1] to [MQTT-3.10.4-5].
func TestUnsubscribe(t *testing.T) {
	s := start(t, Options{})
	p := s.clean(t, "p")
	p.subscribe(1, "a", "b/+", "b/#")
	p.send(mqtt.Unsubscribe{PacketID: 5, Filters: []string{"a", "b/+", "never"}})
	p.want(mqtt.Unsuback{PacketID: 5})
	p.send(pub(0, 0, "a", "1"), pub(0, 0, "b/c", "2"))
	p.want(pub(0, 0, "b/c", "2"))
	p.quiet()
}

func TestSubscriptionBounds(t *testing.T) {
	s := start(t, Options{MaxSubscriptions: 2, MaxFilterLevels: 3, MaxFilterBytes: 10})
	p := s.clean(t, "p")
	p.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{
		{Filter: "a/b/c/d"}, {Filter: "12345678901"}, {Filter: "a"}, {Filter: "b"}, {Filter: "c"}, {Filter: "a", QoS: 1}}})
	p.want(mqtt.Suback{PacketID: 1, Codes: []byte{0x80, 0x80, 0, 0, 0x80, 1}})
	p.quiet()
}

// TestRetained: [MQTT-3.3.1-5] to [MQTT-3.3.1-12].
func TestRetained(t *testing.T) {
	s := start(t, Options{MaxRetained: 3})
	from, live := s.clean(t, "from"), s.clean(t, "live")
	live.subscribe(2, "#")
	from.send(retainedPub(1, 1, "a/b", "old"), retainedPub(1, 2, "a/b", "new"), retainedPub(0, 0, "a/c", "zero"))
	from.want(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2})
	// [MQTT-3.3.1-9] not said to be retained to who was there.
	live.want(pub(1, 1, "a/b", "old"), pub(1, 2, "a/b", "new"), pub(0, 0, "a/c", "zero"))

	late := s.clean(t, "late")
	late.subscribe(2, "a/b")
	late.want(retainedPub(1, 1, "a/b", "new")) // [MQTT-3.3.1-6], [MQTT-3.3.1-8]
	late.subscribe(0, "a/+")
	got := map[any]bool{}
	for range 2 {
		got[string(late.read().(mqtt.Publish).Payload)] = true
	}
	if !got["new"] || !got["zero"] {
		t.Errorf("got %v", got)
	}
	late.subscribe(0, "a/b") // [MQTT-3.8.4-3] again, and with the new QoS
	late.want(retainedPub(0, 0, "a/b", "new"))

	from.send(retainedPub(0, 0, "a/c", "")) // [MQTT-3.3.1-10]
	live.want(pub(0, 0, "a/c", ""))         // [MQTT-3.3.1-11]
	late.want(pub(0, 0, "a/c", ""))
	from.send(retainedPub(1, 3, "$x", "")) // dropped, acknowledged
	from.want(mqtt.Puback{PacketID: 3})
	later := s.clean(t, "later")
	later.subscribe(0, "a/c", "+/+/#")
	later.want(retainedPub(0, 0, "a/b", "new"))
	later.quiet()

	for i := range 3 { // two fit, the third is delivered and not kept
		if _, err := s.Publish(fmt.Sprintf("r/%d", i), []byte("x"), 0, true); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Retained != 3 || st.Dropped["retained_full"] != 1 {
		t.Errorf("%+v", st)
	}
}

// TestWill: [MQTT-3.1.2-8] to [MQTT-3.1.2-17].
func TestWill(t *testing.T) {
	s := start(t, Options{})
	watch := s.clean(t, "watch")
	watch.subscribe(2, "will/#")
	handled := make(chan Inbound, 9)
	s.Handle("will/#", func(m *Inbound) {
		if m.Defer() != (Ack{}) {
			t.Error("a will wants an acknowledgement")
		}
		handled <- *m
	})
	with := func(id string, qos byte, retain bool) *peer {
		p, _ := s.connect(t, mqtt.Connect{ClientID: id, Clean: true,
			Will: &mqtt.Will{Topic: "will/" + id, Payload: []byte("gone"), QoS: qos, Retain: retain}})
		return p
	}
	orderly := with("orderly", 1, false)
	orderly.send(bare(mqtt.DISCONNECT)) // [MQTT-3.1.2-10]
	orderly.wantClosed()
	_ = with("killed", 1, false).nc.Close()
	watch.want(pub(1, 1, "will/killed", "gone"))
	bad := with("bad", 2, true)
	bad.send([]byte{0, 0}) // closed by the broker: the will is due
	bad.wantClosed()
	watch.want(pub(2, 2, "will/bad", "gone"))
	for _, id := range []string{"killed", "bad"} {
		if m := <-handled; m.ClientID != id || !m.Will || m.Topic != "will/"+id {
			t.Errorf("handler got %+v", m)
		}
	}
	late := s.clean(t, "late")
	late.subscribe(0, "will/#")
	late.want(retainedPub(0, 0, "will/bad", "gone")) // [MQTT-3.1.2-17]
	_ = with("last", 1, false)
	s.stop() // a broker that ends keeps wills back
	if len(handled) != 0 {
		t.Errorf("will at the end: %+v", <-handled)
	}
}

// TestReservedWill: a will reaches topics that begin with $ no more than what its client publishes, whoever waits there and
// whoever comes later.
func TestReservedWill(t *testing.T) {
	s := start(t, Options{SysInterval: time.Hour, Version: "true"})
	watch := s.clean(t, "watch")
	watch.subscribe(1, "$SYS/broker/version", "$x")
	watch.want(retainedPub(0, 0, "$SYS/broker/version", "true"))
	for i, topic := range []string{"$SYS/broker/version", "$x"} {
		p, _ := s.connect(t, mqtt.Connect{ClientID: "liar", Clean: true, Will: &mqtt.Will{Topic: topic, Payload: []byte("lie"), QoS: 1, Retain: true}})
		_ = p.nc.Close()
		l := openLocal(t, s.Broker, LocalOptions{ClientID: "sensor", Clean: true})
		if err := l.SetWill(&mqtt.Will{Topic: topic, Payload: []byte("lie"), QoS: 1, Retain: true}); err != nil {
			t.Fatal(err)
		}
		l.Close(true)
		eventually(t, "counted", func() bool { return s.Stats().Dropped["reserved_topic"] == uint64(2*(i+1)) })
	}
	watch.quiet()
	late := s.clean(t, "late")
	late.subscribe(1, "$SYS/broker/version", "$x")
	late.want(retainedPub(0, 0, "$SYS/broker/version", "true"))
	late.quiet()
}

// TestBridgeClient: a bridge gets nothing it sent itself, and RETAIN as published.
func TestBridgeClient(t *testing.T) {
	s := start(t, Options{})
	bridge, _ := s.connect(t, mqtt.Connect{ClientID: "C7", Bridge: true, Clean: true})
	bridge.subscribe(1, "#")
	bridge.send(pub(1, 1, "up/x", "mine"))
	bridge.want(mqtt.Puback{PacketID: 1})
	if _, err := s.Publish("dn/x", []byte("yours"), 1, true); err != nil {
		t.Fatal(err)
	}
	bridge.want(retainedPub(1, 1, "dn/x", "yours"))
	bridge.quiet()
}
