package snclient

import (
	"errors"
	"testing"
	"time"

	sn "github.com/wattbus/wattbus/internal/mqttsn"
)

// What gateways of others do differently; docs/interpretation.md has a line for each.

// TestOtherCodes: a return code that version 1.2 does not have is a refusal for good, not one to wait after.
func TestOtherCodes(t *testing.T) {
	play(t, nil, func(r *rig) {
		// client --CONNECT--> gateway --CONNACK 0x80 (not authorised, at one gateway)--> client
		r.from(sn.Connect{ClientID: "M1"})
		r.to(sn.Connack{Code: 0x80})
		began := time.Now()
		r.connect()
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("connects again after %s, as if the gateway were congested", d)
		}
		r.publish("up/meter/M1/reading", "1", 1)
		p := r.next(r.gw, time.Hour).(sn.Publish)
		r.to(sn.Puback{TopicID: 2, MsgID: p.MsgID, Code: 0x83})
		r.publish("up/meter/M1/reading", "2", 2)
		p = r.next(r.gw, time.Hour).(sn.Publish)
		r.to(sn.Puback{TopicID: 2, MsgID: p.MsgID, Code: 0x84})
		var refused *RefusedError
		if len(r.done) != 2 || !errors.As(r.done[0], &refused) || refused.Code != 0x83 || r.done[1] == nil || r.c.State() != Active {
			t.Errorf("done %v, %s", r.done, r.c.State())
		}
	})
}

// TestAdvertisedOnly: a gateway that does not answer SEARCHGW is found by what it advertises.
func TestAdvertisedOnly(t *testing.T) {
	play(t, func(o *Options) { o.Search = 5 * time.Second }, func(r *rig) {
		r.from(sn.Searchgw{})
		r.to(sn.Advertise{GwID: 1, Duration: 900})
		r.connect()
	})
}

// TestNoSleepThere: a gateway that does not know sleep ends the connection at DISCONNECT, whatever its duration. The client
// learns it at its next poll, and is connected again at once.
func TestNoSleepThere(t *testing.T) {
	play(t, func(o *Options) { o.Sleep = time.Minute }, func(r *rig) {
		r.connect()
		for range 2 {
			r.from(sn.Disconnect{Duration: 123})
			r.to(sn.Disconnect{})
			r.from(sn.Pingreq{ClientID: "M1"})
			r.to(sn.Disconnect{})
			r.connect()
		}
	})
}

// TestSilentThere: one that drops what comes from somebody who is not connected is given up after N_retry.
func TestSilentThere(t *testing.T) {
	play(t, func(o *Options) { o.Sleep, o.Retries = time.Minute, 2 }, func(r *rig) {
		r.connect()
		r.next(r.gw, time.Hour)
		r.to(sn.Disconnect{})
		for range 3 {
			r.from(sn.Pingreq{ClientID: "M1"})
		}
		r.connect()
		if r.c.Stats().Lost != 1 {
			t.Errorf("%+v", r.c.Stats())
		}
	})
}

// TestEndsAtPredefined: a gateway that ends the connection where it should refuse a predefined id is told the name, from the third
// connection on.
func TestEndsAtPredefined(t *testing.T) {
	play(t, func(o *Options) { o.Subscriptions = nil }, func(r *rig) {
		for range 2 {
			r.connect()
			r.publish("up/meter/M1/reading", "1", 0)
			if p := r.next(r.gw, time.Hour).(sn.Publish); p.TopicType != sn.Predefined {
				t.Errorf("%+v", p)
			}
			r.to(sn.Disconnect{})
		}
		r.connect()
		r.publish("up/meter/M1/reading", "1", 0)
		g := r.next(r.gw, time.Hour).(sn.Register)
		if g.Topic != "up/meter/M1/reading" {
			t.Errorf("%+v", g)
		}
		r.to(sn.Regack{TopicID: 5, MsgID: g.MsgID})
		if p := r.next(r.gw, time.Hour).(sn.Publish); p.TopicType != sn.Normal || p.TopicID != 5 {
			t.Errorf("%+v", p)
		}
	})
	// One that has taken such an id before only was restarted.
	play(t, func(o *Options) { o.Subscriptions = nil }, func(r *rig) {
		for range 3 {
			r.connect()
			r.publish("up/meter/M1/reading", "1", 1)
			p := r.next(r.gw, time.Hour).(sn.Publish)
			if p.TopicType != sn.Predefined {
				t.Fatalf("%+v", p)
			}
			r.to(sn.Puback{TopicID: p.TopicID, MsgID: p.MsgID})
			r.to(sn.Disconnect{})
		}
	})
}
