package conformance

import (
	"fmt"
	"testing"
)

// testByQoS: nothing, PUBACK, or PUBREC and PUBCOMP, and the message arrives once.
func testByQoS(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(2, b.topic("x"))
	for qos := range byte(3) {
		from.put(publish{topic: b.topic("x"), payload: "1", qos: qos, id: 0x1234})
		m := sub.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: qos})
		if m.dup {
			t.Errorf("DUP: %v", m)
		}
	}
	from.silent()
	sub.silent()
}

func testZeroID(t *testing.T, b *target) {
	for name, bytes := range map[string][]byte{
		"PUBLISH QoS 1": publish{topic: b.topic("x"), qos: 1}.encode(b.v), "PUBLISH QoS 2": publish{topic: b.topic("x"), qos: 2}.encode(b.v),
		"SUBSCRIBE": subscribe{filters: []string{"x"}}.encode(b.v), "UNSUBSCRIBE": unsubscribe(b.v, 0, "x"),
	} {
		t.Run(name, func(t *testing.T) { b.clean(t).refuses(bytes, 0x81, 0x82) })
	}
}

// testServerIDs: identifiers that the server assigns are not 0 and not in use.
func testServerIDs(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(2, b.topic("x"))
	seen := map[uint16]bool{}
	for i := range 12 {
		from.put(publish{topic: b.topic("x"), payload: fmt.Sprint(i), qos: byte(1 + i%2)})
		m := sub.message()
		if m.id == 0 || seen[m.id] {
			t.Errorf("%v: identifier is 0 or in use", m)
		}
		seen[m.id] = true
	}
}

// testNoIDAtQoS0: the payload begins behind the topic, both ways.
func testNoIDAtQoS0(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(2, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "\x00\x01payload"})
	sub.wantMessage(publish{topic: b.topic("x"), payload: "\x00\x01payload"})
}

// testDupIn: DUP of a publisher is not handed on.
func testDupIn(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(2, b.topic("x"))
	for qos := byte(1); qos < 3; qos++ {
		from.put(publish{topic: b.topic("x"), payload: "1", qos: qos, dup: true, id: 9})
		if m := sub.take(); m.dup {
			t.Errorf("DUP handed on: %v", m)
		}
	}
}

func testDupQoS0(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(0, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	sub.wantMessage(publish{topic: b.topic("x"), payload: "1"}) // which refuses DUP at QoS 0
	from.refuses(publish{topic: b.topic("x"), dup: true}.encode(b.v), 0x81, 0x82)
}

func testQoS3(t *testing.T, b *target) {
	b.clean(t).refuses(publish{topic: b.topic("x"), qos: 3, id: 1}.encode(b.v), 0x81, 0x82)
}

func testTopicIsFirst(t *testing.T, b *target) {
	for _, body := range [][]byte{{}, {0}, {0, 9}, {0, 2, 'x'}, {0xff, 0xff, 'x', 'y'}} {
		b.clean(t).refuses(frame(typePublish<<4, body), 0x81, 0x82)
	}
	textAt("topic")(t, b)
}

func testWildcardInTopic(t *testing.T, b *target) {
	for _, name := range []string{"#", "+", b.topic("#"), b.topic("+/x"), b.topic("a+"), b.topic("a#b")} {
		b.clean(t).refuses(publish{topic: name, payload: "x"}.encode(b.v), 0x90, 0x81, 0x82)
		b.dial(t).refuses(connect{id: b.id(""), clean: true, will: &will{publish: publish{topic: name}}}.encode(b.v), 0x90, 0x81, 0x82)
	}
}

// testMatches: what comes matches what was asked for.
func testMatches(t *testing.T, b *target) {
	from := b.clean(t)
	names := []string{"a", "a/b", "a/b/c", "/a", "a/", "a//c", "b", "b/b", "A", "a/b/c/d", "/", "aa/b"}
	for _, f := range []struct {
		filter  string
		matches []string
	}{
		{"a", []string{"a"}}, {"a/b", []string{"a/b"}}, {"a/#", []string{"a", "a/b", "a/b/c", "a/", "a//c", "a/b/c/d"}},
		{"a/+", []string{"a/b", "a/"}}, {"+/b", []string{"a/b", "b/b", "aa/b"}}, {"+", []string{"a", "b", "A"}},
		{"a/+/c", []string{"a/b/c", "a//c"}}, {"+/+", []string{"a/b", "/a", "a/", "b/b", "/", "aa/b"}}, {"/+", []string{"/a", "/"}},
		{"/", []string{"/"}}, {"/#", []string{"/a", "/"}}, {"+/b/#", []string{"a/b", "a/b/c", "b/b", "a/b/c/d", "aa/b"}}, {"#", names},
		{"a/b/c/d/#", []string{"a/b/c/d"}}, {"a/+/+/d", []string{"a/b/c/d"}},
	} {
		sub := b.clean(t)
		sub.subscribe(0, b.topic(f.filter))
		var all []byte
		for _, name := range names {
			all = append(all, publish{topic: b.topic(name), payload: name}.encode(b.v)...)
		}
		from.send(all)
		from.ping()
		for _, want := range f.matches {
			sub.wantMessage(publish{topic: b.topic(want), payload: want})
		}
		sub.silent()
		sub.leave()
	}
}

// testOverlap: a message that several subscriptions match comes at the highest QoS
// of them, or once for each.
func testOverlap(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(1, b.topic("#"))
	sub.subscribe(2, b.topic("x/+"))
	sub.subscribe(0, b.topic("x/y"))
	from.put(publish{topic: b.topic("x/y"), payload: "1", qos: 2})
	highest := sub.take().qos
	for {
		sub.send(pingreq)
		q := sub.read()
		if q.head>>4 == typePingresp {
			break
		}
		m, err := decodePublish(b.v, q)
		if err != nil {
			t.Fatal(err)
		}
		highest = max(highest, m.qos)
	}
	if highest != 2 {
		t.Errorf("QoS %d at most", highest)
	}
}

// testDenied: a message that may not be published is acknowledged, or ends the
// connection, and goes nowhere.
func testDenied(t *testing.T, b *target) {
	b.configured(t)
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(2, b.topic("#"))
	for qos := range byte(3) {
		from.put(publish{topic: b.topic(deniedTopic), payload: "1", qos: qos, retain: true})
	}
	sub.silent()
	late := b.clean(t)
	late.subscribe(2, b.topic("#"))
	late.silent()
}

// testRepeatQoS2: the same identifier is the same message until PUBREL.
func testRepeatQoS2(t *testing.T, b *target) {
	s := b.session("from")
	from, sub := b.open(t, s), b.clean(t)
	sub.subscribe(2, b.topic("x"))
	m := publish{topic: b.topic("x"), payload: "1", qos: 2, id: 77}
	again := m
	again.dup = true
	from.send(m.encode(b.v), again.encode(b.v), m.encode(b.v)) // also without DUP
	for range 3 {
		from.ack(typePubrec, 77)
	}
	from.cut()
	from = b.open(t, s) // and on a new connection
	from.send(again.encode(b.v))
	from.ack(typePubrec, 77)
	from.send(ackOf(typePubrel, 77))
	from.ack(typePubcomp, 77)
	sub.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 2})
	sub.silent()
	from.put(m) // after PUBCOMP it is a new one
	sub.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 2})
}

// testRepeatQoS1: after PUBACK the same identifier is a new message.
func testRepeatQoS1(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(1, b.topic("x"))
	for i := range 3 {
		m := publish{topic: b.topic("x"), payload: fmt.Sprint(i), qos: 1, id: 5, dup: i == 2}
		from.put(m)
		sub.wantMessage(publish{topic: m.topic, payload: m.payload, qos: 1})
	}
}

// testSenderQoS2: the server as the sender: PUBLISH, PUBREL with the same
// identifier, no PUBLISH again after PUBREL.
func testSenderQoS2(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("sub")
	sub := b.open(t, s)
	sub.subscribe(2, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 2})
	m := sub.message()
	if m.dup || m.qos != 2 || m.id == 0 {
		t.Errorf("%v", m)
	}
	sub.send(ackOf(typePubrec, m.id))
	sub.ack(typePubrel, m.id)
	sub.cut()
	sub = b.open(t, s)
	sub.ack(typePubrel, m.id) // unacknowledged until PUBCOMP, and PUBLISH does not come again
	sub.send(ackOf(typePubcomp, m.id))
	sub.silent()
	sub.leave()
	b.open(t, s).silent()
}

// testSenderQoS1: the server as the sender: unacknowledged until PUBACK.
func testSenderQoS1(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("sub")
	sub := b.open(t, s)
	sub.subscribe(1, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	m := sub.message()
	if m.dup || m.qos != 1 || m.id == 0 {
		t.Errorf("%v", m)
	}
	sub.cut()
	sub = b.open(t, s)
	again := sub.message()
	if !again.dup || again.id != m.id {
		t.Errorf("%v", again)
	}
	sub.send(ackOf(typePuback, m.id))
	sub.leave()
	b.open(t, s).silent()
}

// testUnknownAcks: answers to nothing do no harm, which is our reading.
func testUnknownAcks(t *testing.T, b *target) {
	b.configured(t)
	p := b.clean(t)
	p.send(ackOf(typePuback, 9), ackOf(typePubcomp, 9), ackOf(typePubrel, 9))
	p.ack(typePubcomp, 9)
	p.ping()
}
