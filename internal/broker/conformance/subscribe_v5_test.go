package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// The subscription options of MQTT 5 besides the QoS.
const (
	noLocal           = 4
	retainAsPublished = 8
	retainIfNew       = 0x10
	retainNever       = 0x20
)

func testNoLocal(t *testing.T, b *target) {
	p, other := b.clean(t), b.clean(t)
	p.subscribe(1|noLocal, b.topic("x"))
	other.subscribe(1|noLocal, b.topic("x"))
	p.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	other.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1})
	p.silent()
	p.subscribe(1, b.topic("+")) // one that does not mind
	p.send(publish{topic: b.topic("x"), payload: "2", qos: 1, id: 9}.encode(b.v))
	got := map[byte]int{}
	for range 2 { // PUBACK and the message, in any order
		q := p.read()
		got[q.head>>4]++
		if m, err := decodePublish(b.v, q); q.head>>4 == typePublish && err == nil {
			p.send(ackOf(typePuback, m.id))
		}
	}
	if got[typePublish] != 1 || got[typePuback] != 1 {
		t.Errorf("%v", got)
	}
	p.silent()
}

func testRetainAsPublished(t *testing.T, b *target) {
	from, as, not := b.clean(t), b.clean(t), b.clean(t)
	as.subscribe(1|retainAsPublished, b.topic("x"))
	not.subscribe(1, b.topic("x"))
	for _, retain := range []bool{true, false} {
		from.put(publish{topic: b.topic("x"), payload: "1", qos: 1, retain: retain})
		as.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1, retain: retain})
		not.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1})
	}
}

func testRetainHandling(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	from.put(publish{topic: b.topic("x"), payload: "r", qos: 1, retain: true})
	p.subscribe(1|retainNever, b.topic("x"))
	p.silent()
	p.subscribe(1|retainIfNew, b.topic("x")) // it is not new
	p.silent()
	p.subscribe(1|retainIfNew, b.topic("+"))
	p.wantMessage(publish{topic: b.topic("x"), payload: "r", qos: 1, retain: true})
	p.subscribe(1|retainIfNew, b.topic("+"))
	p.silent()
	for range 2 {
		p.subscribe(1, b.topic("+"))
		p.wantMessage(publish{topic: b.topic("x"), payload: "r", qos: 1, retain: true})
	}
	p.silent()
	b.clean(t).refuses(subscribe{id: 1, filters: []string{"x"}, options: 0x30}.encode(b.v), 0x81, 0x82)
}

// testSubscriptionIDs: a message says which subscriptions it comes for.
func testSubscriptionIDs(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	for filter, id := range map[string]int{"x": 1, "+": 268_435_455, "#": 0, "y": 7} {
		s := subscribe{id: 1, options: 1, filters: []string{b.topic(filter)}}
		if id > 0 {
			s.props = join(u8(propSubscriptionID), varint(id))
		}
		p.send(s.encode(b.v))
		p.wantCodes(1, 1)
	}
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	var ids []uint32
	for range 3 { // one message for all, or one for each
		m := p.take()
		for _, found := range m.got.all(propSubscriptionID) {
			ids = append(ids, found.n)
		}
		if len(m.got.all(propSubscriptionID)) == 2 {
			p.silent()
			break
		}
	}
	slices.Sort(ids)
	if fmt.Sprint(ids) != "[1 268435455]" {
		t.Errorf("identifiers %v", ids)
	}
	p.send(subscribe{id: 2, options: 1, filters: []string{b.topic("y")}, props: u8(propSubscriptionID, 9)}.encode(b.v)) // replaced
	p.wantCodes(2, 1)
	p.send(unsubscribe(b.v, 3, b.topic("+"), b.topic("#")))
	p.ack(typeUnsuback, 3)
	from.put(publish{topic: b.topic("y"), payload: "2", qos: 1})
	if m := p.take(); m.got.number(propSubscriptionID, 0) != 9 {
		t.Errorf("%v", m)
	}
}

func testSubscriptionIDFromClient(t *testing.T, b *target) {
	b.clean(t).refuses(publish{topic: b.topic("x"), props: u8(propSubscriptionID, 1)}.encode(b.v), 0x82, 0x81)
}

func testUnsubackCodes(t *testing.T, b *target) {
	p := b.clean(t)
	p.subscribe(0, b.topic("a"), b.topic("b"))
	p.send(unsubscribe(b.v, 4, b.topic("a"), b.topic("never"), b.topic("b")))
	if r := p.ack(typeUnsuback, 4); !bytes.Equal(r.codes, []byte{0, 0x11, 0}) {
		t.Errorf("%x", r.codes)
	}
}

func share(group, filter string) string { return "$share/" + group + "/" + filter }

// testShareForm: a name of a character or more without wildcards, and a filter.
func testShareForm(t *testing.T, b *target) {
	refusesFilters(t, b, "$share//x", "$share/g", "$share/g/", "$share/+/x", "$share/g#/x", "$share/", "$share/g+h/x", "$share/g/a#")
}

func testShareNoLocal(t *testing.T, b *target) {
	b.clean(t).refuses(subscribe{id: 1, options: noLocal, filters: []string{share("g", b.topic("x"))}}.encode(b.v), 0x82)
}

// testShared: each message to one of a group, in each group, at the QoS granted.
func testShared(t *testing.T, b *target) {
	from, one, two, other := b.clean(t), b.clean(t), b.clean(t), b.clean(t)
	one.subscribe(1, share("g", b.topic("x")))
	two.subscribe(1, share("g", b.topic("x")))
	other.subscribe(0, share("h", b.topic("x")))
	const n = 8
	for i := range n {
		from.put(publish{topic: b.topic("x"), payload: fmt.Sprint(i), qos: 2})
		other.wantMessage(publish{topic: b.topic("x"), payload: fmt.Sprint(i)})
	}
	got := map[string]bool{}
	for _, p := range []*peer{one, two} {
		for {
			p.send(pingreq)
			q := p.read()
			for q.head>>4 == typePublish {
				m, err := decodePublish(b.v, q)
				if err != nil || m.qos != 1 || got[m.payload] {
					t.Errorf("%v: %v", m, err)
				}
				got[m.payload] = true
				p.send(ackOf(typePuback, m.id))
				q = p.read()
			}
			p.send(pingreq)
			if q = p.read(); q.head>>4 == typePingresp {
				break
			}
			t.Fatalf("%v", q)
		}
	}
	if len(got) != n {
		t.Errorf("%d messages of %d", len(got), n)
	}
	from.put(publish{topic: b.topic("x"), payload: "r", qos: 1, retain: true})
	late := b.clean(t)
	late.subscribe(1, share("i", b.topic("x"))) // retained messages are not sent to a group
	late.silent()
}

// testSharedStays: a message of QoS 2 on its way to one member is that member's.
func testSharedStays(t *testing.T, b *target) {
	from := b.clean(t)
	a, other := b.session("a"), b.clean(t)
	p := b.open(t, a)
	p.subscribe(2, share("g", b.topic("x")))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 2})
	m := p.message()
	other.subscribe(2, share("g", b.topic("x")))
	p.cut()
	p = b.open(t, a)
	if again := p.take(); again.id != m.id || !again.dup {
		t.Errorf("%v", again)
	}
	other.silent()
}

// testSharedEnds: it is nobody else's when the member's session ends.
func testSharedEnds(t *testing.T, b *target) {
	from, other := b.clean(t), b.clean(t)
	p := b.open(t, b.client("a"))
	p.subscribe(2, share("g", b.topic("x")))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 2})
	p.message()
	other.subscribe(2, share("g", b.topic("x")))
	p.cut()
	b.open(t, b.client("a")).leave()
	other.silent()
}

// testSharedRefused: what a member refuses goes to no other.
func testSharedRefused(t *testing.T, b *target) {
	from, p, other := b.clean(t), b.clean(t), b.clean(t)
	p.subscribe(2, share("g", b.topic("x")))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	from.put(publish{topic: b.topic("x"), payload: "2", qos: 2})
	one, two := p.message(), p.message()
	other.subscribe(2, share("g", b.topic("x")))
	p.send(frame(typePuback<<4, u16(one.id), u8(0x80)), frame(typePubrec<<4, u16(two.id), u8(0x80)))
	p.silent()
	other.silent()
}
