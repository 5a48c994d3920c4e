package conformance

import "testing"

// testResume: a session that is kept goes on, a new one is said to be new.
func testResume(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("a")
	p, ack := b.openAck(t, s)
	if ack.present {
		t.Error("a session from nowhere")
	}
	p.subscribe(1, b.topic("x"))
	p.leave()
	if _, ack := b.openAck(t, b.session("b")); ack.present {
		t.Error("another client got the session")
	}
	p, ack = b.openAck(t, s)
	if !ack.present {
		t.Error("the session is not present")
	}
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	p.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1})
}

// testOffline: QoS 1 and 2 wait for a client that is away, however it went.
func testOffline(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("a")
	for _, leave := range []func(*peer){(*peer).leave, func(p *peer) {
		p.cut()
		b.open(t, b.session("a")).leave() // so that the server knows
	}} {
		p := b.open(t, s)
		p.subscribe(2, b.topic("#"))
		leave(p)
		from.put(publish{topic: b.topic("1"), payload: "one", qos: 1})
		from.put(publish{topic: b.topic("2"), payload: "two", qos: 2})
		p, ack := b.openAck(t, s)
		if !ack.present {
			t.Error("the session is not present")
		}
		p.wantMessage(publish{topic: b.topic("1"), payload: "one", qos: 1})
		p.wantMessage(publish{topic: b.topic("2"), payload: "two", qos: 2})
		p.leave()
	}
}

// testDiscard: a clean start ends what was there, and leaves nothing behind.
func testDiscard(t *testing.T, b *target) {
	from := b.clean(t)
	p := b.open(t, b.session("a"))
	p.subscribe(1, b.topic("x"))
	p.leave()
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	p, ack := b.openAck(t, b.client("a"))
	if ack.present {
		t.Error("session present after a clean start")
	}
	from.put(publish{topic: b.topic("x"), payload: "2", qos: 1})
	p.silent()
	p.subscribe(1, b.topic("y"))
	p.leave()
	from.put(publish{topic: b.topic("y"), payload: "3", qos: 1})
	p, ack = b.openAck(t, b.session("a"))
	if ack.present {
		t.Error("a clean session was kept")
	}
	p.silent()
}

// testOwnState: what one client has is not another's.
func testOwnState(t *testing.T, b *target) {
	from := b.clean(t)
	one, two := b.open(t, b.session("1")), b.open(t, b.session("2"))
	one.subscribe(1, b.topic("1"))
	two.subscribe(1, b.topic("2"))
	one.leave()
	two.leave()
	for _, id := range []string{"1", "2"} {
		from.put(publish{topic: b.topic(id), payload: id, qos: 1})
	}
	for _, id := range []string{"2", "1"} {
		p := b.open(t, b.session(id))
		p.wantMessage(publish{topic: b.topic(id), payload: id, qos: 1})
		p.silent()
	}
}

// testResend: what was not acknowledged comes again, with the same identifier, with
// DUP, in the order of the first time; PUBREL where PUBREC has come.
func testResend(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("a")
	p := b.open(t, s)
	p.subscribe(2, b.topic("#"))
	var ids []uint16
	for i, qos := range []byte{1, 2, 2, 1} {
		from.put(publish{topic: b.topic("x"), payload: string(rune('0' + i)), qos: qos})
		m := p.message()
		if m.dup {
			t.Errorf("DUP in the first: %v", m)
		}
		ids = append(ids, m.id)
	}
	p.send(ackOf(typePubrec, ids[2]))
	p.ack(typePubrel, ids[2])
	p.cut()
	for range 2 { // and a second time
		p = b.open(t, s)
		for i, want := range []publish{{qos: 1}, {qos: 2}, {}, {qos: 1}} {
			if i == 2 {
				p.ack(typePubrel, ids[2])
				continue
			}
			m := p.message()
			if m.id != ids[i] || !m.dup || m.qos != want.qos || m.payload != string(rune('0'+i)) {
				t.Fatalf("again: %v, want id %d", m, ids[i])
			}
		}
		p.silent()
		p.cut()
	}
	p = b.open(t, s)
	p.message()
	p.message()
	p.ack(typePubrel, ids[2])
	p.message()
	p.send(ackOf(typePuback, ids[0]), ackOf(typePubrec, ids[1]), ackOf(typePubcomp, ids[2]), ackOf(typePuback, ids[3]))
	p.ack(typePubrel, ids[1])
	p.send(ackOf(typePubcomp, ids[1]))
	p.leave()
	p = b.open(t, s)
	p.silent()
}

// testNoResend: on a connection that stands nothing comes twice.
func testNoResend(t *testing.T, b *target) {
	from := b.clean(t)
	p := b.clean(t)
	p.subscribe(2, b.topic("x"))
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 2})
	p.message()
	p.silent()
}

// testHeld: subscriptions last as long as the connection, whatever happens on it.
func testHeld(t *testing.T, b *target) {
	from, p := b.clean(t), b.clean(t)
	p.subscribe(1, b.topic("x"))
	for range 3 {
		p.silent()
		from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
		p.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1})
	}
}
