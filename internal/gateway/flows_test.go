package gateway

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
)

// flow is what has to be there before one of the exchanges of testdata/mqttsn.json, what happens at the broker before one of its
// steps, and what is so afterwards.
type flow struct {
	before func(b *bench, d *device)
	at     map[int]func(b *bench)
	after  func(b *bench, d *device)
}

const flowMeter = "meter-0001"

func flowConnect(b *bench, d *device) {
	d.connects(mqttsn.Connect{ClientID: flowMeter, Duration: 60, Clean: true})
}

func flowWill(b *bench, d *device) {
	d.says(mqttsn.Connect{ClientID: flowMeter, Duration: 60, Will: true}, mqttsn.Willtopic{Topic: "w"}, mqttsn.Willmsg{Payload: text("old")})
	d.hears(mqttsn.Willtopicreq{}, mqttsn.Willmsgreq{}, mqttsn.Connack{})
}

func flowAsleep(b *bench, d *device) {
	flowConnect(b, d)
	d.says(mqttsn.Disconnect{Duration: 1800})
	d.hears(mqttsn.Disconnect{})
}

var flows = map[string]flow{
	"connect_with_will": {after: func(b *bench, d *device) {
		b.wantState(flowMeter, active)
		b.sleeps(2 * time.Minute)
		b.wantPublished("wb/will/0001=gone q1 will")
	}},
	"connect_delete_will": {before: flowWill, after: func(b *bench, d *device) {
		b.sleeps(2 * time.Minute)
		b.wantState(flowMeter, lost)
		b.wantPublished("")
	}},
	"wildcard_delivery_needs_register": {before: flowConnect, at: map[int]func(*bench){2: func(b *bench) { b.publish("wb/dn/0001/cmd", "ON", 1) }}},
	"sleep_poll_two_buffered": {before: func(b *bench, d *device) {
		flowConnect(b, d)
		d.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "wb/dn/0001"})
		d.hears(mqttsn.Suback{QoS: 1, MsgID: 1, TopicID: 1})
	}, at: map[int]func(*bench){2: func(b *bench) {
		b.publish("wb/dn/0001", "m1", 1)
		b.publish("wb/dn/0001", "m2", 1)
	}}, after: func(b *bench, d *device) {
		b.sleeps(1800*time.Second + 179*time.Second)
		b.wantState(flowMeter, asleep)
	}},
	"sleep_poll_empty":                {before: flowAsleep},
	"sleep_change_duration_then_wake": {before: flowAsleep, after: func(b *bench, d *device) { b.wantState(flowMeter, active) }},
	"gateway_lost_mapping":            {before: flowConnect, after: func(b *bench, d *device) { b.wantPublished("wb/up/0001=x q1") }},
	"qos2_up": {before: func(b *bench, d *device) {
		flowConnect(b, d)
		d.says(mqttsn.Register{MsgID: 5, Topic: "wb/up/0001"})
		d.hears(mqttsn.Regack{TopicID: 1, MsgID: 5})
	}, after: func(b *bench, d *device) { b.wantPublished("wb/up/0001=y q2") }},
	"unknown_peer": {after: func(b *bench, d *device) { b.wantPublished("") }},
	"will_update": {before: flowWill, after: func(b *bench, d *device) {
		b.sleeps(2 * time.Minute)
		b.wantPublished("wb/will/new=bye q1 will")
	}},
}

// ids turns the topic and message ids that a flow's gateway chose into ours.
type ids struct{ topic, msg map[uint16]uint16 }

// learn compares what our gateway says with what the flow's said; where the gateway chooses, it notes our id.
func (x *ids) learn(t *testing.T, want, got mqttsn.Message) {
	t.Helper()
	switch w := want.(type) {
	case mqttsn.Register:
		if g, ok := got.(mqttsn.Register); ok {
			x.topic[w.TopicID], x.msg[w.MsgID] = g.TopicID, g.MsgID
			w.TopicID, w.MsgID = g.TopicID, g.MsgID
			want = w
		}
	case mqttsn.Publish:
		if g, ok := got.(mqttsn.Publish); ok {
			if _, known := x.topic[w.TopicID]; !known {
				x.topic[w.TopicID] = g.TopicID
			}
			x.msg[w.MsgID] = g.MsgID
			w.TopicID, w.MsgID = x.topic[w.TopicID], g.MsgID
			want = w
		}
	}
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("the gateway says %s%+v, want %s%+v", got.Type(), got, want.Type(), want)
	}
}

// ours is what a client of the flow says to our gateway.
func (x *ids) ours(m mqttsn.Message) mqttsn.Message {
	swap := func(ids map[uint16]uint16, id *uint16) {
		if to, ok := ids[*id]; ok {
			*id = to
		}
	}
	switch a := m.(type) {
	case mqttsn.Regack:
		swap(x.topic, &a.TopicID)
		swap(x.msg, &a.MsgID)
		return a
	case mqttsn.Puback:
		swap(x.topic, &a.TopicID)
		swap(x.msg, &a.MsgID)
		return a
	}
	return m
}

// TestFlows replays the exchanges of testdata/mqttsn.json that were made for the parts where implementations differ.
func TestFlows(t *testing.T) {
	raw, err := os.ReadFile("../mqttsn/testdata/mqttsn.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Flows []struct {
			Name  string
			Steps []struct{ Dir, Hex, Note string }
		}
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Flows) != len(flows) {
		t.Errorf("%d flows in the file, %d here", len(f.Flows), len(flows))
	}
	for _, fl := range f.Flows {
		t.Run(fl.Name, func(t *testing.T) {
			how, ok := flows[fl.Name]
			if !ok {
				t.Fatal("nothing says how to play it")
			}
			ladder(t, Options{}, func(b *bench) {
				d := b.device("a")
				if how.before != nil {
					how.before(b, d)
				}
				x := ids{map[uint16]uint16{}, map[uint16]uint16{}}
				for i, s := range fl.Steps {
					if f := how.at[i]; f != nil {
						f(b)
						b.published()
					}
					p, err := hex.DecodeString(s.Hex)
					if err != nil {
						t.Fatal(err)
					}
					m, err := mqttsn.Decode(p)
					if err != nil {
						t.Fatal(err)
					}
					if s.Dir == "client->gw" {
						d.says(x.ours(m))
						continue
					}
					synctest.Wait()
					select {
					case p := <-b.air.at(d.at):
						got, err := mqttsn.Decode(p)
						if err != nil {
							t.Fatal(err)
						}
						x.learn(t, m, got)
					default:
						t.Fatalf("the gateway says nothing, want %s: %s", m.Type(), s.Note)
					}
				}
				d.hears()
				if how.after != nil {
					how.after(b, d)
				}
			})
		})
	}
}

// TestSubscribers plays the client's side of the two transcripts whose gateway was another kind: one that answers a wildcard with
// an id and needs no REGISTER, and one that gives a predefined topic a normal id.
func TestSubscribers(t *testing.T) {
	ladder(t, Options{Predefined: seventeen{}}, func(b *bench) {
		d := b.device("a").connects(mqttsn.Connect{ClientID: flowMeter, Duration: 10, Clean: true})
		d.says(mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "wb/dn/#"})
		d.hears(mqttsn.Suback{QoS: 1, MsgID: 1})
		b.publish("wb/dn/0001", "hello", 1)
		d.hears(mqttsn.Register{TopicID: 1, MsgID: 1, Topic: "wb/dn/0001"})
		d.says(mqttsn.Regack{TopicID: 1, MsgID: 1})
		d.hears(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 1, Payload: text("hello")})
		d.says(mqttsn.Puback{TopicID: 1, MsgID: 1}, mqttsn.Disconnect{})
		d.hears(mqttsn.Disconnect{})

		d.connects(mqttsn.Connect{ClientID: flowMeter, Duration: 10, Clean: true})
		d.says(mqttsn.Subscribe{MsgID: 1, TopicType: mqttsn.Predefined, TopicID: 17})
		d.hears(mqttsn.Suback{MsgID: 1, TopicID: 17})
		b.publish("seventeen", "hello", 0)
		d.hears(mqttsn.Publish{TopicType: mqttsn.Predefined, TopicID: 17, Payload: text("hello")})
		d.says(mqttsn.Disconnect{})
		d.hears(mqttsn.Disconnect{})
	})
}

// seventeen is a table of one predefined id.
type seventeen struct{}

func (seventeen) Name(_ string, id uint16) (string, bool) { return "seventeen", id == 17 }
func (seventeen) ID(_ string, name string) (uint16, bool) { return 17, name == "seventeen" }
