package broker

import (
	"fmt"
	"sync"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestQoSLadders: the exchanges of MQTT 3.1.1, 4.3, both ways, in both versions.
func TestQoSLadders(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311} {
		t.Run(v.String(), func(t *testing.T) {
			s := start(t, Options{})
			// sub  --SUBSCRIBE a, QoS 2--> broker
			sub, _ := s.connect(t, mqtt.Connect{Version: v, Clean: true, ClientID: "sub"})
			sub.subscribe(2, "a")
			from, _ := s.connect(t, mqtt.Connect{Version: v, Clean: true, ClientID: "from"})
			// from --PUBLISH QoS 0--> broker --PUBLISH QoS 0--> sub
			from.send(pub(0, 0, "a", "0"))
			sub.want(pub(0, 0, "a", "0"))
			// from --PUBLISH QoS 1--> broker --PUBACK--> from; broker --PUBLISH QoS 1--> sub --PUBACK--> broker
			from.send(pub(1, 10, "a", "1"))
			from.want(mqtt.Puback{PacketID: 10})
			sub.want(pub(1, 1, "a", "1"))
			sub.send(mqtt.Puback{PacketID: 1})
			// from --PUBLISH QoS 2--> broker --PUBREC--> from --PUBREL--> broker --PUBCOMP--> from
			from.send(pub(2, 11, "a", "2"))
			from.want(mqtt.Pubrec{PacketID: 11})
			from.send(again(pub(2, 11, "a", "2"))) // not delivered twice [MQTT-4.3.3-2]
			from.want(mqtt.Pubrec{PacketID: 11})
			from.send(mqtt.Pubrel{PacketID: 11})
			from.want(mqtt.Pubcomp{PacketID: 11})
			from.send(mqtt.Pubrel{PacketID: 11}) // once more, its PUBCOMP was lost
			from.want(mqtt.Pubcomp{PacketID: 11})
			// broker --PUBLISH QoS 2--> sub --PUBREC--> broker --PUBREL--> sub --PUBCOMP--> broker
			sub.want(pub(2, 2, "a", "2"))
			sub.send(mqtt.Pubrec{PacketID: 2})
			sub.want(mqtt.Pubrel{PacketID: 2})
			sub.send(mqtt.Pubcomp{PacketID: 2})
			// The identifier of the publisher is free again.
			from.send(pub(2, 11, "a", "3"))
			from.want(mqtt.Pubrec{PacketID: 11})
			sub.want(pub(2, 3, "a", "3"))
			sub.quiet()
			from.quiet()
			if n := s.Stats().QueuedBytes; n == 0 {
				t.Error("the last message is not acknowledged, and nothing is queued")
			}
			sub.send(mqtt.Pubrec{PacketID: 3})
			sub.want(mqtt.Pubrel{PacketID: 3})
			sub.send(mqtt.Pubcomp{PacketID: 3})
			sub.quiet()
			if n := s.Stats().QueuedBytes; n != 0 {
				t.Errorf("%d bytes queued", n)
			}
		})
	}
}

// TestDowngrade: a message comes with the lower of its own and the subscription's
// QoS [MQTT-3.8.4-6], once, at the highest of overlapping subscriptions
// [MQTT-3.3.5-1].
func TestDowngrade(t *testing.T) {
	for subQoS := byte(0); subQoS < 3; subQoS++ {
		for pubQoS := byte(0); pubQoS < 3; pubQoS++ {
			s := start(t, Options{})
			sub, from := s.clean(t, "sub"), s.clean(t, "from")
			sub.subscribe(0, "a/#", "a/+")
			sub.subscribe(subQoS, "a/b")
			from.send(pub(pubQoS, 5, "a/b", "x"))
			want := pub(min(subQoS, pubQoS), 0, "a/b", "x")
			if want.QoS > 0 {
				want.PacketID = 1
			}
			sub.want(want)
			sub.quiet()
			s.stop()
		}
	}
}

// TestUnknownAcks: answers to nothing are ignored, PUBREC is answered.
func TestUnknownAcks(t *testing.T) {
	s := start(t, Options{})
	p := s.clean(t, "p")
	p.send(mqtt.Puback{PacketID: 1}, mqtt.Pubcomp{PacketID: 2}, mqtt.Pubrec{PacketID: 3}, mqtt.Pubrel{PacketID: 4})
	p.want(mqtt.Pubrel{PacketID: 3}, mqtt.Pubcomp{PacketID: 4})
	p.quiet()
}

// TestAcksOutOfOrder: identifiers are found whatever the order, and are used again
// after 65,535.
func TestAcksOutOfOrder(t *testing.T) {
	s := start(t, Options{MaxInflight: 4})
	sub := s.clean(t, "sub")
	sub.subscribe(1, "a")
	const rounds = 17_000 // of 4: past the last identifier
	id := uint16(0)
	for round := range rounds {
		for range 4 {
			if n, err := s.Publish("a", []byte("x"), 1, false); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		var got []uint16
		for range 4 {
			p, ok := sub.read().(mqtt.Publish)
			if id++; id == 0 {
				id = 1
			}
			if !ok || p.PacketID != id {
				t.Fatalf("round %d: %+v, want id %d", round, p, id)
			}
			got = append(got, p.PacketID)
		}
		sub.send(mqtt.Puback{PacketID: got[2]}, mqtt.Puback{PacketID: got[0]}, mqtt.Puback{PacketID: got[3]}, mqtt.Puback{PacketID: got[1]})
	}
	sub.quiet()
	if n := s.Stats().QueuedBytes; n != 0 {
		t.Errorf("%d bytes queued", n)
	}
}

// TestWindow: no more than MaxInflight messages are on the way.
func TestWindow(t *testing.T) {
	s := start(t, Options{MaxInflight: 2})
	sub := s.clean(t, "sub")
	sub.subscribe(2, "a")
	for i := range 4 {
		if _, err := s.Publish("a", fmt.Appendf(nil, "%d", i), 1+byte(i%2), false); err != nil {
			t.Fatal(err)
		}
	}
	sub.want(pub(1, 1, "a", "0"), pub(2, 2, "a", "1"))
	sub.quiet()
	sub.send(mqtt.Puback{PacketID: 1})
	sub.want(pub(1, 3, "a", "2"))
	sub.send(mqtt.Pubrec{PacketID: 2})
	sub.want(mqtt.Pubrel{PacketID: 2})
	sub.quiet()
	sub.send(mqtt.Pubcomp{PacketID: 2})
	sub.want(pub(2, 4, "a", "3"))
}

// TestDeferredOrder: acknowledgements come in the order of the messages, in
// whatever order the handlers are done.
func TestDeferredOrder(t *testing.T) {
	s := start(t, Options{})
	var mu sync.Mutex
	acks := map[string]Ack{}
	s.Handle("d/#", func(m *Inbound) {
		mu.Lock()
		defer mu.Unlock()
		acks[string(m.Payload)] = m.Defer()
	})
	// A second handler defers the first message too.
	var other Ack
	s.Handle("d/1", func(m *Inbound) {
		mu.Lock()
		defer mu.Unlock()
		other = m.Defer()
	})
	p := s.clean(t, "p")
	p.send(pub(1, 100, "now", "n"), pub(1, 1, "d/1", "1"), pub(2, 2, "d/2", "2"), pub(1, 3, "now", "n"), pub(1, 4, "d/4", "4"), pub(0, 0, "d/0", "0"))
	p.want(mqtt.Puback{PacketID: 100})
	p.quiet()
	take := func(key string) Ack { mu.Lock(); defer mu.Unlock(); return acks[key] }
	Acknowledge([]Ack{take("4"), take("0"), take("2")})
	p.quiet()
	Acknowledge([]Ack{take("1")})
	p.quiet() // the other handler is not done
	Acknowledge([]Ack{other, {}})
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Pubrec{PacketID: 2}, mqtt.Puback{PacketID: 3}, mqtt.Puback{PacketID: 4})
	Acknowledge([]Ack{other, take("1"), take("4")}) // twice: nothing happens
	p.quiet()
	_ = p.nc.Close()
	eventually(t, "the end of the connection", func() bool { return s.Stats().Connections == 0 })
	Acknowledge([]Ack{other})
}

// TestDeferredQoS2OverReconnect: the repeat of a message of QoS 2 whose handler is
// not done is not delivered again, and answered when it is.
func TestDeferredQoS2OverReconnect(t *testing.T) {
	s := start(t, Options{})
	acks := make(chan Ack, 9)
	s.Handle("d", func(m *Inbound) { acks <- m.Defer() })
	p, _ := s.connect(t, mqtt.Connect{ClientID: "p"})
	p.send(pub(2, 7, "d", "x"))
	ack := <-acks
	p, _ = s.connect(t, mqtt.Connect{ClientID: "p"})
	p.send(again(pub(2, 7, "d", "x")))
	p.quiet()
	Acknowledge([]Ack{ack})
	p.want(mqtt.Pubrec{PacketID: 7})
	p.send(again(pub(2, 7, "d", "x")))
	p.want(mqtt.Pubrec{PacketID: 7})
	p.send(mqtt.Pubrel{PacketID: 7})
	p.want(mqtt.Pubcomp{PacketID: 7})
	if len(acks) != 0 {
		t.Error("delivered twice")
	}
}

// TestFirstWindow: what acknowledges nothing is sent a few messages, what acknowledges all
// of them ever more at a time, up to the bound.
func TestFirstWindow(t *testing.T) {
	const most = 3 * firstWindow
	s := start(t, Options{MaxInflight: most})
	p := s.clean(t, "p")
	p.subscribe(1, "a")
	for range 10 * most {
		if _, err := s.Publish("a", nil, 1, false); err != nil {
			t.Fatal(err)
		}
	}
	under := func() (ids []uint16) { // way: all that comes before the answer to a ping
		p.send(bare(mqtt.PINGREQ))
		for {
			switch m := p.read().(type) {
			case mqtt.Publish:
				ids = append(ids, m.PacketID)
			default:
				return ids
			}
		}
	}
	want := firstWindow
	for round := range 6 {
		ids := under()
		for len(ids) < want { // the answer to the ping may overtake what room has just been made for
			more := under()
			if ids = append(ids, more...); len(ids) > want {
				break
			}
		}
		if len(ids) != want {
			t.Fatalf("round %d: %d messages under way, want %d", round, len(ids), want)
		}
		for _, id := range ids {
			p.send(mqtt.Puback{PacketID: id})
		}
		want = min(2*want, most)
	}
}
