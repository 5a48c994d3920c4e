package snclient

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	sn "github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// 6.14: it sleeps, wakes by the plan, fetches, sleeps again; ends the sleep to send, and sleeps again.
func TestSleep(t *testing.T) {
	play(t, func(o *Options) { o.Sleep = 5 * time.Minute; o.Will = func() *Message { return &Message{Topic: "w"} } }, func(r *rig) {
		r.from(sn.Connect{Will: true, ClientID: "M1"})
		r.to(sn.Connack{}) // a gateway that knows the will already need not ask
		began := time.Now()
		// 300 s, and 5 polls 12.5 s apart
		r.from(sn.Disconnect{Duration: 363})
		if d := time.Since(began); d != DefaultLinger {
			t.Errorf("asleep after %s", d)
		}
		r.to(sn.Disconnect{})
		r.to(sn.Disconnect{}) // doubled by the network
		if r.c.State() != Asleep {
			t.Error(r.c.State())
		}
		r.from(sn.Pingreq{ClientID: "M1"})
		if d := time.Since(began); d != DefaultLinger+5*time.Minute {
			t.Errorf("awake after %s", d)
		}
		r.to(sn.Publish{QoS: 1, TopicType: sn.Predefined, TopicID: 0x82, MsgID: 1, Payload: []byte("a")})
		r.from(sn.Puback{TopicID: 0x82, MsgID: 1})
		time.Sleep(5 * time.Second) // every message restarts T_retry
		r.to(sn.Publish{TopicType: sn.Predefined, TopicID: 0x82, Payload: []byte("b")})
		time.Sleep(7 * time.Second)
		r.to(sn.Pingresp{})
		r.has("messages", r.messages, "dn/meter/M1/cmd=a", "dn/meter/M1/cmd=b")
		if r.c.State() != Asleep {
			t.Error(r.c.State())
		}
		// There is something to send: it looks whether it is known, ends the sleep without a will, and sleeps again.
		r.silent(time.Minute)
		r.publish("up/meter/M1/reading", "1", 1)
		r.from(sn.Pingreq{ClientID: "M1"})
		r.to(sn.Pingresp{})
		r.from(sn.Connect{ClientID: "M1"})
		r.to(sn.Connack{})
		id := r.id()
		r.from(sn.Publish{QoS: 1, TopicType: sn.Predefined, TopicID: 2, MsgID: id, Payload: []byte("1")})
		r.to(sn.Puback{TopicID: 2, MsgID: id})
		r.from(sn.Disconnect{Duration: 363})
		r.to(sn.Disconnect{})
		if r.connects != 1 || r.c.Stats().Sleeps != 3 {
			t.Errorf("%d connects, %+v", r.connects, r.c.Stats())
		}
		// The gateway lost the session meanwhile: the poll tells, and the client connects anew with its will.
		r.from(sn.Pingreq{ClientID: "M1"})
		r.to(sn.Disconnect{})
		r.from(sn.Connect{Will: true, ClientID: "M1"})
		r.to(sn.Connack{})
		if want := []string{"searching", "connecting", "active", "asleep", "awake", "asleep", "awake", "active", "asleep", "awake",
			"searching", "connecting", "active"}; !reflect.DeepEqual(r.states, want) {
			t.Errorf("states %q", r.states)
		}
	})
}

// A poll that is not answered is repeated, and in the end the session begins anew.
func TestSleepLost(t *testing.T) {
	play(t, func(o *Options) { o.Sleep = 30 * time.Minute; o.Retries = 1 }, func(r *rig) {
		r.connect()
		r.from(sn.Disconnect{Duration: 1825})
		r.to(sn.Disconnect{})
		r.from(sn.Pingreq{ClientID: "M1"})
		r.from(sn.Pingreq{ClientID: "M1"})
		r.connect()
		r.from(sn.Disconnect{Duration: 1825})
		r.to(sn.Disconnect{})
		r.c.Kill() // asleep: nobody hears of it until the gateway's timer runs out
		r.silent(2 * time.Hour)
		r.c.Resume()
		r.connect()
	})
}

// A plan of its own; a longer sleep than the last one has to be announced.
func TestWakeUpPlan(t *testing.T) {
	var times []time.Duration
	play(t, func(o *Options) {
		plan := []time.Duration{time.Minute, 2 * time.Minute, time.Minute, -time.Hour}
		o.Wake = func(at time.Time) time.Time {
			d := plan[0]
			if len(plan) > 1 {
				plan = plan[1:]
			}
			return at.Add(d)
		}
	}, func(r *rig) {
		r.connect()
		r.from(sn.Disconnect{Duration: 123})
		r.to(sn.Disconnect{})
		for range 4 {
			began := time.Now()
			switch m := r.next(r.gw, time.Hour).(type) {
			case sn.Pingreq:
				times = append(times, time.Since(began).Round(time.Millisecond))
				r.to(sn.Pingresp{})
			case sn.Disconnect:
				if m.Duration != 183 {
					t.Errorf("%+v", m)
				}
				r.to(sn.Disconnect{})
			}
		}
		if want := []time.Duration{time.Minute, 2 * time.Minute, time.Minute}; !reflect.DeepEqual(times, want) {
			t.Errorf("woke after %v", times)
		}
	})
}

func TestLeaveAsleep(t *testing.T) {
	play(t, func(o *Options) { o.Sleep = time.Hour }, func(r *rig) {
		r.connect()
		r.from(sn.Disconnect{Duration: 3663})
		r.to(sn.Disconnect{})
		r.c.Reconnect()
		r.from(sn.Pingreq{ClientID: "M1"})
		r.to(sn.Pingresp{})
		r.from(sn.Connect{ClientID: "M1"})
		r.to(sn.Connack{})
		r.from(sn.Disconnect{})
		r.to(sn.Disconnect{})
		r.connect()
	})
}

// 6.1: SEARCHGW with growing pauses, GWINFO, ADVERTISE; another gateway when this one is silent.
func TestDiscovery(t *testing.T) {
	play(t, func(o *Options) { o.Retries = 1; o.Search = 5 * time.Second; o.Radius = 1 }, func(r *rig) {
		b := attach(t, r.m, "b")
		defer func() { _ = b.Close() }()
		began := time.Now()
		r.from(sn.Searchgw{Radius: 1})
		first := time.Since(began)
		r.from(sn.Searchgw{Radius: 1})
		second := time.Since(began) - first
		if first > 5*time.Second || second < 7*time.Second || second > 13*time.Second {
			t.Errorf("searches after %s and %s more", first, second)
		}
		r.next(b, time.Second)
		r.next(b, time.Second)
		r.to(sn.Gwinfo{GwID: 1})
		r.toFrom(b, sn.Gwinfo{GwID: 2})
		r.connect()
		// The first one falls silent: the second is known.
		r.publish("up/meter/M1/reading", "1", 1)
		r.next(r.gw, time.Minute)
		r.next(r.gw, time.Minute)
		if got, ok := r.next(b, time.Minute).(sn.Connect); !ok || got.ClientID != "M1" {
			t.Fatalf("%+v", got)
		}
		r.toFrom(b, sn.Connack{})
		p := r.next(b, time.Minute).(sn.Publish)
		r.toFrom(b, sn.Puback{TopicID: 2, MsgID: p.MsgID})
		if r.connects != 2 || len(r.done) != 1 {
			t.Errorf("%d connects, done %v", r.connects, r.done)
		}
		// N_ADV: the second one stops advertising, the first is back.
		r.toFrom(b, sn.Advertise{GwID: 2, Duration: 60})
		r.to(sn.Advertise{GwID: 1, Duration: 900})
		r.silent(2*time.Minute + 50*time.Second)
		r.connect()
	})
}

// Another device that searches is heard: its answer serves both.
func TestSearchTogether(t *testing.T) {
	play(t, func(o *Options) { o.Search = 5 * time.Second }, func(r *rig) {
		synctest.Wait()
		other := attach(t, r.m, "other")
		b, _ := sn.Searchgw{}.Append(nil)
		_, _ = other.WriteTo(b, snlink.Everyone)
		r.next(r.gw, time.Second)
		time.Sleep(time.Second)
		r.to(sn.Gwinfo{GwID: 1})
		r.connect()
		synctest.Wait()
	})
}
