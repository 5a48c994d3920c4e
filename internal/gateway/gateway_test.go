package gateway

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

func text(s string) []byte { return []byte(s) }

const (
	reading = 0x0002 // up/meter/M1/reading
	cmd     = 0x0082 // dn/meter/M1/cmd
)

func TestConnectRegisterPublish(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.device("a")
		// meter --CONNECT--> gateway
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60, Clean: true})
		m.hears(mqttsn.Connack{})
		// meter --REGISTER--> gateway; the same name has the same id
		m.says(mqttsn.Register{MsgID: 1, Topic: "up/meter/M1/x"}, mqttsn.Register{MsgID: 2, Topic: "y"}, mqttsn.Register{MsgID: 3, Topic: "up/meter/M1/x"})
		m.hears(mqttsn.Regack{TopicID: 1, MsgID: 1}, mqttsn.Regack{TopicID: 2, MsgID: 2}, mqttsn.Regack{TopicID: 1, MsgID: 3})
		// A name with wildcards has no id.
		m.says(mqttsn.Register{MsgID: 4, Topic: "up/#"})
		m.hears(mqttsn.Regack{MsgID: 4, Code: mqttsn.NotSupported})
		// meter --PUBLISH QoS 0--> gateway
		m.says(mqttsn.Publish{TopicID: 1, Payload: text("0")})
		m.hears()
		// meter --PUBLISH QoS 1--> gateway --PUBACK--> meter
		m.says(mqttsn.Publish{QoS: 1, Retain: true, TopicID: 2, MsgID: 5, Payload: text("1")})
		m.hears(mqttsn.Puback{TopicID: 2, MsgID: 5})
		// meter --PUBLISH QoS 2, PUBREL--> gateway --PUBREC, PUBCOMP--> meter, once however often it is repeated
		p := mqttsn.Publish{QoS: 2, TopicType: mqttsn.Predefined, TopicID: reading, MsgID: 6, Payload: text("2")}
		m.says(p)
		m.hears(mqttsn.Pubrec{MsgID: 6})
		p.Dup = true
		m.says(p)
		m.hears(mqttsn.Pubrec{MsgID: 6})
		m.says(mqttsn.Pubrel{MsgID: 6}, mqttsn.Pubrel{MsgID: 6})
		m.hears(mqttsn.Pubcomp{MsgID: 6}, mqttsn.Pubcomp{MsgID: 6})
		// A short topic name needs no registration.
		id, _ := mqttsn.ShortID("ab")
		m.says(mqttsn.Publish{TopicType: mqttsn.Short, TopicID: id, Payload: text("s")})
		b.wantPublished("up/meter/M1/x=0 q0, y=1 q1 retain, up/meter/M1/reading=2 q2, ab=s q0")
		// meter --DISCONNECT--> gateway --DISCONNECT--> meter
		m.says(mqttsn.Disconnect{})
		m.hears(mqttsn.Disconnect{})
		b.wantState("M1", disconnected)
	})
}

func TestUnknownTopicID(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		// At any QoS: the meter shall register again. This is how a meter learns that its gateway was restarted.
		for _, p := range []mqttsn.Publish{{TopicID: 9}, {QoS: 1, TopicID: 9, MsgID: 1}, {QoS: 2, TopicID: 9, MsgID: 2},
			{QoS: 1, TopicType: mqttsn.Predefined, TopicID: 0x7777, MsgID: 3}, {QoS: 1, TopicID: 0, MsgID: 4}, {QoS: 1, TopicID: 0xffff, MsgID: 5},
			{QoS: 1, TopicType: mqttsn.Short, TopicID: 0x2b23, MsgID: 6}} {
			m.says(p)
			m.hears(mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID, Code: mqttsn.InvalidTopicID})
		}
		b.wantDropped(dropTopic, 7)
		b.wantPublished("")
	})
}

func TestRepeatedPublish(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		p := mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: reading, MsgID: 7, Payload: text("1")}
		m.says(p)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 7})
		// meter <-x-PUBACK-- gateway: the meter sends again
		p.Dup = true
		m.says(p)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 7})
		b.wantPublished("up/meter/M1/reading=1 q1")
		// Its ids have come round: not a repeat.
		b.sleeps(3 * time.Second)
		p.Dup = false
		m.says(p)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 7})
		b.wantPublished("up/meter/M1/reading=1 q1")
		// The network delivers it twice.
		b.sleeps(2 * time.Second)
		m.says(p)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 7})
		b.wantPublished("")
		// Other content is another message, and so is the same behind a CONNECT: there are clients whose ids begin anew each time.
		p.Payload = text("2")
		m.says(p)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 7})
		m.connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.says(p)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 7})
		b.wantPublished("up/meter/M1/reading=2 q1, up/meter/M1/reading=2 q1")
		if n := b.g.Stats().Duplicates; n != 2 {
			t.Fatal(n)
		}
	})
}

func TestWillHandshake(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.device("a")
		// meter --CONNECT with will--> gateway --WILLTOPICREQ--> meter --WILLTOPIC--> … --CONNACK--> meter
		connect := mqttsn.Connect{ClientID: "M1", Duration: 60, Will: true, Clean: true}
		m.says(connect)
		m.hears(mqttsn.Willtopicreq{})
		m.says(connect) // WILLTOPICREQ was lost
		m.hears(mqttsn.Willtopicreq{})
		m.says(mqttsn.Willtopic{QoS: 1, Retain: true, Topic: "w"})
		m.hears(mqttsn.Willmsgreq{})
		m.says(mqttsn.Willtopic{QoS: 1, Retain: true, Topic: "w"}) // WILLMSGREQ was lost
		m.hears(mqttsn.Willmsgreq{})
		m.says(mqttsn.Willmsg{Payload: text("gone")})
		m.hears(mqttsn.Connack{})
		m.says(mqttsn.Willmsg{Payload: text("late")})
		m.hears()
		// 60 s and a half pass in silence.
		b.sleeps(89 * time.Second)
		b.wantPublished("")
		b.sleeps(2 * time.Second)
		b.wantPublished("w=gone q1 retain will")
		b.wantState("M1", lost)
		// It says something, and has to connect first; without both flags the stored will stays.
		m.says(mqttsn.Pingreq{})
		m.hears(mqttsn.Disconnect{})
		m.connects(mqttsn.Connect{ClientID: "M1", Duration: 10})
		b.sleeps(20 * time.Second)
		b.wantPublished("") // the session was clean, and the will went with it
	})
}

func TestWillStays(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.device("a")
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 10, Will: true})
		m.hears(mqttsn.Willtopicreq{})
		m.says(mqttsn.Willtopic{Topic: "w"})
		m.hears(mqttsn.Willmsgreq{})
		m.says(mqttsn.Willmsg{Payload: text("1")})
		m.hears(mqttsn.Connack{})
		m.says(mqttsn.Disconnect{}) // in order: no will
		m.hears(mqttsn.Disconnect{})
		b.sleeps(time.Minute)
		b.wantPublished("")
		// Neither flag: the stored will is in force again.
		m.connects(mqttsn.Connect{ClientID: "M1", Duration: 10})
		b.sleeps(16 * time.Second)
		b.wantPublished("w=1 q0 will")
		// The empty WILLTOPIC deletes it, and CONNACK comes at once.
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 10, Will: true})
		m.hears(mqttsn.Willtopicreq{})
		m.says(mqttsn.Willtopic{})
		m.hears(mqttsn.Connack{})
		b.sleeps(16 * time.Second)
		b.wantPublished("")
	})
}

func TestWillUpdates(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		m.says(mqttsn.Willmsgupd{Payload: text("for no topic")})
		m.hears(mqttsn.Willmsgresp{Code: mqttsn.NotSupported})
		m.says(mqttsn.Willtopicupd{Topic: "a/#"})
		m.hears(mqttsn.Willtopicresp{Code: mqttsn.NotSupported})
		m.says(mqttsn.Willtopicupd{QoS: 1, Topic: "w"})
		m.hears(mqttsn.Willtopicresp{})
		m.says(mqttsn.Willmsgupd{Payload: text("1")})
		m.hears(mqttsn.Willmsgresp{})
		m.says(mqttsn.Willtopicupd{Topic: "v"}) // independent of each other
		m.hears(mqttsn.Willtopicresp{})
		b.sleeps(2 * time.Minute)
		b.wantPublished("v=1 q0 will")
		m.connects(mqttsn.Connect{ClientID: "M1", Duration: 60, Clean: true})
		m.says(mqttsn.Willtopicupd{Topic: "w"}, mqttsn.Willtopicupd{}) // and the empty form deletes both
		m.hears(mqttsn.Willtopicresp{}, mqttsn.Willtopicresp{})
		b.sleeps(2 * time.Minute)
		b.wantPublished("")
	})
}

func TestSubscribe(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		short, _ := mqttsn.ShortID("ab")
		// A plain name has an id, a filter with wildcards 0, a predefined id itself, a short name 0.
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "n"}, mqttsn.Subscribe{QoS: 2, MsgID: 2, Topic: "w/#"},
			mqttsn.Subscribe{QoS: 1, MsgID: 3, TopicType: mqttsn.Predefined, TopicID: cmd},
			mqttsn.Subscribe{MsgID: 4, TopicType: mqttsn.Short, TopicID: short})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: 1}, mqttsn.Suback{QoS: 2, MsgID: 2},
			mqttsn.Suback{QoS: 1, MsgID: 3, TopicID: cmd}, mqttsn.Suback{MsgID: 4})
		for _, s := range []mqttsn.Subscribe{{MsgID: 5, Topic: "w/#/x"}} {
			m.says(s)
			m.hears(mqttsn.Suback{MsgID: 5, Code: mqttsn.NotSupported})
		}
		m.says(mqttsn.Subscribe{MsgID: 6, TopicType: mqttsn.Predefined, TopicID: 0x7777})
		m.hears(mqttsn.Suback{MsgID: 6, Code: mqttsn.InvalidTopicID})

		b.publish("n", "1", 0)
		m.hears(mqttsn.Publish{TopicID: 1, Payload: text("1")})
		b.publish("dn/meter/M1/cmd", "2", 1)
		m.hears(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: cmd, MsgID: 1, Payload: text("2")})
		m.says(mqttsn.Puback{TopicID: cmd, MsgID: 1})
		b.publish("ab", "3", 0)
		m.hears(mqttsn.Publish{TopicType: mqttsn.Short, TopicID: short, Payload: text("3")})
		// gateway --REGISTER--> meter --REGACK--> gateway --PUBLISH--> meter, and the id is known from then on
		b.publish("w/x", "4", 2)
		m.hears(mqttsn.Register{TopicID: 2, MsgID: 1, Topic: "w/x"})
		m.says(mqttsn.Regack{TopicID: 2, MsgID: 1})
		m.hears(mqttsn.Publish{QoS: 2, TopicID: 2, MsgID: 2, Payload: text("4")})
		m.says(mqttsn.Pubrec{MsgID: 2})
		m.hears(mqttsn.Pubrel{MsgID: 2})
		m.says(mqttsn.Pubcomp{MsgID: 2})
		b.publish("w/x", "5", 0)
		m.hears(mqttsn.Publish{TopicID: 2, Payload: text("5")})
		// A name that the meter refuses is as if not subscribed to.
		b.publish("w/y", "6", 1)
		m.hears(mqttsn.Register{TopicID: 3, MsgID: 2, Topic: "w/y"})
		m.says(mqttsn.Regack{TopicID: 3, MsgID: 2, Code: mqttsn.NotSupported})
		b.publish("w/y", "7", 1)
		m.hears()
		// UNSUBACK whatever was there.
		m.says(mqttsn.Unsubscribe{MsgID: 7, Topic: "n"}, mqttsn.Unsubscribe{MsgID: 8, Topic: "never"}, mqttsn.Unsubscribe{MsgID: 9, TopicType: mqttsn.Predefined, TopicID: 0x7777})
		m.hears(mqttsn.Unsuback{MsgID: 9}, mqttsn.Unsuback{MsgID: 7}, mqttsn.Unsuback{MsgID: 8})
		b.publish("n", "8", 1)
		m.hears()
		b.wantDropped(dropRefused, 2)
	})
}

func TestRetained(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		if _, err := b.broker.Publish("r/1", text("kept"), 1, true); err != nil {
			t.Fatal(err)
		}
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "r/+"})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1}, mqttsn.Register{TopicID: 1, MsgID: 1, Topic: "r/1"})
		m.says(mqttsn.Regack{TopicID: 1, MsgID: 1})
		m.hears(mqttsn.Publish{QoS: 1, Retain: true, TopicID: 1, MsgID: 1, Payload: text("kept")})
		m.says(mqttsn.Puback{TopicID: 1, MsgID: 1})
	})
}

// TestOneAtATime: the next message only after the acknowledgement of the one before, in order.
func TestOneAtATime(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, TopicType: mqttsn.Predefined, TopicID: cmd})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: cmd})
		for _, s := range []string{"1", "2", "3"} {
			b.publish("dn/meter/M1/cmd", s, 1)
		}
		for i, s := range []string{"1", "2", "3"} {
			m.hears(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: cmd, MsgID: uint16(i + 1), Payload: text(s)})
			m.says(mqttsn.Puback{TopicID: cmd, MsgID: 99}) // nothing of ours
			m.says(mqttsn.Puback{TopicID: cmd, MsgID: uint16(i + 1)})
		}
	})
}

func TestRetransmission(t *testing.T) {
	ladder(t, Options{Retry: 10 * time.Second, MaxRetries: 2}, func(b *bench) {
		m := b.device("a").connects(mqttsn.Connect{ClientID: "M1", Duration: 600, Clean: true})
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "n/+"})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1})
		b.publish("n/1", "1", 1)
		m.hears(mqttsn.Register{TopicID: 1, MsgID: 1, Topic: "n/1"})
		b.sleeps(10 * time.Second) // no REGACK: once more
		m.hears(mqttsn.Register{TopicID: 1, MsgID: 1, Topic: "n/1"})
		m.says(mqttsn.Regack{TopicID: 1, MsgID: 1})
		p := mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 1, Payload: text("1")}
		m.hears(p)
		p.Dup = true
		for range 2 {
			b.sleeps(10 * time.Second)
			m.hears(p)
		}
		// It was heard of meanwhile, so it is there and does not want this message.
		m.says(mqttsn.Pingreq{})
		m.hears(mqttsn.Pingresp{})
		b.publish("n/1", "2", 1)
		b.sleeps(10 * time.Second)
		b.wantDropped(dropNoAnswer, 1)
		m.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 2, Payload: text("2")})
		// Now it says nothing at all: lost, long before its keep-alive.
		for range 2 {
			b.sleeps(10 * time.Second)
			m.hears(mqttsn.Publish{Dup: true, QoS: 1, TopicID: 1, MsgID: 2, Payload: text("2")})
		}
		b.sleeps(10 * time.Second)
		b.wantState("M1", lost)
	})
}

func TestClientForgotTopicID(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "n"})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: 1})
		b.publish("n", "1", 1)
		m.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 1, Payload: text("1")})
		// meter --PUBACK, invalid topic id--> gateway --REGISTER--> meter --REGACK--> gateway --PUBLISH--> meter
		m.says(mqttsn.Puback{TopicID: 1, MsgID: 1, Code: mqttsn.InvalidTopicID})
		m.hears(mqttsn.Register{TopicID: 1, MsgID: 1, Topic: "n"})
		m.says(mqttsn.Regack{TopicID: 1, MsgID: 1})
		m.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 1, Payload: text("1")})
		m.says(mqttsn.Puback{TopicID: 1, MsgID: 1, Code: mqttsn.InvalidTopicID}) // for good
		m.hears()
		b.wantDropped(dropRefused, 1)
		// Congestion: left alone for T_WAIT.
		b.publish("n", "2", 1)
		m.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 2, Payload: text("2")})
		m.says(mqttsn.Puback{TopicID: 1, MsgID: 2, Code: mqttsn.Congestion})
		for range 5 {
			b.sleeps(time.Minute - time.Millisecond)
			m.hears()
			m.says(mqttsn.Pingreq{})
			m.hears(mqttsn.Pingresp{})
		}
		b.sleeps(time.Second)
		m.hears(mqttsn.Publish{Dup: true, QoS: 1, TopicID: 1, MsgID: 2, Payload: text("2")})
		m.says(mqttsn.Puback{TopicID: 1, MsgID: 2, Code: mqttsn.NotSupported})
	})
}

func TestUnknownPeer(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.device("stranger")
		for _, p := range []mqttsn.Message{mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 1}, mqttsn.Pingreq{}, mqttsn.Pingreq{ClientID: "M1"},
			mqttsn.Subscribe{MsgID: 1, Topic: "a"}, mqttsn.Disconnect{}} {
			m.says(p)
			m.hears(mqttsn.Disconnect{})
		}
		b.wantDropped(dropNotConnected, 5)
		// What a gateway says, and what is for another gateway.
		m.says(mqttsn.Connack{}, mqttsn.Willmsg{}, mqttsn.Willtopic{}, mqttsn.Forward{Message: []byte{2, 0x16}})
		m.says(mqttsn.Advertise{}, mqttsn.Gwinfo{})
		m.hears()
		b.wantDropped(dropUnexpected, 4)
		b.air.in <- frame{m.at, []byte{3, 0x18}}
		b.air.in <- frame{m.at, []byte{3, 0x18, 1}}
		b.air.in <- frame{m.at, nil}
		m.hears()
		b.wantDropped(dropMalformed, 3)
	})
}

func TestRefusedConnects(t *testing.T) {
	ladder(t, Options{MaxClientID: 30}, func(b *bench) {
		m := b.device("a")
		// A draft of MQTT-SN 2.0.
		b.air.in <- frame{m.at, []byte("\x08\x04\x00\x02\x00\x3cM1")}
		m.hears(mqttsn.Connack{Code: mqttsn.NotSupported})
		// Longer than the specification allows is accepted, up to a bound.
		m.connects(mqttsn.Connect{ClientID: "123456789012345678901234567890"})
		m.says(mqttsn.Connect{ClientID: "1234567890123456789012345678901"})
		m.hears(mqttsn.Connack{Code: mqttsn.NotSupported})
	})
}

// TestAddresses: a client is its id, wherever it is; an address is one client.
func TestAddresses(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, TopicType: mqttsn.Predefined, TopicID: cmd})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: cmd})
		m.says(mqttsn.Willtopicupd{Topic: "w"})
		m.hears(mqttsn.Willtopicresp{})
		// M1 connects from elsewhere, its CONNACK is lost, and it connects again: its session goes on, no will is published.
		n := b.device("b").connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
		n.connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
		b.publish("dn/meter/M1/cmd", "1", 1)
		m.hears()
		n.hears(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: cmd, MsgID: 1, Payload: text("1")})
		n.says(mqttsn.Puback{TopicID: cmd, MsgID: 1})
		m.says(mqttsn.Pingreq{})
		m.hears(mqttsn.Disconnect{})
		b.wantPublished("")
		// M2 connects from where M1 is: M1 is gone from there.
		n.connects(mqttsn.Connect{ClientID: "M2", Duration: 60})
		b.wantPublished("w= q0 will")
		b.wantState("M1", lost)
	})
}

func TestProvenIdentity(t *testing.T) {
	admit := map[string]bool{"M1": true, "M3": true}
	ladder(t, Options{Admit: func(id string, from net.Addr) bool { return admit[id] }}, func(b *bench) {
		m := &device{b, owned{"M1"}}
		m.connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.says(mqttsn.Connect{ClientID: "M3"})
		m.hears(mqttsn.Connack{Code: mqttsn.NotSupported})
		// Nor may it poll for another.
		x := b.device("x").connects(mqttsn.Connect{ClientID: "M3"})
		x.says(mqttsn.Disconnect{Duration: 60})
		x.hears(mqttsn.Disconnect{})
		m.says(mqttsn.Pingreq{ClientID: "M3"})
		m.hears(mqttsn.Disconnect{})
		x.says(mqttsn.Connect{ClientID: "M2"})
		x.hears(mqttsn.Connack{Code: mqttsn.NotSupported})
	})
}

// TestProvenStaysProven: a client that has proven its id is not to be had by somebody who proves nothing, also after a restart.
func TestProvenStaysProven(t *testing.T) {
	store, err := OpenFile(filepath.Join(t.TempDir(), "clients"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ladder(t, Options{}, func(b *bench) {
		b.stop()
		for range 2 {
			b.start(Options{Store: store})
			m := (&device{b, owned{"M1"}}).connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
			m.says(mqttsn.Disconnect{Duration: 600})
			m.hears(mqttsn.Disconnect{})
			thief := b.device("thief")
			thief.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
			thief.hears(mqttsn.Connack{Code: mqttsn.NotSupported})
			thief.says(mqttsn.Pingreq{ClientID: "M1"})
			thief.hears(mqttsn.Disconnect{})
			b.stop()
			b.start(Options{Store: store})
			thief = b.device("thief")
			thief.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
			thief.hears(mqttsn.Connack{Code: mqttsn.NotSupported})
			b.stop()
		}
		b.start(Options{})
	})
}

// TestAnonymous is QoS -1: the device is the one that connected from the address last.
func TestAnonymous(t *testing.T) {
	ladder(t, Options{AnonymousRate: 3}, func(b *bench) {
		p := mqttsn.Publish{QoS: -1, TopicType: mqttsn.Predefined, TopicID: reading, Payload: text("1")}
		stranger := b.device("stranger")
		stranger.says(p)
		stranger.hears() // never answered
		b.wantDropped(dropUnknownAddress, 1)
		m := b.meter()
		m.says(p)
		b.wantPublished("up/meter/M1/reading=1 q0")
		m.says(mqttsn.Disconnect{})
		m.hears(mqttsn.Disconnect{})
		m.says(p) // it is known here still
		b.wantPublished("up/meter/M1/reading=1 q0")
		// Without a connection only predefined ids are taken.
		m.says(mqttsn.Publish{QoS: -1, TopicType: mqttsn.Short, TopicID: 0x6162})
		p.TopicID = 0x7777
		m.says(p)
		b.wantDropped(dropTopic, 2)
		p.TopicID = reading
		m.says(p)
		b.wantDropped(dropRate, 1)
		b.sleeps(time.Second)
		m.says(p)
		b.wantPublished("up/meter/M1/reading=1 q0")
		m.hears()
	})
	// Topics that anybody may publish to: by a predefined id and by a short name, with or without a connection.
	short, _ := mqttsn.ShortID("ab")
	anybody := map[AnonymousTopic]string{{mqttsn.Predefined, 100}: "hall/temperature", {mqttsn.Short, short}: "ab"}
	ladder(t, Options{AnonymousRate: 1, Anonymous: anybody}, func(b *bench) {
		p := mqttsn.Publish{QoS: -1, TopicType: mqttsn.Predefined, TopicID: 100, Payload: text("1")}
		stranger := b.device("stranger")
		stranger.says(p)
		b.wantPublished("hall/temperature=1 q0")
		stranger.says(mqttsn.Publish{QoS: -1, TopicType: mqttsn.Short, TopicID: short, Payload: text("2"), Retain: true})
		b.wantPublished("ab=2 q0 retain")
		stranger.says(mqttsn.Publish{QoS: -1, TopicType: mqttsn.Predefined, TopicID: reading, Payload: text("3")})
		b.wantDropped(dropUnknownAddress, 1)
		stranger.says(mqttsn.Publish{QoS: -1, TopicType: mqttsn.Short, TopicID: short + 1, Payload: text("3")})
		b.wantDropped(dropUnknownAddress, 2)
		stranger.hears() // never answered, and it is not taken for a client
		m := b.meter()
		m.says(p)
		b.wantPublished("hall/temperature=1 q0")
		for range 20 {
			stranger.says(p)
		}
		b.wantDropped(dropRate, 13) // 3 of the 10 of this second were used
		b.sleeps(time.Second)
		stranger.says(p)
		m.hears()
	})
	ladder(t, Options{AnonymousRate: -1}, func(b *bench) {
		b.meter().says(mqttsn.Publish{QoS: -1, TopicType: mqttsn.Predefined, TopicID: reading})
		b.wantDropped(dropAnonymousOff, 1)
	})
}

func TestDiscovery(t *testing.T) {
	ladder(t, Options{GwID: 7, Advertise: 10 * time.Minute, Links: []Link{{Broadcast: true}}}, func(b *bench) {
		all := &device{b, snlink.Everyone}
		all.hears(mqttsn.Advertise{GwID: 7, Duration: 600})
		b.sleeps(10 * time.Minute)
		all.hears(mqttsn.Advertise{GwID: 7, Duration: 600})
		// meter --SEARCHGW--> everyone; gateway --GWINFO--> everyone
		b.device("a").says(mqttsn.Searchgw{Radius: 1})
		all.hears(mqttsn.Gwinfo{GwID: 7})
	})
	ladder(t, Options{GwID: 7}, func(b *bench) { // where nobody else hears
		m := b.device("a")
		m.says(mqttsn.Searchgw{})
		m.hears(mqttsn.Gwinfo{GwID: 7})
	})
}

func TestTooLarge(t *testing.T) {
	ladder(t, Options{Links: []Link{{MTU: 64}}}, func(b *bench) {
		m := b.meter()
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "n"})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: 1})
		b.publish("n", string(make([]byte, 58)), 1)
		m.hears()
		b.publish("n", string(make([]byte, 57)), 0)
		m.hears(mqttsn.Publish{TopicID: 1, Payload: make([]byte, 57)})
		b.wantDropped(dropTooLarge, 1)
	})
}

func TestTopicBound(t *testing.T) {
	ladder(t, Options{MaxTopics: 1}, func(b *bench) {
		m := b.meter()
		m.says(mqttsn.Register{MsgID: 1, Topic: "a"}, mqttsn.Register{MsgID: 2, Topic: "b"})
		m.hears(mqttsn.Regack{TopicID: 1, MsgID: 1}, mqttsn.Regack{MsgID: 2, Code: mqttsn.Congestion})
		m.says(mqttsn.Subscribe{MsgID: 3, Topic: "b"}, mqttsn.Subscribe{MsgID: 4, Topic: "+"})
		m.hears(mqttsn.Suback{MsgID: 3, Code: mqttsn.Congestion}, mqttsn.Suback{MsgID: 4})
		b.publish("c", "1", 1)
		m.hears()
		b.wantDropped(dropTopics, 1)
	})
}

// TestClientBound: who is not connected makes room, who is connected does not.
func TestClientBound(t *testing.T) {
	ladder(t, Options{MaxClients: 2}, func(b *bench) {
		m := b.meter()
		b.device("b").connects(mqttsn.Connect{ClientID: "M2"})
		c := b.device("c")
		c.says(mqttsn.Connect{ClientID: "M3"})
		c.hears(mqttsn.Connack{Code: mqttsn.Congestion})
		m.says(mqttsn.Disconnect{})
		m.hears(mqttsn.Disconnect{})
		c.connects(mqttsn.Connect{ClientID: "M3"})
	})
}

// TestCongestion: the server takes nothing.
func TestCongestion(t *testing.T) {
	gate := make(chan struct{})
	ladder(t, Options{QueueMessages: 2, Shards: 1, Window: 9}, func(b *bench) {
		m := b.meter()
		n := b.device("b").connects(mqttsn.Connect{ClientID: "M2"})
		gate = make(chan struct{})
		b.broker.Handle("up/#", func(*broker.Inbound) { <-gate })
		p := mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: reading}
		for i := range 3 { // one on its way, two wait
			p.MsgID = uint16(i + 1)
			m.says(p)
		}
		p.MsgID = 4
		m.says(p)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 4, Code: mqttsn.Congestion})
		m.says(mqttsn.Publish{TopicType: mqttsn.Predefined, TopicID: reading})
		m.says(mqttsn.Subscribe{MsgID: 5, Topic: "a"})
		m.hears(mqttsn.Suback{MsgID: 5, Code: mqttsn.Congestion})
		m.says(mqttsn.Willtopicupd{Topic: "w"})
		m.hears(mqttsn.Willtopicresp{Code: mqttsn.Congestion})
		b.device("c").says(mqttsn.Connect{ClientID: "M3"})
		b.device("c").hears(mqttsn.Connack{Code: mqttsn.Congestion})
		m.says(mqttsn.Publish{Dup: true, QoS: 1, TopicType: mqttsn.Predefined, TopicID: reading, MsgID: 1}) // the server still has it
		m.hears()
		n.says(mqttsn.Pingreq{})
		n.hears(mqttsn.Pingresp{})
		close(gate)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 1}, mqttsn.Puback{TopicID: reading, MsgID: 2}, mqttsn.Puback{TopicID: reading, MsgID: 3})
		b.wantDropped(dropCongestion, 2)
	})
	ladder(t, Options{Window: 2}, func(b *bench) { // a client that pipelines more than the window
		gate = make(chan struct{})
		b.broker.Handle("up/#", func(*broker.Inbound) { <-gate })
		m := b.meter()
		for i := range 3 {
			m.says(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: reading, MsgID: uint16(i + 1)})
		}
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 3, Code: mqttsn.Congestion})
		close(gate)
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 1}, mqttsn.Puback{TopicID: reading, MsgID: 2})
	})
}

// TestTakenOver: the client is at the broker by MQTT now.
func TestTakenOver(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		l, _, err := b.broker.Open(broker.LocalOptions{ClientID: "M1"})
		if err != nil {
			t.Fatal(err)
		}
		m.hears(mqttsn.Disconnect{})
		b.wantState("M1", disconnected)
		m.connects(mqttsn.Connect{ClientID: "M1"})
		if _, ok := l.Next(); ok {
			t.Fatal("two have the session")
		}
	})
}

// TestAddressTakenWhileOpening: the server takes its time with M1, and M2 connects from the same address.
func TestAddressTakenWhileOpening(t *testing.T) {
	ladder(t, Options{Server: nil, Shards: 64}, func(b *bench) {
		gate := make(chan struct{})
		b.g.o.Server = slow{InProcess{Broker: b.broker}, "M1", gate}
		m := b.device("a")
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60}) // again: it will be answered once
		m.says(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: reading, MsgID: 1})
		m.hears()
		m.says(mqttsn.Connect{ClientID: "M2", Duration: 60})
		m.hears(mqttsn.Connack{})
		close(gate)
		m.hears()
		b.wantState("M1", disconnected)
		b.wantState("M2", active)
		if n := b.broker.Stats().Sessions; n != 2 {
			t.Error(n)
		}
	})
}

// slow is a server that waits before it opens the session of one client.
type slow struct {
	InProcess
	id   string
	gate chan struct{}
}

func (s slow) Open(ctx context.Context, o SessionOptions) (Session, bool, error) {
	if o.ClientID == s.id {
		<-s.gate
	}
	return s.InProcess.Open(ctx, o)
}
