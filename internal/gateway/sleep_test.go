package gateway

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
)

// sleeper is a meter that has subscribed to its commands and fallen asleep for 10 minutes.
func (b *bench) sleeper() *device {
	b.t.Helper()
	m := b.device("a").connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
	m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, TopicType: mqttsn.Predefined, TopicID: cmd})
	m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: cmd})
	m.says(mqttsn.Willtopicupd{Topic: "w"})
	m.hears(mqttsn.Willtopicresp{})
	// meter --DISCONNECT, 600 s--> gateway --DISCONNECT--> meter
	m.says(mqttsn.Disconnect{Duration: 600})
	m.hears(mqttsn.Disconnect{})
	b.wantState("M1", asleep)
	return m
}

func command(id uint16, payload string) mqttsn.Publish {
	return mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: cmd, MsgID: id, Payload: text(payload)}
}

func again(p mqttsn.Publish) mqttsn.Publish { p.Dup = true; return p }

func TestSleepAndPoll(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.sleeper()
		b.publish("dn/meter/M1/cmd", "1", 1)
		b.publish("dn/meter/M1/cmd", "q0", 0) // QoS 0 waits as well
		b.publish("dn/meter/M1/cmd", "2", 1)
		b.sleeps(5 * time.Minute)
		m.hears()
		// It wakes up, and its address has changed.
		m = b.device("b")
		// meter --PINGREQ(M1)--> gateway --PUBLISH 1--> meter
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(command(1, "1"))
		b.wantState("M1", awake)
		// PINGRESP only after the last acknowledgement.
		m.says(mqttsn.Puback{TopicID: cmd, MsgID: 1})
		m.hears(mqttsn.Publish{TopicType: mqttsn.Predefined, TopicID: cmd, Payload: text("q0")}, command(2, "2"))
		m.says(mqttsn.Puback{TopicID: cmd, MsgID: 2})
		m.hears(mqttsn.Pingresp{})
		b.wantState("M1", asleep)
		// Nothing waits: PINGRESP at once.
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(mqttsn.Pingresp{})
		// The sleep timer runs anew from each PINGRESP: 600 s and a tenth.
		b.sleeps(11*time.Minute - time.Second)
		b.wantState("M1", asleep)
		b.sleeps(2 * time.Second)
		b.wantState("M1", lost)
		b.wantPublished("w= q0 will")
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(mqttsn.Disconnect{})
		// Lost, its session goes on: what was published meanwhile is there.
		b.publish("dn/meter/M1/cmd", "3", 1)
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.hears(mqttsn.Connack{}, command(3, "3"))
		m.says(mqttsn.Puback{TopicID: cmd, MsgID: 3})
	})
}

func TestSleepOtherWays(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.sleeper()
		// A new duration: 30 s, and a half more.
		m.says(mqttsn.Disconnect{Duration: 30})
		m.hears(mqttsn.Disconnect{})
		b.sleeps(44 * time.Second)
		b.wantState("M1", asleep)
		// Back to active by CONNECT: no prompting for the will, then what waits.
		b.publish("dn/meter/M1/cmd", "1", 1)
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.hears(mqttsn.Connack{}, command(1, "1"))
		m.says(mqttsn.Puback{TopicID: cmd, MsgID: 1})
		// Asleep, it publishes without a CONNECT, and sleeps on.
		m.says(mqttsn.Disconnect{Duration: 30})
		m.hears(mqttsn.Disconnect{})
		m.says(mqttsn.Publish{QoS: 1, TopicType: mqttsn.Predefined, TopicID: reading, MsgID: 9, Payload: text("r")})
		m.hears(mqttsn.Puback{TopicID: reading, MsgID: 9})
		b.wantState("M1", asleep)
		b.wantPublished("up/meter/M1/reading=r q1")
		// The end while asleep: no will.
		m.says(mqttsn.Disconnect{})
		m.hears(mqttsn.Disconnect{})
		b.wantState("M1", disconnected)
		b.wantPublished("")
	})
}

// TestSleepUnderWay: what the meter had not acknowledged when it fell asleep is not sent to it while it sleeps.
func TestSleepUnderWay(t *testing.T) {
	ladder(t, Options{Retry: 10 * time.Second, MaxRetries: 2}, func(b *bench) {
		m := b.sleeper()
		m.connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
		b.publish("dn/meter/M1/cmd", "1", 1)
		m.hears(command(1, "1"))
		m.says(mqttsn.Disconnect{Duration: 600})
		m.hears(mqttsn.Disconnect{})
		b.sleeps(5 * time.Minute)
		m.hears()
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(again(command(1, "1")))
		// It does not hear this one and polls again, then hears it; its PUBACK is lost; and then it gives up.
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(again(command(1, "1")))
		for range 2 {
			b.sleeps(10 * time.Second)
			m.hears(again(command(1, "1")))
		}
		b.sleeps(10 * time.Second)
		b.wantState("M1", asleep) // no PINGRESP: it does not listen
		m.hears()
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(again(command(1, "1")))
		m.says(mqttsn.Puback{TopicID: cmd, MsgID: 1})
		m.hears(mqttsn.Pingresp{})
	})
}

// TestSleepRegister: a topic that needs an id is registered while the meter is awake.
func TestSleepRegister(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.sleeper()
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 2, Topic: "w/#"})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 2})
		b.publish("w/x", "1", 1)
		m.hears()
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(mqttsn.Register{TopicID: 1, MsgID: 1, Topic: "w/x"})
		m.says(mqttsn.Regack{TopicID: 1, MsgID: 1})
		m.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 1, Payload: text("1")})
		m.says(mqttsn.Puback{TopicID: 1, MsgID: 1})
		m.hears(mqttsn.Pingresp{})
		// While awake something comes: it is part of this poll.
		b.publish("w/x", "2", 1)
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 2, Payload: text("2")})
		b.publish("w/x", "3", 1)
		m.says(mqttsn.Puback{TopicID: 1, MsgID: 2})
		m.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 3, Payload: text("3")})
		m.says(mqttsn.Puback{TopicID: 1, MsgID: 3})
		m.hears(mqttsn.Pingresp{})
	})
}

func TestSleepBuffer(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		m := b.device("a")
		b.g.o.Server = InProcess{Broker: b.broker, SessionBytes: 400} // three messages
		m.connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, TopicType: mqttsn.Predefined, TopicID: cmd})
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: cmd})
		m.says(mqttsn.Disconnect{Duration: 600})
		m.hears(mqttsn.Disconnect{})
		for _, p := range []struct {
			s   string
			qos byte
		}{{"a", 0}, {"b", 1}, {"c", 0}, {"d", 1}, {"e", 1}, {"f", 1}} {
			b.publish("dn/meter/M1/cmd", p.s, p.qos)
		}
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		for i, s := range []string{"b", "d", "e"} { // QoS 0 made room, the oldest first; then the newest was dropped
			m.hears(command(uint16(i+1), s))
			m.says(mqttsn.Puback{TopicID: cmd, MsgID: uint16(i + 1)})
		}
		m.hears(mqttsn.Pingresp{})
		if s := b.broker.Stats(); s.Dropped["qos0_full"] != 2 || s.Dropped["offline_session_full"] != 1 {
			t.Fatalf("%v", s.Dropped)
		}
	})
}

// TestRestart: a gateway that is started again knows who sleeps, where, and for how long, which topic ids were given out, and
// who was active.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients")
	for _, keeps := range []bool{true, false} { // the broker's sessions too, or not
		ladder(t, Options{}, func(b *bench) {
			store, err := OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b.cancel()
			<-b.done
			b.start(Options{Store: store})
			m := b.sleeper()
			n := b.device("n").connects(mqttsn.Connect{ClientID: "M2", Duration: 60})
			n.says(mqttsn.Register{MsgID: 1, Topic: "y"})
			n.hears(mqttsn.Regack{TopicID: 1, MsgID: 1})
			x := b.device("x").connects(mqttsn.Connect{ClientID: "M3", Duration: 60, Clean: true})
			x.says(mqttsn.Disconnect{})
			x.hears(mqttsn.Disconnect{})
			b.stop()
			b.wantPublished("") // no wills: they are still there
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			if !keeps {
				for _, id := range []string{"M1", "M2"} {
					if s, _, err := (InProcess{Broker: b.broker}).Open(t.Context(), SessionOptions{ClientID: id, Clean: true}); err == nil {
						s.Keep(true)
						s.Close(false)
					}
				}
			}

			if store, err = OpenFile(path); err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			b.start(Options{Store: store})
			b.publish("dn/meter/M1/cmd", "1", 1)
			m.says(mqttsn.Pingreq{ClientID: "M1"})
			m.hears(command(1, "1"))
			m.says(mqttsn.Puback{TopicID: cmd, MsgID: 1})
			m.hears(mqttsn.Pingresp{})
			n.says(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 7, Payload: text("2")})
			n.hears(mqttsn.Puback{TopicID: 1, MsgID: 7})
			x.says(mqttsn.Publish{QoS: -1, TopicType: mqttsn.Predefined, TopicID: reading, Payload: text("3")})
			b.wantPublished("y=2 q1, up/meter/M3/reading=3 q0")
			b.sleeps(15 * time.Minute)
			b.wantState("M1", lost)
			b.wantPublished("w= q0 will")
			b.sleeps(DefaultForget)
			b.g.mu.Lock()
			left := len(b.g.clients)
			b.g.mu.Unlock()
			b.sleeps(time.Second)
			if left != 0 || len(store.live) != 0 {
				t.Errorf("%d clients and %d records are left", left, len(store.live))
			}
		})
	}
}

// TestRestartActive: a client that was active gets what came meanwhile at once where its address is known; where it has to prove
// who it is, it is heard of first.
func TestRestartActive(t *testing.T) {
	for _, at := range []net.Addr{where("a"), owned{"M1"}} {
		path := filepath.Join(t.TempDir(), "clients")
		ladder(t, Options{}, func(b *bench) {
			b.cancel()
			<-b.done
			store, err := OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			b.start(Options{Store: store})
			m := (&device{b, at}).connects(mqttsn.Connect{ClientID: "M1", Duration: 60})
			m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, TopicType: mqttsn.Predefined, TopicID: cmd})
			m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: cmd})
			b.stop()
			b.publish("dn/meter/M1/cmd", "1", 1)
			b.start(Options{Store: store})
			b.publish("dn/meter/M1/cmd", "2", 1)
			if _, proven := at.(owned); proven {
				m.hears()
				m.says(mqttsn.Pingreq{})
				m.hears(command(1, "1"), mqttsn.Pingresp{})
			} else {
				// gateway --PUBLISH--> meter, which has said nothing
				m.hears(command(1, "1"))
			}
			m.says(mqttsn.Puback{TopicID: cmd, MsgID: 1})
			m.hears(command(2, "2"))
			m.says(mqttsn.Puback{TopicID: cmd, MsgID: 2})
		})
	}
}

// TestRestartPlaces: who was at an address last is there after a restart, and one that is not there any more is not sent to.
func TestRestartPlaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients")
	ladder(t, Options{}, func(b *bench) {
		b.cancel()
		<-b.done
		store, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		b.start(Options{Store: store})
		// M1 is at a, then M2 is; M3 is at c and leaves, M4 comes there.
		for _, id := range []string{"M1", "M2"} {
			m := b.device("a").connects(mqttsn.Connect{ClientID: id, Duration: 600})
			m.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "n"})
			m.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: 1})
		}
		b.wantState("M1", lost)
		c := b.device("c").connects(mqttsn.Connect{ClientID: "M3", Duration: 600})
		c.says(mqttsn.Disconnect{})
		c.hears(mqttsn.Disconnect{})
		c.connects(mqttsn.Connect{ClientID: "M4", Duration: 600})
		b.stop()
		b.start(Options{Store: store, Admit: func(id string, _ net.Addr) bool { return id != "M4" }})
		b.publish("n", "1", 1)
		// gateway --PUBLISH--> M2, once; M4 may not have its id any more.
		b.device("a").hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 1, Payload: text("1")})
		b.device("a").says(mqttsn.Puback{TopicID: 1, MsgID: 1})
		c.says(mqttsn.Pingreq{})
		c.hears(mqttsn.Disconnect{})
	})
}
