package conformance

import (
	"fmt"
	"testing"
)

func alias(n uint16) []byte { return join(u8(propTopicAlias), u16(n)) }

// testAlias: all that CONNACK allows are taken, no others, and none is remembered.
func testAlias(t *testing.T, b *target) {
	sub := b.clean(t)
	sub.subscribe(1, b.topic("+"))
	c := b.session("a")
	p, ack := b.openAck(t, c)
	most := uint16(ack.props.number(propTopicAliasMax, 0))
	for _, n := range []uint16{1, most / 2, most} {
		if n == 0 || n > most {
			continue
		}
		for i := range 2 { // set, then set anew
			topic := b.topic(fmt.Sprint(n, i))
			p.put(publish{topic: topic, payload: "1", qos: 1, props: alias(n)})
			sub.wantMessage(publish{topic: topic, payload: "1", qos: 1})
			for qos := range byte(3) {
				p.put(publish{payload: "2", qos: qos, props: alias(n)})
				m := sub.wantMessage(publish{topic: topic, payload: "2", qos: min(qos, 1)})
				if len(m.got.all(propTopicAlias)) > 0 {
					t.Errorf("handed on: %v", m)
				}
			}
		}
	}
	p.leave()
	if most > 0 {
		b.open(t, c).refuses(publish{payload: "3", qos: 1, id: 1, props: alias(1)}.encode(b.v), 0x94, 0x82)
		b.open(t, c).refuses(publish{payload: "3", qos: 1, id: 1, props: alias(most)}.encode(b.v), 0x94, 0x82)
	}
	if most < 65_535 {
		b.open(t, c).refuses(publish{topic: b.topic("x"), props: alias(most + 1)}.encode(b.v), 0x94)
	}
	sub.silent()
}

func testAliasZero(t *testing.T, b *target) {
	b.clean(t).refuses(publish{topic: b.topic("x"), props: alias(0)}.encode(b.v), 0x94, 0x82, 0x81)
	b.clean(t).refuses(publish{props: alias(1)}.encode(b.v), 0x94, 0x82)
	b.clean(t).refuses(publish{payload: "neither topic nor alias"}.encode(b.v), 0x82, 0x81, 0x90)
}

// testAliasOut: the server uses none above what the client allows, and each means
// what it meant before.
func testAliasOut(t *testing.T, b *target) {
	from := b.clean(t)
	for _, most := range []uint16{0, 1, 2} {
		c := b.client("a")
		if most > 0 {
			c.props = join(u8(propTopicAliasMax), u16(most))
		}
		sub := b.open(t, c)
		sub.subscribe(1, b.topic("+"))
		topics := map[uint32]string{}
		for i := range 12 {
			want := b.topic(fmt.Sprint(i % 3))
			from.put(publish{topic: want, payload: "1", qos: 1})
			m := sub.take()
			if found := m.got.all(propTopicAlias); len(found) > 0 {
				n := found[0].n
				if n == 0 || n > uint32(most) {
					t.Errorf("alias %d where %d are allowed", n, most)
				}
				if m.topic == "" {
					m.topic = topics[n]
				}
				topics[n] = m.topic
			}
			if m.topic != want {
				t.Errorf("%v, want %q", m, want)
			}
		}
		sub.leave()
	}
}

// testReceiveMaximum: the server sends no more than the client takes, and goes on
// with everything else.
func testReceiveMaximum(t *testing.T, b *target) {
	from := b.clean(t)
	c := b.client("a")
	c.props = join(u8(propReceiveMaximum), u16(2))
	p := b.open(t, c)
	p.subscribe(2, b.topic("x"))
	for i := range 6 {
		from.put(publish{topic: b.topic("x"), payload: fmt.Sprint(i), qos: byte(1 + i%2)})
	}
	one, two := p.message(), p.message()
	p.silent() // not a third one, but PINGRESP
	p.send(subscribe{id: 3, filters: []string{b.topic("y")}}.encode(b.v))
	p.wantCodes(3, 0)
	p.send(publish{topic: b.topic("z"), qos: 1, id: 4}.encode(b.v))
	p.ack(typePuback, 4)
	p.send(ackOf(typePuback, one.id))
	if m := p.message(); m.payload != "2" {
		t.Errorf("%v", m)
	} else {
		one = m
	}
	p.silent()
	p.send(ackOf(typePubrec, two.id))
	p.ack(typePubrel, two.id)
	p.silent() // counts until PUBCOMP
	p.send(ackOf(typePubcomp, two.id))
	if m := p.message(); m.payload != "3" {
		t.Errorf("%v", m)
	} else { // a refusal counts as well
		p.send(frame(typePubrec<<4, u16(m.id), u8(0x80)))
	}
	if m := p.message(); m.payload != "4" {
		t.Errorf("%v", m)
	}
	p.send(ackOf(typePuback, one.id))
	if m := p.message(); m.payload != "5" {
		t.Errorf("%v", m)
	}
	p.silent()
}

// testTooMany: a client that sends more than the server allows is told so.
func testTooMany(t *testing.T, b *target) {
	p, ack := b.openAck(t, b.client("a"))
	most := int(ack.props.number(propReceiveMaximum, 65_535))
	if most > 10_000 {
		t.Skipf("the server takes %d at once", most)
	}
	var all []byte
	for i := range most + 1 {
		all = append(all, publish{topic: b.topic("x"), qos: 2, id: uint16(i + 1)}.encode(b.v)...)
	}
	go p.try(all)
	for {
		q, err := p.next()
		if err != nil {
			t.Fatal("closed without a reason")
		}
		if q.head>>4 == typePubrec {
			continue
		}
		if q.head>>4 != typeDisconnect || len(q.body) < 1 || q.body[0] != 0x93 {
			t.Fatalf("%v", q)
		}
		return
	}
}

// testRefusedIsDone: a message that a client refuses is not sent again.
func testRefusedIsDone(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("a")
	p := b.open(t, s)
	p.subscribe(2, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	from.put(publish{topic: b.topic("x"), payload: "2", qos: 2})
	one, two := p.message(), p.message()
	p.send(frame(typePuback<<4, u16(one.id), u8(0x80)), frame(typePubrec<<4, u16(two.id), u8(0x97)))
	p.silent()
	p.leave()
	b.open(t, s).silent()
}

// testRefusedIDIsFree: after PUBREC with a refusal the identifier is a new message's.
func testRefusedIDIsFree(t *testing.T, b *target) {
	b.configured(t)
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(2, b.topic("#"))
	if r := from.put(publish{topic: b.topic(deniedTopic), payload: "no", qos: 2, id: 5}); r.code < 0x80 {
		t.Fatalf("%+v", r)
	}
	from.put(publish{topic: b.topic("x"), payload: "yes", qos: 2, id: 5})
	sub.wantMessage(publish{topic: b.topic("x"), payload: "yes", qos: 2})
}
