package meter

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

func testKeys(t *testing.T, text string) *seal.Keys {
	t.Helper()
	k, err := seal.ReadKeys(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const sealKeys = "M1 00 000102030405060708090a0b0c0d0e0f\nM1 01 101112131415161718191a1b1c1d1e1f\n" +
	"M2 00 303132333435363738393a3b3c3d3e3f\nall 80 202122232425262728292a2b2c2d2e2f\ngroup:12 81 404142434445464748494a4b4c4d4e4f\n"

var own = topic.Topic{Direction: topic.Down, Kind: topic.Meter, ID: "M1", Event: "cmd"}

// TestSealedFirmware: an offer has to be sealed with the meter's own key, a block need not be.
func TestSealedFirmware(t *testing.T) {
	keys := testKeys(t, sealKeys)
	c := config{id: "M1", kind: topic.Meter, ring: &seal.Ring{}, sources: [2]Source{line(1)}, interval: 30, update: updateOf(NewMemorySlot(1000))}
	c.ring.Set(keys.For("M1"))
	m := newCore(c, State{}, false, t0)
	img := imageOf(t, 1, 5, 100, nil)
	offer, drop := offerOf(&img, 1, 0).Append(nil), record.Command{ID: 1, Opcode: record.OpFirmwareDrop}.Append(nil)
	to, all := own, topic.Topic{Direction: topic.Down, Target: topic.All, Kind: topic.Meter, Event: "cmd"}
	to.Event = "firmware"
	mine, err := keys.Find("M1", 0)
	shared, err2 := keys.Find("all", 0x80)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		to   topic.Topic
		b    []byte
		want error
	}{
		"plain offer":  {to, offer, seal.ErrPlain},
		"sealed offer": {to, mine.Seal(nil, 0, seal.Centre(), 5000, seal.Topic(to), offer), nil},
		"plain drop":   {own, drop, seal.ErrPlain},
		"shared drop":  {all, shared.Seal(nil, 0x80, seal.Centre(), 5, seal.Topic(all), drop), seal.ErrKey},
		"plain status": {own, record.Command{ID: 2, Opcode: record.OpFirmwareStatus}.Append(nil), nil},
		"plain block":  {topic.Topic{Direction: topic.Down, Target: topic.All, Kind: topic.Meter, Event: "block"}, img.Block(record.Header{}, 0, 64).Append(nil), nil},
	} {
		if _, err := m.unseal(tc.to, tc.b); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestSealed: what a meter with keys takes and what it does not, and that nothing that is dropped uses up a command's id.
func TestSealed(t *testing.T) {
	keys := testKeys(t, sealKeys)
	b := NewBare("M1", ModeAny, t0, 0)
	b.SetKeys(keys)
	find := func(name string, id byte) *seal.Key {
		k, err := keys.Find(name, id)
		if err != nil {
			t.Fatal(err)
		}
		return &k
	}
	cut := func(id uint64) []byte {
		return record.Command{ID: id, Opcode: record.OpDisconnect, Expiry: t0 + 60}.Append(nil)
	}
	ping := func(id uint64) []byte { return record.Command{ID: id, Opcode: record.OpPing}.Append(nil) }
	all := topic.Topic{Direction: topic.Down, Target: topic.All, Kind: topic.Meter, Event: "cmd"}
	group := topic.Topic{Direction: topic.Down, Target: topic.Group, Group: 12, Event: "cmd"}
	groups, ack := own, own
	groups.Event, ack.Event = "groups", "location-ack"
	mine := find("M1", 0)
	for _, tc := range []struct {
		name string
		to   topic.Topic
		b    []byte
		want error
		ran  bool
	}{
		{"plain breaker", own, cut(1), seal.ErrPlain, false},
		{"plain clock", own, record.Command{ID: 1, Opcode: record.OpSetClock, A: t0}.Append(nil), seal.ErrPlain, false},
		{"plain groups", groups, record.Groups{ID: 1}.Append(nil), seal.ErrPlain, false},
		{"plain ack", ack, record.LocationAck{Sequence: 1 << 30}.Append(nil), seal.ErrPlain, false},
		{"plain ping", own, ping(100), nil, true},
		{"sealed, the same id", own, mine.Seal(nil, 0, seal.Centre(), 5000, seal.Topic(own), cut(1)), nil, true},
		{"again", own, mine.Seal(nil, 0, seal.Centre(), 5000, seal.Topic(own), cut(1)), seal.ErrReplay, false},
		{"again, sealed anew", own, mine.Seal(nil, 0, seal.Centre(), 5001, seal.Topic(own), cut(1)), nil, false},
		{"late, within the window", own, mine.Seal(nil, 0, seal.Centre(), 4000, seal.Topic(own), cut(2)), nil, true},
		{"before the window", own, mine.Seal(nil, 0, seal.Centre(), 3000, seal.Topic(own), cut(3)), seal.ErrOld, false},
		{"the other generation", own, find("M1", 1).Seal(nil, 1, seal.Centre(), 1, seal.Topic(own), cut(4)), nil, true},
		{"no such generation", own, mine.Seal(nil, 2, seal.Centre(), 6000, seal.Topic(own), cut(5)), seal.ErrKey, false},
		{"another meter's", own, find("M2", 0).Seal(nil, 0, seal.Centre(), 6001, seal.Topic(own), cut(5)), seal.ErrSeal, false},
		{"by a meter", own, mine.Seal(nil, 0, seal.TitleOf("meter", "M1"), 6002, seal.Topic(own), cut(5)), seal.ErrSeal, false},
		{"of another topic", own, mine.Seal(nil, 0, seal.Centre(), 6003, seal.Topic(groups), cut(5)), seal.ErrSeal, false},
		{"for all", all, find("all", 0x80).Seal(nil, 0x80, seal.Centre(), 1, seal.Topic(all), ping(101)), nil, true},
		{"breaker for all", all, find("all", 0x80).Seal(nil, 0x80, seal.Centre(), 2, seal.Topic(all), cut(5)), seal.ErrKey, false},
		{"a shared key for one", own, find("all", 0x80).Seal(nil, 0x80, seal.Centre(), 3, seal.Topic(own), ping(102)), seal.ErrKey, false},
		{"for a group", group, find("group:12", 0x81).Seal(nil, 0x81, seal.Centre(), 1, seal.Topic(group), ping(103)), nil, true},
		{"expired", own, mine.Seal(nil, 0, seal.Centre(), 6004, seal.Topic(own), record.Command{ID: 6, Opcode: record.OpDisconnect, Expiry: t0 - 1}.Append(nil)), nil, false},
	} {
		answers, ran, err := b.Receive(t0, tc.to, tc.b)
		if !errors.Is(err, tc.want) || ran != tc.ran || (err == nil) != (len(answers) > 0) {
			t.Errorf("%s: ran %v, %d answers, %v; want %v, %v", tc.name, ran, len(answers), err, tc.ran, tc.want)
		}
		for _, a := range answers {
			m, err := seal.Parse(a.Payload)
			if err != nil || m.Key != 1 { // its newest
				t.Fatalf("%s: answered with %x", tc.name, a.Payload)
			}
			if _, err := find("M1", 1).Open(m, seal.TitleOf("meter", "M1"), "up/meter/M1/"+a.Event); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
		if err := b.Restart(t0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCountersNeverRepeat kills a meter again and again between its saves.
func TestCountersNeverRepeat(t *testing.T) {
	keys := testKeys(t, sealKeys)
	ring := &seal.Ring{}
	ring.Set(keys.For("M1"))
	edit := func(c *config) { c.kind, c.ring = topic.Meter, ring }
	used := map[uint32]bool{}
	var kept State
	m := newTestCore(t0, edit)
	for i := range 3000 {
		m.numbered(t0)
		if change := m.save(); change != nil {
			if err := kept.Apply(change); err != nil {
				t.Fatal(err)
			}
			m.saved()
		}
		s, err := seal.Parse(m.sealed("reading", []byte("x")))
		if err != nil || used[s.Counter] || s.Counter < t0-counterEpoch {
			t.Fatalf("%d: counter %d, %v", i, s.Counter, err)
		}
		used[s.Counter] = true
		if i%37 == 0 {
			c := config{id: "M1", sources: [2]Source{line(3600), nil}, interval: 30}
			edit(&c)
			m = newCore(c, kept.clone(), true, t0)
		}
	}
}

// TestSealedAgent: will, registration, readings' way and answers of an agent are sealed; a forged command does nothing.
func TestSealedAgent(t *testing.T) {
	c := newCentre(t)
	keys := testKeys(t, sealKeys)
	key, err := keys.Find("M1", 1)
	if err != nil {
		t.Fatal(err)
	}
	counter := uint32(0)
	send := func(event string, plain []byte) {
		counter++
		c.send("dn/meter/M1/"+event, key.Seal(nil, 1, seal.Centre(), counter, "dn/meter/M1/"+event, plain))
	}
	o := options(c, "M1", standing())
	o.Keys = keys
	a, _ := run(t, o)
	open := func(x arrival) []byte {
		t.Helper()
		m, err := seal.Parse(x.payload)
		if err != nil {
			t.Fatalf("%s: %x", x.topic, x.payload)
		}
		p, err := key.Open(m, seal.TitleOf("meter", "M1"), x.topic)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	x, at := c.await(0, "/location", nil)
	l, err := record.DecodeLocation(open(x))
	if err != nil {
		t.Fatal(err)
	}
	c.send("dn/meter/M1/location-ack", record.LocationAck{Sequence: l.Sequence + 1000}.Append(nil)) // forged
	send("location-ack", record.LocationAck{Header: record.Header{Time: t0}, Sequence: l.Sequence}.Append(nil))
	c.send("dn/meter/M1/cmd", record.Command{ID: 7, Opcode: record.OpDisconnect, Expiry: 1<<32 - 1}.Append(nil)) // forged
	send("cmd", record.Command{ID: 8, Opcode: record.OpPing}.Append(nil))
	x, at = c.await(at, "/result", nil)
	if r, err := record.DecodeResult(open(x)); err != nil || r.Command != 8 || r.Breaker != record.BreakerClosed {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := a.Status(); !s.Registered || s.Sequence != l.Sequence {
		t.Errorf("%+v", s)
	}
	counter--
	send("cmd", record.Command{ID: 9, Opcode: record.OpPing}.Append(nil)) // the counter was let through
	send("cmd", record.Command{ID: 10, Opcode: record.OpDisconnect}.Append(nil))
	send("cmd", record.Command{ID: 11, Opcode: record.OpDisconnect, Expiry: 1}.Append(nil))
	for range 2 {
		x, at = c.await(at, "/result", nil)
		if r, err := record.DecodeResult(open(x)); err != nil || r.Command < 10 || r.Outcome == record.Done {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if n := a.Stats(); n.Unsealed != 2 || n.Replayed != 1 || n.Rejected != 3 || n.Refused != 1 || n.Expired != 1 || n.Commands != 3 {
		t.Errorf("%+v, want 2 not sealed, 1 that was let through before, 1 refused and 1 expired of 3 commands", n)
	}
	// An older generation goes, and the next message is sealed with what is left.
	a.SetKeys(testKeys(t, strings.Split(sealKeys, "\n")[1]))
	a.DropLink()
	x, _ = c.await(at, "/lost", nil)
	if p := open(x); !x.will || !bytes.Equal(p, record.Lost{Header: record.Header{Time: record.DecodeHeader(p).Time}, Sequence: l.Sequence}.Append(nil)) {
		t.Errorf("will %v: %x", x.will, p)
	}
}
