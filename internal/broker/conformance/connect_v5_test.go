package conformance

import (
	"errors"
	"io"
	"testing"
	"time"
)

// testLevelV5: another level ends the connection, with CONNACK or without.
func testLevelV5(t *testing.T, b *target) {
	for _, level := range []byte{0, 6, 0x7f} {
		p := b.dial(t)
		p.try(connectBytes(b.v, "MQTT", level, 2, 0, nil, str(b.id(""))))
		p.drain()
	}
}

// testAssigned: an empty id gets a new one and is told, clean or not.
func testAssigned(t *testing.T, b *target) {
	seen := map[string]bool{}
	for _, clean := range []bool{true, false, true} {
		p, ack := b.openAck(t, connect{clean: clean, expiry: 60})
		id := ack.props.text(propAssignedID)
		if id == "" || seen[id] || ack.present {
			t.Errorf("%+v", ack)
		}
		seen[id] = true
		p.subscribe(1, b.topic("x"))
		p.leave()
		p, ack = b.openAck(t, connect{id: id})
		if !ack.present || ack.props.text(propAssignedID) != "" {
			t.Errorf("not the session of %q: %+v", id, ack)
		}
		p.leave()
	}
}

// testTakeoverV5: the older connection is told.
func testTakeoverV5(t *testing.T, b *target) {
	old := b.open(t, b.client("a"))
	b.open(t, b.client("a"))
	if reason := old.closed(); reason != 0x8e {
		t.Errorf("reason %#02x, want 0x8e", reason)
	}
	testTakeover(t, b)
}

// testSessionExpiry: a session ends when its time is over, at once where it has none.
func testSessionExpiry(t *testing.T, b *target) {
	open := func(id string, expiry uint32, present bool) *peer {
		t.Helper()
		p, ack := b.openAck(t, connect{id: b.id(id), expiry: expiry})
		if ack.present != present {
			t.Errorf("%s: present %v", id, ack.present)
		}
		return p
	}
	open("a", 0, false).leave()
	open("a", 1, false).leave()
	p := open("b", 1, false) // DISCONNECT may say something else
	p.send(frame(0xe0, u8(0), section(b.v, join(u8(propSessionExpiry), u32(100)))))
	p.closed()
	p = open("c", 100, false)
	p.send(frame(0xe0, u8(0), section(b.v, join(u8(propSessionExpiry), u32(0)))))
	p.closed()
	open("c", 0, false).leave()
	p = open("d", 1, false)
	time.Sleep(2200 * time.Millisecond) // the time itself is what is tested
	p.ping()                            // it lasts as long as the connection
	p.leave()
	open("a", 0, false).leave()
	open("b", 0, true).leave()
	p = open("e", 0, false) // what ends with the connection cannot be kept by DISCONNECT
	p.refuses(frame(0xe0, u8(0), section(b.v, join(u8(propSessionExpiry), u32(9)))), 0x82)
}

// testWillDelay: the will waits; it goes out when its time or the session is over,
// and not at all if the client is back before.
func testWillDelay(t *testing.T, b *target) {
	watch := b.clean(t)
	watch.subscribe(1, b.topic("+"))
	mortal := func(id string, delay, expiry uint32) connect {
		return connect{id: b.id(id), expiry: expiry, will: &will{delay: delay, publish: publish{topic: b.topic(id), payload: id, qos: 1}}}
	}
	begin := time.Now()
	b.open(t, mortal("delay", 4, 100)).cut()
	b.open(t, mortal("session", 100, 2)).cut()
	b.open(t, mortal("back", 3, 100)).cut()
	b.open(t, mortal("none", 100, 0)).cut()
	back := b.open(t, connect{id: b.id("back"), expiry: 100})
	for i, want := range []string{"none", "session", "delay"} {
		watch.wantMessage(publish{topic: b.topic(want), payload: want, qos: 1})
		if took := time.Since(begin); took < time.Duration(i)*1900*time.Millisecond {
			t.Errorf("%s after %v", want, took)
		}
	}
	watch.silent()
	back.ping()
	// A clean start ends the session, and the will goes out.
	b.open(t, mortal("clean", 100, 100)).cut()
	b.open(t, b.client("clean"))
	watch.wantMessage(publish{topic: b.topic("clean"), payload: "clean", qos: 1})
}

// testWillKept: any reason but 0 leaves the will in force.
func testWillKept(t *testing.T, b *target) {
	for _, reason := range []byte{4, 0x80} {
		p, watch := b.mortal(t, will{publish: publish{payload: "gone"}})
		p.send(u8(0xe0, 1, reason))
		watch.wantMessage(publish{topic: b.topic("w"), payload: "gone"})
	}
	p, watch := b.mortal(t, will{publish: publish{payload: "gone"}})
	p.send(u8(0xe0, 1, 0))
	p.closed()
	watch.silent()
}

// testWillProperties: they arrive, in their order.
func testWillProperties(t *testing.T, b *target) {
	p, watch := b.mortal(t, will{publish: publish{payload: "gone", qos: 1,
		props: join(user("z", "1"), user("a", "2"), u8(propContentType), str("text"), user("z", "0"))}})
	p.cut()
	m := watch.take()
	var pairs string
	for _, u := range m.got.all(propUserProperty) {
		pairs += u.s + u.s2 + " "
	}
	if pairs != "z1 a2 z0 " || m.got.text(propContentType) != "text" || len(m.got.all(propWillDelay)) > 0 {
		t.Errorf("%v", m)
	}
}

// testEverythingSupported: no bound on QoS, retained messages or wildcards, and a
// will may use all.
func testEverythingSupported(t *testing.T, b *target) {
	c := b.client("a")
	c.will = &will{publish: publish{topic: b.topic("w"), qos: 2, retain: true}}
	p, ack := b.openAck(t, c)
	for _, id := range []byte{propMaximumQoS, propRetainAvailable, propWildcardAvail, propSubscriptionIDOK, propSharedAvail} {
		if ack.props.number(id, 2) == 0 {
			t.Errorf("property %#02x is 0", id)
		}
	}
	if ack.props.number(propMaximumQoS, 2) != 2 {
		t.Error("not every QoS")
	}
	p.leave()
}

// testNoDisconnectFirst: before CONNACK a server does not say DISCONNECT.
func testNoDisconnectFirst(t *testing.T, b *target) {
	for _, bytes := range [][]byte{pingreq, frame(0x10, str("MQTT"), u8(5, 2)), connectBytes(b.v, "MQTT", 5, 3, 0, nil, str("x")), b.refusedConnect(t)} {
		p := b.dial(t)
		p.try(bytes)
		q, err := p.next()
		if err == nil && q.head>>4 != typeConnack {
			t.Errorf("%x: %v", bytes, q)
		}
	}
}

// testAuthUnasked: who has said no method gets no AUTH and may send none.
func testAuthUnasked(t *testing.T, b *target) {
	p, ack := b.openAck(t, b.client("a"))
	if len(ack.props.all(propAuthMethod)) > 0 {
		t.Errorf("%+v", ack)
	}
	p.refuses(frame(0xf0, u8(0x18), section(b.v, join(u8(propAuthMethod), str("m")))), 0x82, 0x8c)
}

// testAuthMethod: a method that the server does not have ends the connection.
func testAuthMethod(t *testing.T, b *target) {
	p := b.dial(t)
	p.send(b.refusedConnect(t))
	q, err := p.next()
	if errors.Is(err, io.EOF) {
		return
	}
	ack, err := decodeConnack(b.v, q)
	if err != nil || ack.code != 0x8c && ack.code != 0x87 {
		t.Errorf("%v: %v", q, err)
	}
	p.closed()
}
