package gateway

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// What public implementations do differently, and no other test here shows; docs/interpretation.md has a line for each.

// TestNoSuchCode: there is no code for "not authorised"; we say not supported, where another gateway sends a code of its own.
func TestNoSuchCode(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		b.g.o.Server = InProcess{Broker: b.broker, Access: func(id, _ string) (broker.Access, string, error) {
			if id == "M2" {
				return nil, "", errors.New("no such meter")
			}
			return nothing{}, "", nil
		}}
		// device --CONNECT--> gateway --CONNACK, not supported--> device
		b.device("b").says(mqttsn.Connect{ClientID: "M2"})
		b.device("b").hears(mqttsn.Connack{Code: mqttsn.NotSupported})
		m := b.meter()
		m.says(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: reading, MsgID: 1})
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 1, Code: mqttsn.NotSupported})
		m.says(mqttsn.Publish{QoS: 2, TopicType: mqttsn.Predefined, TopicID: reading, MsgID: 2})
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 2, Code: mqttsn.NotSupported})
		m.says(mqttsn.Subscribe{MsgID: 3, Topic: "n"})
		m.hears(mqttsn.Suback{MsgID: 3, Code: mqttsn.NotSupported})
	})
}

// nothing is what nobody may do.
type nothing struct{}

func (nothing) Publish(string) bool   { return false }
func (nothing) Subscribe(string) bool { return false }

// TestTopicSpaces: the same number is three topics, as a normal id, a predefined one and a short name.
func TestTopicSpaces(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		m.says(mqttsn.Register{MsgID: 1, Topic: "x"}, mqttsn.Register{MsgID: 2, Topic: "y"})
		m.hears(mqttsn.Regack{TopicID: 1, MsgID: 1}, mqttsn.Regack{TopicID: 2, MsgID: 2})
		m.says(mqttsn.Publish{TopicID: 2, Payload: text("1")}, mqttsn.Publish{TopicType: mqttsn.Predefined, TopicID: reading, Payload: text("2")})
		b.wantPublished("y=1 q0, up/meter/M1/reading=2 q0")
	})
}

// TestTopicsStay: topic ids are good as long as the session is: over sleep, a lost connection and a new CONNECT, in both
// directions. CONNECT with CleanSession forgets them.
func TestTopicsStay(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		connect := mqttsn.Connect{ClientID: "M1", Duration: 60}
		m := b.device("a").connects(connect)
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "n"})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: 1})
		there := func(id uint16) {
			t.Helper()
			b.publish("n", "down", 1)
			m.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: id, Payload: text("down")})
			m.says(mqttsn.Puback{TopicID: 1, MsgID: id})
			b.published()
			m.says(mqttsn.Publish{TopicID: 1, Payload: text("up")})
			b.wantPublished("n=up q0")
			m.hears(mqttsn.Publish{TopicID: 1, Payload: text("up")})
		}
		there(1)
		m.says(mqttsn.Disconnect{Duration: 600})
		m.hears(mqttsn.Disconnect{})
		b.sleeps(time.Minute)
		m.connects(connect)
		there(2)
		b.sleeps(2 * time.Minute)
		b.wantState("M1", lost)
		m.connects(connect)
		there(3)
		m.says(mqttsn.Disconnect{})
		m.hears(mqttsn.Disconnect{})
		m.connects(connect)
		there(4)
		connect.Clean = true
		m.connects(connect)
		m.says(mqttsn.Publish{TopicID: 1, Payload: text("up")})
		m.hears(mqttsn.Puback{TopicID: 1, Code: mqttsn.InvalidTopicID})
		b.wantPublished("")
	})
}

// TestPollWithoutID: a client that leaves its id out of the PINGREQ with which it polls gets what waits for it all the same.
func TestPollWithoutID(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.sleeper()
		b.publish("dn/meter/M1/cmd", "1", 1)
		m.says(mqttsn.Pingreq{})
		m.hears(command(1, "1"))
		m.says(mqttsn.Puback{TopicID: cmd, MsgID: 1})
		m.hears(mqttsn.Pingresp{})
		b.wantState("M1", asleep)
	})
}

// TestMalformedIsDropped: nonsense from a client that is connected changes nothing; another gateway ends its connection.
func TestMalformedIsDropped(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.meter()
		for _, p := range []string{"", "\x00", "\x01", "\x01\x00\x03\x18", "\x03\x18", "\x02\x18\x00", "\x02\x03", "\x05\x0c\x00\x00\x01", "\x04\x0b\x00\x01", "\x02\x11"} {
			b.air.in <- frame{m.at, []byte(p)}
		}
		m.hears()
		b.wantDropped(dropMalformed, 10)
		b.wantState("M1", active)
		m.says(mqttsn.Pingreq{})
		m.hears(mqttsn.Pingresp{})
	})
}

// TestAdvertiseReachable: a gateway whose server is away does not advertise itself, nor does it answer a search (6.1).
//
//	device --SEARCHGW--> gateway ──x── server
func TestAdvertiseReachable(t *testing.T) {
	ladder(t, Options{GwID: 7, Advertise: 10 * time.Minute, Links: []Link{{Broadcast: true}}}, func(b *bench) {
		all, m := &device{b, snlink.Everyone}, b.device("a")
		all.hears(mqttsn.Advertise{GwID: 7, Duration: 600})
		b.g.mu.Lock()
		b.g.o.Server = away{b.g.o.Server}
		b.g.mu.Unlock()
		b.sleeps(10 * time.Minute)
		m.says(mqttsn.Searchgw{})
		all.hears()
		b.g.mu.Lock()
		b.g.o.Server = b.g.o.Server.(away).Server
		b.g.mu.Unlock()
		b.sleeps(10 * time.Minute)
		m.says(mqttsn.Searchgw{})
		all.hears(mqttsn.Advertise{GwID: 7, Duration: 600}, mqttsn.Gwinfo{GwID: 7})
	})
}

type away struct{ Server }

func (away) Reachable() bool { return false }

// TestUpstreamReachable: an MQTT server is there until an attempt to reach it fails, and again when one succeeds.
func TestUpstreamReachable(t *testing.T) {
	_, url, stop := tcpBroker(t)
	gone := make(chan struct{})
	var dialer net.Dialer
	up, err := NewUpstream(UpstreamOptions{MinBackoff: 5 * time.Millisecond, MaxOff: 20 * time.Millisecond, Timeout: 20 * time.Second,
		Dial: func(ctx context.Context) (net.Conn, error) {
			select {
			case <-gone:
				return nil, errors.New("cut")
			default:
				return dialer.DialContext(ctx, "tcp", url[len("mqtt://"):])
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	if !up.Reachable() {
		t.Error("away before anything was tried")
	}
	s, _, err := up.Open(t.Context(), SessionOptions{ClientID: "M1"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	if !up.Reachable() {
		t.Error("away with a connection")
	}
	close(gone)
	stop()
	eventually(t, "away", func() bool { return !up.Reachable() })
}

// TestSleepingServerConnection: while its client sleeps, the gateway keeps the connection at the MQTT server alive by itself; one
// that has the device do it has the server publish the will of who sleeps.
func TestSleepingServerConnection(t *testing.T) {
	b, url, _ := tcpBroker(t)
	up, err := NewUpstream(UpstreamOptions{URL: url, KeepAlive: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	g, at, stop := runUDP(t, Options{Server: up})
	defer stop()
	m := dialRadio(t, at)
	m.says(mqttsn.Connect{ClientID: "M1", Duration: 1})
	m.hears(mqttsn.CONNACK)
	m.says(mqttsn.Disconnect{Duration: 600})
	m.hears(mqttsn.DISCONNECT)
	began := b.Stats().Packets
	eventually(t, "two pings", func() bool { return b.Stats().Packets >= began+2 })
	if s := g.Stats(); s.Clients["asleep"] != 1 || b.Stats().Connections != 1 {
		t.Errorf("%+v, %d connections", s.Clients, b.Stats().Connections)
	}
}
