package conformance

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// What the answers of MQTT 5 may say.
var (
	pubackReasons     = []byte{0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99} // and PUBREC
	pubrelReasons     = []byte{0, 0x92}                                           // and PUBCOMP
	disconnectReasons = []byte{0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
		0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2}
	connackReasons = []byte{0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c,
		0x9d, 0x9f}
)

// testNotMinimal: a number in more bytes than it needs.
func testNotMinimal(t *testing.T, b *target) {
	b.clean(t).refuses(u8(0xc0, 0x80, 0), 0x81)
	b.clean(t).refuses(frame(0x30, str(b.topic("x")), u8(0x80, 0)), 0x81)
	b.clean(t).refuses(frame(0x82, u16(1), varint(3), u8(propSubscriptionID, 0x81, 0), str(b.topic("x")), u8(0)), 0x81, 0x82)
}

func testTextPair(t *testing.T, b *target) {
	for _, bad := range append(illFormed, "a\x00b") {
		refusesText(t, b, bad, "user property's key", "user property's value")
	}
}

// testPropertyLength: it is there when there are no properties, both ways.
func testPropertyLength(t *testing.T, b *target) {
	b.dial(t).refuses(frame(0x10, str("MQTT"), u8(5, 2), u16(0)), 0x81, 0x82)
	b.clean(t).refuses(frame(0x30, str(b.topic("x"))), 0x81, 0x82)
	b.clean(t).refuses(frame(0x82, u16(1), str(b.topic("x")), u8(0)), 0x81, 0x82)
	from, sub := b.clean(t), b.clean(t) // whose decoder wants them
	sub.subscribe(0, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "1"})
	if m := sub.take(); len(m.got) > 0 || m.payload != "1" {
		t.Errorf("%v", m)
	}
}

// testPropertyPlaces: a property where it has no meaning, twice, or cut short.
func testPropertyPlaces(t *testing.T, b *target) {
	for name, p := range map[string][]byte{
		"session expiry in PUBLISH": join(u8(propSessionExpiry), u32(1)), "unknown": u8(0x7f, 0), "cut": u8(propMessageExpiry, 0, 0),
		"twice": u8(propPayloadFormat, 1, propPayloadFormat, 1), "format 2": u8(propPayloadFormat, 2),
	} {
		t.Run(name, func(t *testing.T) { b.clean(t).refuses(publish{topic: b.topic("x"), props: p}.encode(b.v), 0x81, 0x82) })
	}
	for name, p := range map[string][]byte{
		"receive maximum 0": join(u8(propReceiveMaximum), u16(0)), "maximum packet 0": join(u8(propMaximumPacket), u32(0)),
		"twice": join(u8(propReceiveMaximum), u16(1), u8(propReceiveMaximum), u16(1)), "request problem 2": u8(propRequestProblem, 2),
		"data without method": join(u8(propAuthData), str("x")), "topic alias": join(u8(propTopicAlias), u16(1)),
	} {
		t.Run(name, func(t *testing.T) {
			b.dial(t).refuses(connect{id: b.id(""), clean: true, props: p}.encode(b.v), 0x81, 0x82)
		})
	}
	b.clean(t).refuses(subscribe{id: 1, filters: []string{"x"}, props: u8(propSubscriptionID, 0)}.encode(b.v), 0x81, 0x82)
}

// testHandedOn: what a message carries arrives as it was, in its order.
func testHandedOn(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(2, b.topic("x"))
	p := join(u8(propPayloadFormat, 1), u8(propContentType), str("text/plain"), u8(propResponseTopic), str("answer/here"),
		u8(propCorrelation), str("\x00\xff\x01"), user("k", "1"), user("a", "2"), user("k", "1"), user("k", "0"))
	check := func(m publish) {
		t.Helper()
		var pairs string
		for _, u := range m.got.all(propUserProperty) {
			pairs += u.s + u.s2 + " "
		}
		if m.got.number(propPayloadFormat, 9) != 1 || m.got.text(propContentType) != "text/plain" ||
			m.got.text(propResponseTopic) != "answer/here" || m.got.text(propCorrelation) != "\x00\xff\x01" || pairs != "k1 a2 k1 k0 " {
			t.Errorf("%v, %q", m, pairs)
		}
	}
	for qos := range byte(3) {
		from.put(publish{topic: b.topic("x"), payload: "text", qos: qos, props: p, retain: qos == 2})
		check(sub.wantMessage(publish{topic: b.topic("x"), payload: "text", qos: qos}))
	}
	late := b.clean(t)
	late.subscribe(1, b.topic("x"))
	check(late.take())
	b.clean(t).put(publish{topic: b.topic("x"), retain: true})
	sub.take()
	old := *b // a client of 3.1.1 gets the same message without
	old.v = v311
	oldSub := old.clean(t)
	oldSub.subscribe(1, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "text", qos: 1, props: p})
	oldSub.wantMessage(publish{topic: b.topic("x"), payload: "text", qos: 1})
	check(sub.take())
	old.clean(t).put(publish{topic: b.topic("x"), payload: "old", qos: 2})
	if m := sub.wantMessage(publish{topic: b.topic("x"), payload: "old", qos: 2}); len(m.got) > 0 {
		t.Errorf("%v", m)
	}
}

func testResponseTopic(t *testing.T, b *target) {
	textAt("response topic")(t, b)
	for _, bad := range []string{"a/#", "+"} {
		b.clean(t).refuses(publish{topic: b.topic("x"), props: join(u8(propResponseTopic), str(bad))}.encode(b.v), 0x81, 0x82, 0x90)
	}
}

func expiry(seconds uint32) []byte { return join(u8(propMessageExpiry), u32(seconds)) }

// testMessageExpiry: who comes too late does not get it, who comes in time is told
// what is left.
func testMessageExpiry(t *testing.T, b *target) {
	from := b.clean(t)
	away := b.open(t, b.session("away"))
	away.subscribe(2, b.topic("#"))
	away.leave()
	for qos := byte(1); qos < 3; qos++ {
		from.put(publish{topic: b.topic("x"), payload: "short", qos: qos, props: expiry(1)})
		from.put(publish{topic: b.topic("x"), payload: "long", qos: qos, props: expiry(60)})
	}
	from.put(publish{topic: b.topic("r"), payload: "short", retain: true, qos: 1, props: expiry(1)})
	from.put(publish{topic: b.topic("s"), payload: "long", retain: true, qos: 1, props: expiry(60)})
	time.Sleep(2200 * time.Millisecond) // the time itself is what is tested
	away = b.open(t, b.session("away"))
	for _, want := range []publish{{qos: 1, topic: "x"}, {qos: 2, topic: "x"}, {qos: 1, topic: "s"}} {
		m := away.flow()
		if m.topic != b.topic(want.topic) || m.payload != "long" || m.qos != want.qos {
			t.Errorf("%v, want %v", m, want)
		}
		if left := m.got.number(propMessageExpiry, 99); left < 30 || left > 58 {
			t.Errorf("%d s left of 60", left)
		}
	}
	away.settle()
	away.silent()
	b.wantRetained(t, b.topic("+"), map[string]string{b.topic("s"): "long"})
	b.clean(t).put(publish{topic: b.topic("s"), qos: 1, retain: true})
}

// testExpiryOnTheWay: what was sent does not expire, and what has expired is
// acknowledged to the end.
func testExpiryOnTheWay(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("a")
	sub := b.open(t, s)
	sub.subscribe(2, b.topic("x"))
	from.send(publish{topic: b.topic("x"), payload: "1", qos: 2, id: 3, props: expiry(3)}.encode(b.v))
	from.ack(typePubrec, 3)
	m := sub.message()
	sub.cut()
	time.Sleep(4200 * time.Millisecond) // the time itself is what is tested
	from.send(ackOf(typePubrel, 3))
	from.ack(typePubcomp, 3)
	sub = b.open(t, s)
	if again := sub.take(); again.id != m.id || !again.dup {
		t.Errorf("%v", again)
	}
}

func withLimit(c connect, n uint32) connect {
	c.props = join(c.props, u8(propMaximumPacket), u32(n))
	return c
}

// testMaximumPacket: what is too large for a client is as good as delivered.
func testMaximumPacket(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("a")
	p := b.open(t, withLimit(s, 100))
	p.limit = 100
	p.subscribe(2, b.topic("x"))
	large := string(make([]byte, 100))
	for qos := range byte(3) {
		from.put(publish{topic: b.topic("x"), payload: large, qos: qos})
		from.put(publish{topic: b.topic("x"), payload: "small", qos: qos})
		p.wantMessage(publish{topic: b.topic("x"), payload: "small", qos: qos})
	}
	p.leave()
	p = b.open(t, s)
	p.silent()
}

// testFits: a reason in words or a property never makes an answer too large.
func testFits(t *testing.T, b *target) {
	refused := connect{id: b.id(""), clean: true, props: join(u8(propAuthMethod), str("no such method"))}
	p := b.dial(t)
	p.limit = 8
	p.send(withLimit(refused, 8).encode(b.v))
	p.drain()
	const limit = 60
	open := func() *peer {
		p := b.dial(t)
		p.limit = limit
		p.send(withLimit(b.client(""), limit).encode(b.v))
		if ack := p.connack(); ack.code != 0 {
			t.Fatalf("%+v", ack)
		}
		return p
	}
	p = open()
	p.put(publish{topic: b.topic(deniedTopic), qos: 1})
	p.put(publish{topic: b.topic(deniedTopic), qos: 2})
	p.send(subscribe{id: 1, filters: []string{b.topic(deniedTopic)}}.encode(b.v))
	p.want(typeSuback)
	p.send(unsubscribe(b.v, 2, b.topic("x")))
	p.ack(typeUnsuback, 2)
	p.send(ackOf(typePubrel, 5))
	p.ack(typePubcomp, 5)
	p.send(ackOf(typePubrec, 5))
	p.ack(typePubrel, 5)
	p.refuses(publish{topic: b.topic("#")}.encode(b.v))
	open().refuses(subscribe{id: 1, filters: []string{"x"}, options: 0x80}.encode(b.v))
}

// testNoProblemInfo: who does not want to be told why is not.
func testNoProblemInfo(t *testing.T, b *target) {
	c := b.client("a")
	c.props = u8(propRequestProblem, 0)
	p := b.open(t, c)
	replies := []reply{p.put(publish{topic: b.topic(deniedTopic), qos: 1}), p.put(publish{topic: b.topic(deniedTopic), qos: 2, id: 8})}
	p.send(subscribe{id: 1, filters: []string{b.topic(deniedTopic)}}.encode(b.v))
	replies = append(replies, p.ack(typeSuback, 1))
	p.send(unsubscribe(b.v, 2, b.topic("never")))
	replies = append(replies, p.ack(typeUnsuback, 2))
	p.send(ackOf(typePubrel, 9))
	replies = append(replies, p.ack(typePubcomp, 9))
	for _, r := range replies {
		if len(r.props) > 0 {
			t.Errorf("%+v", r)
		}
	}
}

func testNoResponseInfo(t *testing.T, b *target) {
	for _, p := range [][]byte{nil, u8(propRequestResponse, 0)} {
		c := b.client("a")
		c.props = p
		if _, ack := b.openAck(t, c); len(ack.props.all(propResponseInfo)) > 0 {
			t.Errorf("%+v", ack)
		}
	}
}

// testReasons: each answer says something that the packet can say.
func testReasons(t *testing.T, b *target) {
	p := b.clean(t)
	for i, topic := range []string{b.topic("nobody"), b.topic(deniedTopic)} {
		for qos := byte(1); qos < 3; qos++ {
			r := p.put(publish{topic: topic, qos: qos, id: 6})
			if !bytes.Contains(pubackReasons, []byte{r.code}) || b.ours && i == 1 && r.code != 0x87 {
				t.Errorf("%q at QoS %d: %#02x", topic, qos, r.code)
			}
		}
	}
	if !b.ours {
		return // what is not known is a matter of reading
	}
	p.send(ackOf(typePubrel, 9), ackOf(typePubrec, 9))
	for _, r := range []reply{p.ack(typePubcomp, 9), p.ack(typePubrel, 9)} {
		if !bytes.Contains(pubrelReasons, []byte{r.code}) {
			t.Errorf("%+v", r)
		}
	}
}

func testRefusalReason(t *testing.T, b *target) {
	p := b.dial(t)
	p.send(b.refusedConnect(t))
	if ack := p.connack(); !slices.Contains(connackReasons, ack.code) {
		t.Errorf("%+v", ack)
	}
}

// testDisconnectReason: a reason that DISCONNECT does not have is malformed, one it
// has is taken.
func testDisconnectReason(t *testing.T, b *target) {
	b.clean(t).refuses(u8(0xe0, 1, 3), 0x81, 0x82)
	for _, reason := range []byte{0, 4, 0x80, 0x99} {
		p := b.clean(t)
		p.send(u8(0xe0, 1, reason))
		p.closed()
	}
}
