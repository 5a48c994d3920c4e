package eeb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// seals keeps windows and runs in memory.
type seals struct {
	mu      sync.Mutex
	windows map[string]store.SealWindow
	run     uint32
}

func (s *seals) PutSealWindows(_ context.Context, ws []store.SealWindow) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range ws {
		s.windows[fmt.Sprint(w.Device, w.Key, w.Event)] = w
	}
	return nil
}

func (s *seals) SealWindows(_ context.Context, f func(store.SealWindow) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range slices.Collect(maps.Values(s.windows)) {
		if err := f(w); err != nil {
			return err
		}
	}
	return nil
}

func (s *seals) NextSealRun(_ context.Context, least uint32) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run = max(s.run+1, least)
	return s.run, nil
}

const keyText = "M1 00 000102030405060708090a0b0c0d0e0f\nM1 01 101112131415161718191a1b1c1d1e1f\n" +
	"M2 00 303132333435363738393a3b3c3d3e3f\ngroup:12 80 202122232425262728292a2b2c2d2e2f\n"

// sealRig is a rig with keys.
func sealRig(t *testing.T, kept *seals, only bool) (*rig, *seal.Keys) {
	t.Helper()
	keys, err := seal.ReadKeys(strings.NewReader(keyText))
	if err != nil {
		t.Fatal(err)
	}
	ring := &seal.Ring{}
	ring.Set(keys)
	return newRig(t, func(o *Options) { o.Keys, o.Seals, o.RequireSealed = ring, kept, only }, nil), keys
}

// sealUp seals as a device does.
func sealUp(t *testing.T, keys *seal.Keys, name string, id byte, counter uint32, plain []byte) []byte {
	t.Helper()
	p, err := topic.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	k, err := keys.Find(p.ID, id)
	if err != nil {
		t.Fatal(err)
	}
	return k.Seal(nil, id, seal.TitleOf(p.Kind, p.ID), counter, seal.Topic(p), plain)
}

// TestSealedUp: what is taken, what is a dead letter and why, also out of a concentrator's batch, and over a restart.
func TestSealedUp(t *testing.T) {
	kept := &seals{windows: map[string]store.SealWindow{}}
	r, keys := sealRig(t, kept, false)
	r.read()
	c := r.connect("C")
	const at = "up/C1/C7/meter/M1/reading"
	good := sealUp(t, keys, at, 0, 1000, reading(1800))
	c.put("up/C1/C7/meter/M1/location", sealUp(t, keys, "up/meter/M1/location", 0, 999, location(1)))
	c.put(at, good)
	c.put("up/C2/meter/M1/reading", good) // at QoS 1 a message may come twice, and by another way
	r.want("C1/C7|meter/M1|location|1", "C1/C7|meter/M1|reading|1800")
	if n := r.metric("wattbus_uplink_ignored_total", "replay"); n != 1 {
		t.Errorf("%v repeated", n)
	}

	altered := slices.Clone(good)
	altered[20] ^= 1
	dead := map[string]float64{}
	for _, x := range []struct {
		topic  string
		b      []byte
		reason string
	}{
		{at, altered, "seal"},
		{at, reading(3600), "plain"},
		{"up/C1/C7/meter/M1/result", good, "seal"},
		{"up/C1/C7/meter/M2/reading", good, "seal"},
		{at, append([]byte{0x21, 0x05}, good[2:]...), "key"},
		{"up/C1/C7/meter/M3/reading", good, "key"},
		{at, good[:17], "length"},
		{at, sealUp(t, keys, at, 0, 1001, []byte("what is this")), "version"},
	} {
		c.put(x.topic, x.b)
		dead[x.reason]++
	}
	c.put(at, sealUp(t, keys, at, 0, 5000, reading(5400)))
	c.put(at, sealUp(t, keys, at, 0, 3000, reading(7200)))
	dead["counter"]++
	for reason, n := range dead {
		if got := r.metric("wattbus_dead_letters_total", reason); got != n {
			t.Errorf("%v dead letters for %s, want %v", got, reason, n)
		}
	}
	letters, err := r.b.DeadLetters(t.Context(), 100, 0)
	if err != nil || len(letters) != 9 {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	for _, d := range letters {
		if d.Reason == "version" && !seal.Sealed(d.Payload) {
			t.Errorf("a dead letter holds what was secret: %x", d.Payload)
		}
	}

	// Out of a batch, and a meter without a key stays plain.
	var b record.Batch
	if err := b.Add("C7/meter/M1/reading", sealUp(t, keys, at, 1, 5001, reading(9000))); err != nil {
		t.Fatal(err)
	}
	if err := b.Add("C7/meter/M3/reading", reading(9000)); err != nil {
		t.Fatal(err)
	}
	c.put("up/concentrator/C1/batch", b.Append(nil))
	r.want("C1/C7|meter/M1|reading|5400", "C1/C7|meter/M1|reading|9000", "C1/C7|meter/M3|reading|9000")

	// Another centre on the same store: what was seen is seen.
	r2, _ := sealRig(t, kept, true)
	r2.read()
	c2 := r2.connect("C")
	c2.put(at, sealUp(t, keys, at, 0, 5000, reading(5400)))
	c2.put(at, sealUp(t, keys, at, 0, 4999, reading(3600)))
	c2.put("up/C1/C7/meter/M3/reading", reading(10800)) // and nothing plain is taken there
	c2.put("up/C1/concentrator/C7/status", []byte("online"))
	r2.want("C1/C7|meter/M1|reading|3600", "C1|concentrator/C7|status|online")
	if n := r2.metric("wattbus_dead_letters_total", "plain"); n != 1 {
		t.Errorf("%v plain", n)
	}
}

// TestSealedDown: what goes to a device with keys is sealed with the key that it used last; what goes to many only where that is safe.
func TestSealedDown(t *testing.T) {
	kept := &seals{windows: map[string]store.SealWindow{}}
	r, keys := sealRig(t, kept, false)
	r.read()
	c := r.connect("C", "dn/#")
	open := func(wantTopic, name string, id byte) []byte {
		t.Helper()
		m := c.next()
		if m.Topic != wantTopic {
			t.Fatalf("came under %s, want %s", m.Topic, wantTopic)
		}
		if name == "" {
			return m.Payload
		}
		s, err := seal.Parse(m.Payload)
		if err != nil || s.Key != id {
			t.Fatalf("%s: %x, want key %02x", m.Topic, m.Payload, id)
		}
		k, err := keys.Find(name, id)
		if err != nil {
			t.Fatal(err)
		}
		p, err := topic.Parse(m.Topic)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := k.Open(s, seal.Centre(), seal.Topic(p))
		if err != nil {
			t.Fatal(err)
		}
		return plain
	}
	c.put("up/C1/meter/M1/location", sealUp(t, keys, "up/meter/M1/location", 0, 1, location(1)))
	if a, err := record.DecodeLocationAck(open("dn/C1/meter/M1/location-ack", "M1", 0)); err != nil || a.Sequence != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	c.put("up/C1/meter/M1/reading", sealUp(t, keys, "up/meter/M1/reading", 1, 2, reading(1800)))
	send := func(d bus.Down, op record.Opcode) {
		t.Helper()
		d.Event, d.QoS = "cmd", 1
		d.Payload = record.Command{ID: 9, Opcode: op, Expiry: 5}.Append(nil)
		if err := r.b.SendDown(d); err != nil {
			t.Fatal(err)
		}
	}
	send(bus.Down{Kind: "meter", ID: "M1"}, record.OpDisconnect)
	if m, err := record.DecodeCommand(open("dn/C1/meter/M1/cmd", "M1", 1)); err != nil || m.ID != 9 {
		t.Fatalf("%+v, %v", m, err)
	}
	c.put("up/C1/meter/M3/location", location(1))
	open("dn/C1/meter/M3/location-ack", "", 0)
	send(bus.Down{Kind: "meter", ID: "M3"}, record.OpDisconnect) // it has no key
	open("dn/C1/meter/M3/cmd", "", 0)
	send(bus.Down{Target: topic.Group, Group: 12}, record.OpDisconnect) // not for many at once
	send(bus.Down{Target: topic.All, Path: "C1", Kind: "meter"}, record.OpSetClock)
	send(bus.Down{Target: topic.Group, Group: 12}, record.OpRead)
	open("dn/group/12/cmd", "group:12", 0x80)
	send(bus.Down{Target: topic.All, Path: "C1", Kind: "meter"}, record.OpRead) // no key for all: plain, and each by itself where it is not taken
	open("dn/C1/all/meter/cmd", "", 0)
	if n := r.metric("wattbus_downlink_total", "unsealed"); n != 2 {
		t.Errorf("%v not sent", n)
	}
	c.nothing()

	// Nothing plain.
	r2, _ := sealRig(t, kept, true)
	c2 := r2.connect("C", "dn/#")
	c2.put("up/C1/meter/M1/location", sealUp(t, keys, "up/meter/M1/location", 0, 10, location(2)))
	if m := c2.next(); m.Topic != "dn/C1/meter/M1/location-ack" { // it listens to the bus by now
		t.Fatalf("%s: %x", m.Topic, m.Payload)
	}
	for _, d := range []bus.Down{{Target: topic.All, Path: "C1", Kind: "meter"}, {Target: topic.Group, Group: 12}} {
		d.Event, d.QoS, d.Payload = "cmd", 1, record.Command{ID: 9, Opcode: record.OpRead}.Append(nil)
		eventually(t, "sent", func() bool { return r2.b.SendDown(d) == nil })
	}
	if m := c2.next(); m.Topic != "dn/group/12/cmd" || !seal.Sealed(m.Payload) {
		t.Errorf("%s: %x", m.Topic, m.Payload)
	}
}

// TestBlocksStayPlain: blocks of firmware are no secret, and go out as they are also where everything else is sealed.
func TestBlocksStayPlain(t *testing.T) {
	keys, err := seal.ReadKeys(strings.NewReader(keyText))
	if err != nil {
		t.Fatal(err)
	}
	s := newSealer(&Options{Keys: &seal.Ring{}, Seals: &seals{windows: map[string]store.SealWindow{}}, RequireSealed: true})
	s.ring.Set(keys)
	block := record.Block{BlockSize: 64, Data: []byte{1}}.Append(nil)
	for _, to := range []topic.Topic{{Direction: topic.Down, Kind: topic.Meter, ID: "M1"}, {Direction: topic.Down, Kind: topic.Meter, ID: "M9"}, {Direction: topic.Down, Target: topic.All, Kind: topic.Meter}, {Direction: topic.Down, Target: topic.Group, Group: 12}} {
		to.Event = "block"
		if got, err := s.protect(t.Context(), to, block, func(string) (byte, bool) { return 0, false }); err != nil || !slices.Equal(got, block) {
			t.Errorf("%s: %x, %v", to.String(), got, err)
		}
	}
}
