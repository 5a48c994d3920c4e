package eeb

import (
	"context"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// ack waits for a location acknowledgement.
func (p *peer) ack(want string, seq uint32) {
	p.r.t.Helper()
	m := p.next()
	a, err := record.DecodeLocationAck(m.Payload)
	if err != nil || m.Topic != want || a.Sequence != seq || a.Time != uint32(start.Unix()) || m.QoS != 0 {
		p.r.t.Fatalf("%s %+v QoS %d, %v; want %s with sequence %d", m.Topic, a, m.QoS, err, want, seq)
	}
}

func (r *rig) wantPath(kind, id, path string) {
	r.t.Helper()
	l, err := bus.Request[api.LocationQuery, api.Location](r.t.Context(), r.b, api.QueryLocation, api.LocationQuery{Kind: kind, ID: id})
	if err != nil || l.Path != path {
		r.t.Fatalf("%s %s is at %q, %v; want %q", kind, id, l.Path, err, path)
	}
}

func TestRegistration(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Interval = 15 }, nil)
	r.read()
	c := r.connect("C", "dn/#")

	// M1 --location 5--> C1; eeb --location-ack 5--> C1
	c.put("up/C1/meter/M1/location", location(5))
	c.ack("dn/C1/meter/M1/location-ack", 5)
	// … repeated: answered again
	c.put("up/C1/meter/M1/location", location(5))
	c.ack("dn/C1/meter/M1/location-ack", 5)
	// M1 moves: --location 6--> C2
	c.put("up/C2/meter/M1/location", location(6))
	c.ack("dn/C2/meter/M1/location-ack", 6)
	r.wantPath("meter", "M1", "C2")
	// a late one from C1 changes nothing and is answered there, with what the centre has
	c.put("up/C1/meter/M1/location", location(5))
	c.ack("dn/C1/meter/M1/location-ack", 6)
	r.wantPath("meter", "M1", "C2")
	// M1 is wiped and begins at 1: is told 6, comes with 7
	c.put("up/C2/meter/M1/location", location(1))
	c.ack("dn/C2/meter/M1/location-ack", 6)
	c.put("up/C2/meter/M1/location", location(7))
	c.ack("dn/C2/meter/M1/location-ack", 7)
	r.want("C1|meter/M1|location|5", "C1|meter/M1|location|5", "C2|meter/M1|location|6", "C2|meter/M1|location|7")
	if l, _ := r.keep.get("meter", "M1"); l.Sequence != 7 || l.Parent != "C2" {
		t.Fatalf("%+v", l)
	}
	if n := r.metric("wattbus_uplink_ignored_total", "old_location"); n != 2 {
		t.Fatalf("%v ignored", n)
	}

	// The will counts only with the current sequence.
	c.put("up/C1/meter/M1/lost", lost(5))
	c.put("up/C2/meter/M1/lost", lost(8))
	c.put("up/C2/meter/M2/lost", lost(1))
	c.put("up/C2/meter/M1/lost", lost(7))
	r.want("C2|meter/M1|lost|7")
}

func TestLocationsSurviveRestart(t *testing.T) {
	keep := &locations{all: map[[2]string]store.Location{}}
	use := func(o *Options) { o.Locations = keep }
	t.Run("first", func(t *testing.T) {
		r := newRig(t, use, nil)
		c := r.connect("C1")
		c.put("up/C1/C7/meter/M1/location", location(3))
		c.put("up/C1/concentrator/C7/status", []byte("online"))
	})
	t.Run("second", func(t *testing.T) {
		r := newRig(t, use, nil)
		eventually(t, "loaded", func() bool { n, _ := r.e.table.count(); return n == 1 })
		if path, seq, seen, ok := r.e.table.find("meter", "M1"); !ok || path != "C1/C7" || seq != 3 || seen.IsZero() {
			t.Fatal(path, seq, ok)
		}
		if path, _, _, ok := r.e.table.find("concentrator", "C7"); !ok || path != "C1" {
			t.Fatal(path, ok)
		}
	})
}

func TestConcentratorStatus(t *testing.T) {
	r := newRig(t, nil, nil)
	r.read()
	c := r.connect("C")
	status := func(topic, word string) {
		t.Helper()
		c.put("up/"+topic+"/status", []byte(word))
	}
	// C7 --online--> C1; Mosquitto says 1, and bridges its own copy, which is ignored.
	status("C1/concentrator/C7", "1")
	status("C1/C7/concentrator/C7", "1")
	c.put("up/C1/C7/meter/M1/location", location(1))
	r.want("C1|concentrator/C7|status|online", "C1/C7|meter/M1|location|1")
	r.wantPath("meter", "M1", "C1/C7")

	// C7 moves to C2; its meters come along; the late will over C1 is ignored, and so is a reading that waited in C1.
	status("C2/concentrator/C7", "online")
	status("C1/concentrator/C7", "lost")
	c.put("up/C1/C7/meter/M1/reading", reading(1800))
	r.want("C2|concentrator/C7|status|online", "C1/C7|meter/M1|reading|1800")
	r.wantPath("meter", "M1", "C2/C7")
	r.wantPath("concentrator", "C7", "C2")
	if n := r.metric("wattbus_uplink_ignored_total", "old_status"); n != 1 {
		t.Errorf("%v old", n)
	}
	if n := r.metric("wattbus_uplink_ignored_total", "own_status"); n != 1 {
		t.Errorf("%v own", n)
	}

	// C7 is lost, and something comes through it by another way: it is there.
	status("C2/concentrator/C7", "0")
	c.put("up/C3/C7/meter/M1/reading", reading(3600))
	r.want("C2|concentrator/C7|status|lost", "C3|concentrator/C7|status|online", "C3/C7|meter/M1|reading|3600")
	r.wantPath("meter", "M1", "C3/C7")

	// In order.
	status("C3/concentrator/C7", "offline")
	r.want("C3|concentrator/C7|status|offline")
	if l, ok := r.keep.get("concentrator", "C7"); !ok || l.Parent != "C3" {
		t.Fatalf("%+v", l)
	}
}

func TestConcentratorsWithoutStatusAreWhereTheLastMessageCame(t *testing.T) {
	r := newRig(t, nil, nil)
	c := r.connect("C")
	c.put("up/C1/C7/meter/M1/location", location(1))
	r.wantPath("meter", "M1", "C1/C7")
	c.put("up/C2/C7/meter/M1/reading", reading(1800))
	r.wantPath("meter", "M1", "C2/C7")
	c.put("up/C7/meter/M1/reading", reading(1800))
	r.wantPath("meter", "M1", "C7")
}

func TestCircleOfConcentratorsHasNoWay(t *testing.T) {
	tb := newTable()
	none := func(store.Location) {}
	tb.status("C2", "C1", true, 1, none)
	tb.status("C1", "C2", true, 1, none)
	tb.register("meter", "M1", "C1", 1, 1, 10, false)
	if path, _, _, ok := tb.find("meter", "M1"); ok {
		t.Fatal(path)
	}
}

func TestDownlink(t *testing.T) {
	r := newRig(t, nil, nil)
	c1 := r.connect("C1", "dn/C1/#", "dn/all/#", "dn/group/#", "dn/concentrator/C1/#")
	c1.put("up/C1/C7/meter/M1/location", location(1))
	if m := c1.next(); m.Topic != "dn/C1/C7/meter/M1/location-ack" {
		t.Fatal(m.Topic)
	}
	c1.put("up/concentrator/C1/status", []byte("online"))
	cmd := record.Command{Opcode: record.OpPing, ID: 9}.Append(nil)
	for _, tc := range []struct {
		down   bus.Down
		want   string
		result string
	}{
		{bus.Down{Kind: "meter", ID: "M1", Event: "cmd"}, "dn/C1/C7/meter/M1/cmd", "sent"},
		{bus.Down{Kind: "concentrator", ID: "C7", Event: "cmd"}, "dn/C1/concentrator/C7/cmd", "sent"},
		{bus.Down{Kind: "concentrator", ID: "C1", Event: "cmd"}, "dn/concentrator/C1/cmd", "sent"},
		{bus.Down{Target: topic.All, Kind: "meter", Event: "cmd"}, "dn/all/meter/cmd", "sent"},
		{bus.Down{Target: topic.All, Kind: "meter", Path: "C1/C7", Event: "cmd"}, "dn/C1/C7/all/meter/cmd", "sent"},
		{bus.Down{Target: topic.All, Kind: "meter", Path: "C0/C7", Event: "cmd"}, "dn/C1/C7/all/meter/cmd", "sent"}, // C7 is at C1 now
		{bus.Down{Target: topic.Group, Group: 12, Event: "cmd"}, "dn/group/12/cmd", "sent"},
		{bus.Down{Target: topic.Group, Group: 12, Path: "C1", Event: "cmd"}, "dn/C1/group/12/cmd", "sent"},
		{bus.Down{Kind: "meter", ID: "M9", Event: "cmd"}, "", "unknown"},
		{bus.Down{Target: topic.All, Kind: "meter", Path: "C5", Event: "cmd"}, "", "no_route"},
		{bus.Down{Target: topic.All, Kind: "gadget", Event: "cmd"}, "", "invalid"},
		{bus.Down{Target: topic.All, Kind: "meter", Path: "#", Event: "cmd"}, "", "invalid"},
	} {
		tc.down.Payload, tc.down.QoS = cmd, 1
		before := r.metric("wattbus_downlink_total", tc.result)
		if err := r.b.SendDown(tc.down); err != nil {
			t.Fatal(err)
		}
		if tc.want != "" {
			if m := c1.next(); m.Topic != tc.want || m.QoS != 1 || string(m.Payload) != string(cmd) {
				t.Fatalf("%s QoS %d, want %s", m.Topic, m.QoS, tc.want)
			}
		}
		eventually(t, tc.result, func() bool { return r.metric("wattbus_downlink_total", tc.result) == before+1 })
	}
}

func TestLocationQuery(t *testing.T) {
	r := newRig(t, nil, nil)
	ask := func(kind, id string) error {
		_, err := bus.Request[api.LocationQuery, api.Location](t.Context(), r.b, api.QueryLocation, api.LocationQuery{Kind: kind, ID: id})
		return err
	}
	eventually(t, "answers", func() bool {
		p, ok := ask("meter", "M1").(*api.Problem)
		return ok && p.Status == 404
	})
	if p, ok := ask("gadget", "M1").(*api.Problem); !ok || p.Status != 400 || p.Field != "kind" {
		t.Fatal(p)
	}
}

func TestOptions(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Fatal("accepted")
	}
	r := newRig(t, nil, nil)
	for _, o := range []Options{
		{MaxEntries: -1}, {MaxBatchBytes: bus.MaxMessage}, {MaxUncommitted: 1}, {Linger: -1}, {DeadBurst: 0.5}, {Interval: 2000},
	} {
		o.Broker, o.Bus, o.Locations, o.Clock = r.br, r.b, r.keep, clock.Real()
		if _, err := New(o); err == nil {
			t.Errorf("accepted %+v", o)
		}
	}
}

func TestRunWithoutStore(t *testing.T) {
	r := newRig(t, nil, nil)
	e, err := New(Options{Broker: r.br, Bus: r.b, Locations: broken{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil {
		t.Fatal("no error")
	}
}

type broken struct{}

func (broken) PutLocations(context.Context, []store.Location) error { return context.DeadlineExceeded }
func (broken) Locations(context.Context, func(store.Location) error) error {
	return context.DeadlineExceeded
}
