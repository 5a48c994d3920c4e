package conformance

import (
	"bytes"
	"testing"
)

// wantCodes wants SUBACK to say these.
func (p *peer) wantCodes(id uint16, want ...byte) {
	p.t.Helper()
	if r := p.ack(typeSuback, id); !bytes.Equal(r.codes, want) {
		p.t.Fatalf("SUBACK says %x, want %x", r.codes, want)
	}
}

func testSuback(t *testing.T, b *target) {
	p := b.clean(t)
	for _, id := range []uint16{1, 2, 0x1234, 0xffff} {
		p.send(subscribe{id: id, options: 1, filters: []string{b.topic("x")}}.encode(b.v))
		p.wantCodes(id, 1)
	}
}

// testManyFilters: as if each had come alone, in order, one answer for all.
func testManyFilters(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	p.send(frame(typeSubscribe<<4|2, u16(3), section(b.v, nil), str(b.topic("0")), u8(0), str(b.topic("2")), u8(2), str(b.topic("1")), u8(1),
		str(b.topic("2")), u8(1)))
	p.wantCodes(3, 0, 2, 1, 1)
	for name, qos := range map[string]byte{"0": 0, "1": 1, "2": 1} { // the later one of two
		from.put(publish{topic: b.topic(name), payload: name, qos: 2})
		p.wantMessage(publish{topic: b.topic(name), payload: name, qos: qos})
	}
	p.silent()
}

// testSubackDenied: a refused filter has its code among the others, and only it.
func testSubackDenied(t *testing.T, b *target) {
	b.configured(t)
	p := b.clean(t)
	p.send(subscribe{id: 4, options: 1, filters: []string{b.topic("a"), b.topic(deniedTopic), b.topic("b")}}.encode(b.v))
	refused := byte(0x80)
	if b.v == v5 {
		refused = 0x87
	}
	p.wantCodes(4, 1, refused, 1)
}

// testReplace: the same filter again changes the subscription, sends what is
// retained again, and loses nothing that flows.
func testReplace(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	from.put(publish{topic: b.topic("x"), payload: "r", qos: 2, retain: true})
	p.subscribe(2, b.topic("x"))
	p.wantMessage(publish{topic: b.topic("x"), payload: "r", qos: 2, retain: true})
	p.subscribe(1, b.topic("x"))
	p.wantMessage(publish{topic: b.topic("x"), payload: "r", qos: 1, retain: true})
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 2})
	p.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1})
	p.silent() // there is one subscription, not two
}

// testReplaceFlows: messages go on while a subscription is replaced.
func testReplaceFlows(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	p.subscribe(1, b.topic("flow"))
	const n = 50
	go func() {
		for i := range n {
			if _, err := from.nc.Write(publish{topic: b.topic("flow"), payload: string(rune('0' + i)), qos: 1, id: uint16(i + 1)}.encode(b.v)); err != nil {
				return
			}
		}
	}()
	for next := 0; next < n; {
		if next%10 == 0 {
			p.send(subscribe{id: 8, options: 1, filters: []string{b.topic("flow")}}.encode(b.v))
		}
		q := p.read()
		if q.head>>4 == typeSuback {
			continue
		}
		m, err := decodePublish(b.v, q)
		if err != nil || m.payload != string(rune('0'+next)) {
			t.Fatalf("%d: %v, %v", next, m, err)
		}
		p.send(ackOf(typePuback, m.id))
		next++
	}
}

// testMinimum: the lower one of published and granted.
func testMinimum(t *testing.T, b *target) {
	from := b.clean(t)
	for granted := range byte(3) {
		p := b.clean(t)
		p.subscribe(granted, b.topic("x"))
		for qos := range byte(3) {
			from.put(publish{topic: b.topic("x"), payload: "1", qos: qos})
			p.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: min(qos, granted)})
		}
	}
}

func testNoFilter(t *testing.T, b *target) {
	b.clean(t).refuses(frame(typeSubscribe<<4|2, u16(1), section(b.v, nil)), 0x81, 0x82)
}

// testOptions: bits that have no meaning, and a QoS of 3.
func testOptions(t *testing.T, b *target) {
	bad := []byte{3, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xfd}
	if b.v == v5 {
		bad = []byte{3, 0x30, 0x40, 0x80, 0xc1}
	}
	for _, options := range bad {
		b.clean(t).refuses(subscribe{id: 1, options: options, filters: []string{b.topic("x")}}.encode(b.v), 0x81, 0x82)
	}
	b.clean(t).refuses(frame(typeSubscribe<<4|2, u16(1), section(b.v, nil), str("a"), u8(0), str("b")), 0x81, 0x82) // no options
}

func testHashPlace(t *testing.T, b *target) {
	refusesFilters(t, b, "a#", "#/a", "a/#/b", "##", "#a", "a/b#")
}

func testPlusPlace(t *testing.T, b *target) { refusesFilters(t, b, "a+", "+a", "a/+b", "a/b+/c", "++") }

// refusesFilters: the connection is closed, or MQTT 5 says so in SUBACK.
func refusesFilters(t *testing.T, b *target, filters ...string) {
	t.Helper()
	for _, f := range filters {
		p := b.clean(t)
		p.try(subscribe{id: 1, filters: []string{f}}.encode(b.v))
		q, err := p.next()
		if err != nil || q.head>>4 == typeDisconnect {
			continue
		}
		if r, err := decodeReply(b.v, q); err != nil || b.v != v5 || len(r.codes) != 1 || r.codes[0] != 0x8f {
			t.Errorf("%q: %v", f, q)
		}
	}
}

// testDollar: wildcards at the start do not match $….
func testDollar(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	p.subscribe(1, "+/"+b.topic("x"), "#")
	from.put(publish{topic: "$" + b.topic(b.topic("x")), payload: "no", qos: 1, retain: true})
	from.put(publish{topic: b.topic("end"), qos: 1, payload: "yes"})
	for {
		m := p.take()
		if m.topic[0] == '$' {
			t.Errorf("%v", m)
		}
		if m.topic == b.topic("end") {
			break
		}
	}
}

func testUnsubscribe(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	p.subscribe(1, b.topic("x"), b.topic("+"), b.topic("#"))
	p.send(unsubscribe(b.v, 0x4321, b.topic("x"), b.topic("#")))
	p.ack(typeUnsuback, 0x4321)
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	p.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1}) // of the one that is left
	from.put(publish{topic: b.topic("x/y"), payload: "2", qos: 1})
	p.silent()
	p.send(unsubscribe(b.v, 5, b.topic("+")))
	p.ack(typeUnsuback, 5)
	from.put(publish{topic: b.topic("x"), payload: "3", qos: 1})
	p.silent()
}

// testUnsubscribeExactly: a filter is a string here, not a pattern.
func testUnsubscribeExactly(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	p.subscribe(1, b.topic("x/y"))
	p.send(unsubscribe(b.v, 6, b.topic("x/+"), b.topic("#"), b.topic("X/y"), b.topic("x/y/")))
	p.ack(typeUnsuback, 6)
	from.put(publish{topic: b.topic("x/y"), payload: "1", qos: 1})
	p.wantMessage(publish{topic: b.topic("x/y"), payload: "1", qos: 1})
}

// testUnsubscribeUnknown is answered like any other.
func testUnsubscribeUnknown(t *testing.T, b *target) {
	p := b.clean(t)
	p.send(unsubscribe(b.v, 7, b.topic("never")))
	p.ack(typeUnsuback, 7)
}

// testUnsubscribeCompletes: what has begun is completed.
func testUnsubscribeCompletes(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("a")
	p := b.open(t, s)
	p.subscribe(2, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	from.put(publish{topic: b.topic("x"), payload: "2", qos: 2})
	one, two := p.message(), p.message()
	p.send(unsubscribe(b.v, 8, b.topic("x")))
	p.ack(typeUnsuback, 8)
	p.send(ackOf(typePubrec, two.id))
	p.ack(typePubrel, two.id)
	p.cut()
	p = b.open(t, s)
	if m := p.message(); m.id != one.id || !m.dup {
		t.Errorf("%v", m)
	}
	p.ack(typePubrel, two.id)
	p.send(ackOf(typePuback, one.id), ackOf(typePubcomp, two.id))
	p.silent()
}

func testUnsubscribeEmpty(t *testing.T, b *target) {
	b.clean(t).refuses(frame(typeUnsubscribe<<4|2, u16(1), section(b.v, nil)), 0x81, 0x82)
}

func testPing(t *testing.T, b *target) {
	p := b.clean(t)
	for range 3 {
		p.ping()
	}
}

// testDisconnect: the server closes, and looks at nothing behind it.
func testDisconnect(t *testing.T, b *target) {
	watch, p := b.clean(t), b.clean(t)
	watch.subscribe(0, b.topic("#"))
	p.send(disconnect, publish{topic: b.topic("x"), payload: "late"}.encode(b.v))
	p.closed()
	watch.silent()
}
